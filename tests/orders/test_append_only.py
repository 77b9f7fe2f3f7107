"""The database refuses to change history, also to those who go around Django."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from orders import audit
from orders.checkpoints import make_checkpoint
from orders.models import AuditSeal, ChainHead, StaffAction, StatusTransition
from tests.factories import StatusTransitionFactory

TABLES = ["orders_statustransition", "orders_staffaction", "orders_auditseal"]
STATEMENTS = ["UPDATE {} SET hash = 'forged'", "DELETE FROM {}", "UPDATE {} SET hash = hash"]


@pytest.fixture
def history(db: None) -> None:
    StatusTransitionFactory()
    audit.record("replay", actor="ann", reason="CRM mended")
    make_checkpoint()
    connection.check_constraints()  # PostgreSQL refuses a TRUNCATE for checks that wait, too


def said() -> list[Any]:
    tables = (StatusTransition, StaffAction, AuditSeal, ChainHead)
    return [row for table in tables for row in table.objects.order_by("pk").values()]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_raw_sql_neither_changes_nor_removes_history(history: None, table: str, statement: str) -> None:
    before = said()
    with pytest.raises(IntegrityError, match=f"{table} is append-only"), transaction.atomic():
        connection.cursor().execute(statement.format(table))
    assert said() == before


@pytest.mark.parametrize("model", [StatusTransition, StaffAction])
def test_a_queryset_neither_changes_nor_removes_history(history: None, model: Any) -> None:
    before = said()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        model.objects.update(reason="forged")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        model.objects.all().delete()
    assert said() == before


@pytest.mark.parametrize(
    ("sqlite", "postgresql"),
    [
        (
            "INSERT OR REPLACE INTO {0} SELECT * FROM {0}",
            "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (id) DO UPDATE SET hash = 'forged'",
        ),
        ("UPDATE OR REPLACE {0} SET hash = 'forged'", "TRUNCATE {0} CASCADE"),
    ],
)
@pytest.mark.parametrize("table", TABLES)
def test_the_ways_around_of_each_database_are_shut(history: None, table: str, sqlite: str, postgresql: str) -> None:
    before = said()
    statement = {"sqlite": sqlite, "postgresql": postgresql}[connection.vendor]
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement.format(table))
    assert said() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET length = length - 1",
        "UPDATE {} SET hash = 'forged'",
        "UPDATE {} SET id = id + 100, length = length + 1",
        "DELETE FROM {}",
    ],
)
def test_a_chain_head_can_only_grow(history: None, statement: str) -> None:
    before = said()
    with pytest.raises(IntegrityError, match="orders_chainhead is append-only"), transaction.atomic():
        connection.cursor().execute(statement.format("orders_chainhead"))
    assert said() == before


@pytest.mark.django_db(transaction=True)
def test_the_migration_can_be_taken_back_and_made_again() -> None:
    transition = StatusTransitionFactory()
    call_command("migrate", "orders", "0003", verbosity=0)
    StatusTransition.objects.update(reason="open to all")
    call_command("migrate", verbosity=0)
    with pytest.raises(IntegrityError, match="append-only"):
        StatusTransition.objects.update(reason="forged")
    transition.refresh_from_db()
    assert transition.reason == "open to all"
