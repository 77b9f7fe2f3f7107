"""Every table of the audit, and every way to tamper with it without a key: each is a finding, and stays one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction

from orders import audit
from orders.append_only import GUARDS
from orders.checkpoints import make_checkpoint
from orders.models import AllowedMove, AuditSeal, ChainHead, OrderLink, StaffAction, StatusRule, StatusTransition
from orders.verification import AuditFinding
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.orders.test_verification import disarmed, verified  # noqa: F401

pytestmark = pytest.mark.django_db
Sql = Callable[..., None]
OLD_RULES, OLD_MOVES = StatusRule.history.model, AllowedMove.history.model
TABLES: dict[str, type[models.Model]] = {
    model._meta.db_table: model
    for model in (OrderLink, StatusTransition, StaffAction, AuditSeal, ChainHead, OLD_RULES, OLD_MOVES)
}
NOT_SAID = {
    OrderLink: {field.attname for field in OrderLink._meta.concrete_fields} - {"id", "woo_id", "crm_order_id", "mac"},
    StaffAction: {"id"},
    AuditSeal: {"id"},
}
"""Columns that work changes, and ids that say nothing."""


@pytest.fixture(scope="module")
def built(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The history, once for all tests of this file, in a transaction around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        build()
        yield
        transaction.set_rollback(True)


@pytest.fixture
def history(built: None, db: None) -> None:
    """What `build` makes, as it was made."""


def build() -> None:
    """Three orders with history, two without, staff actions, edits of the lifecycle; a checkpoint, and more since."""
    editor, _ = (get_user_model().objects.create(username=name) for name in ("ed", "eva"))
    for n in range(3):
        link = OrderLinkFactory(woo_id=70 + n)
        for _ in range(2):
            StatusTransitionFactory(link=link, crm_version=1, crm_answer={"status": "paid"})
        audit.record("replay", actor="ann", reason="mended", link=link)
        rule = StatusRule(crm_status=f"new {n}", woo_status="pending")
        rule._history_user = editor
        rule.save()
        AllowedMove(from_status=f"a{n}", to_status="b").save()
        assert make_checkpoint() is not None
    OrderLinkFactory(woo_id=80)
    OrderLinkFactory(woo_id=81)
    assert make_checkpoint() is not None
    StatusTransitionFactory(link=link, event=WebhookEventFactory())
    connection.check_constraints()
    assert verified() == []


def columns() -> list[tuple[str, str]]:
    return [
        (table, field.column)
        for table, model in TABLES.items()
        for field in model._meta.concrete_fields
        if field.attname not in NOT_SAID.get(model, ())
    ]


def newest_but_one(table: str) -> Any:
    return TABLES[table].objects.order_by("-pk")[1]


def key(table: str) -> str:
    return TABLES[table]._meta.pk.column


def other(field: models.Field, value: Any) -> Any:
    if field.get_internal_type() in ("JSONField",):
        return '{"forged": 1}'
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, str):
        return f"{value[:-1]}x" if value else "x"
    if value is None:
        return (
            get_user_model().objects.latest("pk").pk
            if "user" in field.attname
            else 4711
            if "id" in field.attname
            else "1"
        )
    return value.replace(year=2020)


@pytest.mark.parametrize(("table", "column"), columns())
def test_a_changed_column(history: None, disarmed: Sql, table: str, column: str) -> None:  # noqa: F811
    row = newest_but_one(table)
    field = next(one for one in row._meta.concrete_fields if one.column == column)
    value = other(field, getattr(row, field.attname))
    if field.remote_field and field.db_constraint:
        value = field.remote_field.model.objects.order_by("-pk").values_list("pk", flat=True)[0]
    disarmed(f"UPDATE {table} SET {column} = %s WHERE {key(table)} = %s", value, row.pk)  # noqa: S608
    assert verified() != []


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_gone(history: None, disarmed: Sql, table: str) -> None:  # noqa: F811
    row = newest_but_one(table) if table != OrderLink._meta.db_table else OrderLink.objects.get(woo_id=80)
    disarmed(f"DELETE FROM {table} WHERE {key(table)} = %s", row.pk)  # noqa: S608
    assert verified() != []


@pytest.mark.parametrize("table", [table for table in TABLES if table != OrderLink._meta.db_table])
def test_all_rows_gone(history: None, disarmed: Sql, table: str) -> None:  # noqa: F811
    disarmed(f"DELETE FROM {table}")  # noqa: S608
    assert verified() != []


@pytest.mark.parametrize(
    ("table", "swapped"),
    [
        ("orders_orderlink", "crm_order_id"),
        ("orders_orderlink", "woo_id"),
        ("orders_orderlink", "id"),
        ("orders_statustransition", "sequence"),
        ("orders_statustransition", "id"),
        ("orders_staffaction", "sequence"),
        ("orders_chainhead", "id"),
        ("orders_auditseal", "sequence"),
        ("orders_historicalstatusrule", "history_id"),
        ("orders_historicalallowedmove", "from_status"),
    ],
)
def test_two_that_were_swapped(history: None, disarmed: Sql, table: str, swapped: str) -> None:  # noqa: F811
    model = TABLES[table]
    one, two = model.objects.order_by("-pk" if model in (OLD_RULES, OLD_MOVES) else "pk")[:2]
    if table == "orders_orderlink" and swapped == "id":  # the history goes with the number here
        a, b = ({name: getattr(row, name) for name in ("woo_id", "crm_order_id", "mac")} for row in (one, two))
        _set(disarmed, table, one.pk, {**b, "woo_id": 1, "crm_order_id": "x"})
        _set(disarmed, table, two.pk, a)
        _set(disarmed, table, one.pk, b)
    else:
        a, b = getattr(one, swapped), getattr(two, swapped)
        free = 99_999 if isinstance(a, int) else "free"
        for value, row, name in ((free, one.pk, key(table)), (a, two.pk, key(table))):
            disarmed(f"UPDATE {table} SET {swapped} = %s WHERE {name} = %s", value, row)  # noqa: S608
        where = free if swapped == key(table) else one.pk
        disarmed(f"UPDATE {table} SET {swapped} = %s WHERE {key(table)} = %s", b, where)  # noqa: S608
    assert verified() != []


def _set(sql: Sql, table: str, pk: int, values: dict[str, Any]) -> None:
    sql(f"UPDATE {table} SET {', '.join(f'{c} = %s' for c in values)} WHERE id = %s", *values.values(), pk)  # noqa: S608


def test_before_there_is_a_checkpoint_swapped_ids_are_found(db: None, disarmed: Sql) -> None:  # noqa: F811
    OrderLinkFactory(woo_id=1, crm_order_id="one")
    OrderLinkFactory(woo_id=2, crm_order_id="two")
    disarmed("UPDATE orders_orderlink SET crm_order_id = 'x' WHERE woo_id = 1")
    disarmed("UPDATE orders_orderlink SET crm_order_id = 'one' WHERE woo_id = 2")
    disarmed("UPDATE orders_orderlink SET crm_order_id = 'two' WHERE woo_id = 1")
    OrderLink.objects.get(woo_id=1).save()  # work goes on, and signs nothing that it did not link
    assert [(one.what, one.order) for one in verified()] == [("order", 1), ("order", 2)]


def test_a_link_that_was_inserted(history: None, disarmed: Sql) -> None:  # noqa: F811
    mac = OrderLink.objects.get(woo_id=80).mac
    OrderLinkFactory(woo_id=90)
    disarmed("UPDATE orders_orderlink SET mac = %s WHERE woo_id = 90", mac)
    assert [(one.what, one.order) for one in verified()] == [("order", 90)]
    make_checkpoint()
    assert [(one.what, one.order) for one in verified()] == [("order", 90)]


def test_an_old_version_of_the_lifecycle_that_was_inserted(history: None, disarmed: Sql) -> None:  # noqa: F811
    gone = OLD_RULES.objects.order_by("pk")[1]
    unused = OLD_RULES.objects.latest("pk").pk + 1000
    disarmed("UPDATE orders_historicalstatusrule SET history_id = %s WHERE history_id = %s", unused, gone.pk)
    assert "which it covered, is gone" in verified()[0].words
    assert OLD_RULES.objects.filter(pk=unused).exists()


def test_a_person_who_made_an_edit_may_leave(history: None) -> None:
    get_user_model().objects.all().delete()
    assert not OLD_RULES.objects.exclude(history_user=None).exists()
    assert verified() == []


# --- the lifecycle as it is ------------------------------------------------------------------------------------------

LIVE: list[tuple[type[models.Model], str]] = [
    (model, field.column) for model in (StatusRule, AllowedMove) for field in model._meta.concrete_fields
]


@pytest.mark.parametrize("which", ["pk", "-pk"], ids=["a default", "an edit"])
@pytest.mark.parametrize(("model", "column"), LIVE)
def test_a_row_of_the_lifecycle_that_says_something_else(
    history: None,
    disarmed: Sql,  # noqa: F811
    model: Any,
    column: str,
    which: str,
) -> None:
    row = model.objects.order_by(which)[0]
    field = next(one for one in model._meta.concrete_fields if one.column == column)
    value = other(field, getattr(row, field.attname))
    disarmed(f"UPDATE {model._meta.db_table} SET {column} = %s WHERE id = %s", value, row.pk)  # noqa: S608
    for _ in range(2):
        assert kinds(verified()) == {model._meta.verbose_name}
        make_checkpoint()


@pytest.mark.parametrize("model", [StatusRule, AllowedMove])
@pytest.mark.parametrize("which", ["pk", "-pk"], ids=["a default", "an edit"])
def test_a_row_of_the_lifecycle_that_is_gone_or_came_by_itself(
    history: None,
    disarmed: Sql,  # noqa: F811
    model: Any,
    which: str,
) -> None:
    row, table = model.objects.order_by(which)[0], model._meta.db_table
    disarmed(f"DELETE FROM {table} WHERE id = %s", row.pk)  # noqa: S608
    assert [(one.what, one.row) for one in verified()] == [(model._meta.verbose_name, row.pk)]
    model.objects.bulk_create([row])
    assert verified() == []
    row.delete()
    assert verified() == []
    [back] = model.objects.bulk_create([row])
    assert [(one.what, one.row) for one in verified()] == [(model._meta.verbose_name, back.pk)]


def test_edits_of_the_lifecycle_are_no_finding(history: None) -> None:
    for model in (StatusRule, AllowedMove):
        for row in (model.objects.earliest("pk"), model.objects.latest("pk")):
            name = model._meta.concrete_fields[-1].attname
            setattr(row, name, other(model._meta.concrete_fields[-1], getattr(row, name)))
            row.save()
            assert verified() == []
        model.objects.earliest("pk").delete()
        model.objects.all()[:1].get().delete()
        assert verified() == []
    StatusRule.objects.all().delete()
    assert verified() == []
    make_checkpoint()
    assert verified() == []


# --- triggers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.table)
def test_a_trigger_that_was_dropped(history: None, guard: Any, number: int) -> None:
    name = guard.triggers(connection.vendor)[number]
    on = f" ON {guard.table}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}{on}")
    assert [(one.what, name in one.words) for one in verified()] == [("table", True)]


def test_a_trigger_that_does_nothing_any_more(history: None) -> None:
    table, name = "orders_statustransition", "orders_statustransition_no_update"
    changes = {
        "sqlite": [
            f"DROP TRIGGER {name}",
            f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} WHEN 0 BEGIN SELECT 1; END",
        ],
        "postgresql": [f"ALTER TABLE {table} DISABLE TRIGGER {name}"],
    }
    with connection.cursor() as cursor:
        for statement in changes[connection.vendor]:
            cursor.execute(statement)
    assert [one.what for one in verified()] == ["table"]


@pytest.mark.parametrize("when", ["BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER DELETE"])
@pytest.mark.parametrize("table", [*TABLES, "orders_statusrule", "orders_allowedmove", "ORDERS_STAFFACTION"])
def test_a_trigger_of_somebody_else(history: None, table: str, when: str) -> None:
    """It may keep chosen rows out, or write them as it likes."""
    statement = {
        "sqlite": f"CREATE TRIGGER zz {when} ON {table} WHEN 0 BEGIN SELECT 1; END",
        "postgresql": f"CREATE TRIGGER zz {when} ON {table} FOR EACH ROW WHEN (false) "
        "EXECUTE FUNCTION orders_append_only()",
    }
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute(statement[connection.vendor])
    [finding] = verified()
    assert finding.what == "table"
    assert f"zz on {table.lower()} is not ours" in finding.words


def test_a_trigger_of_ours_on_another_table(history: None) -> None:
    statement = {
        "sqlite": "CREATE TRIGGER zz BEFORE INSERT ON orders_staffaction WHEN 0 BEGIN SELECT 1; END",
        "postgresql": "CREATE TRIGGER orders_chainhead_no_update BEFORE INSERT ON orders_staffaction FOR EACH ROW "
        "WHEN (false) EXECUTE FUNCTION orders_append_only()",
    }
    with connection.cursor() as cursor:
        cursor.execute(statement[connection.vendor])
    assert [one.what for one in verified()] == ["table"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE RULE zz AS ON INSERT TO orders_staffaction WHERE NEW.actor = 'evil' DO INSTEAD NOTHING",
        "CREATE POLICY zz ON orders_staffaction USING (actor <> 'evil')",
    ],
)
def test_what_does_as_a_trigger_does(history: None, statement: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has it")
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    [finding] = verified()
    assert "zz on orders_staffaction is not ours" in finding.words


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE FUNCTION orders_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "SET LOCAL session_replication_role = replica",
    ],
)
def test_what_puts_all_triggers_out_of_action(history: None, statement: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone can do that")
    with connection.cursor() as cursor:
        cursor.execute(statement)
    assert {one.what for one in verified()} == {"table"}


# --- everything ----------------------------------------------------------------------------------------------------

EVERYTHING = [table for table in TABLES if table != "orders_orderlink"] + ["orders_orderlink"]


def wipe(sql: Sql) -> None:
    for table in EVERYTHING:
        sql(f"DELETE FROM {table}")  # noqa: S608


def kinds(findings: list[AuditFinding]) -> set[str]:
    return {one.what for one in findings}


def test_everything_gone_is_found_and_stays_so_whatever_comes_afterwards(history: None, disarmed: Sql) -> None:  # noqa: F811
    wipe(disarmed)
    assert kinds(verified()) == {"staff action", "checkpoint", "status rule", "allowed move"}
    for _ in range(2):
        audit.record("replay", actor="ann")
        StatusTransitionFactory()
        make_checkpoint()
        call_command("migrate", verbosity=0)
        assert kinds(verified()) == {"staff action", "checkpoint", "status rule", "allowed move"}
    with pytest.raises(CommandError, match="broken") as raised:
        call_command("verify_audit")
    assert raised.value.returncode == 1


@pytest.mark.parametrize("kept", [table for table in EVERYTHING if table != "orders_statustransition"])
def test_everything_but_one_table_gone(history: None, disarmed: Sql, kept: str) -> None:  # noqa: F811
    """All but the transitions, whose rows hold their orders."""
    for table in EVERYTHING:
        if table != kept and not (kept == "orders_staffaction" and table == "orders_orderlink"):
            disarmed(f"DELETE FROM {table}")  # noqa: S608
    assert verified() != []
