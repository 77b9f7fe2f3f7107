"""The INSERT by hand: what it does not name has its default, as if Django had written it."""

import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.deliveries import counted_statements
from webhooks.insert import insert
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db
MOMENT = datetime(2026, 11, 26, 4, 30, 0, 5, tzinfo=UTC)
TIMES = {"received_at": MOMENT, "stored_at": MOMENT, "next_attempt_at": MOMENT}
SHOP = {"side": "shop", "source": "woocommerce", "headers": {}, **TIMES}
SETTINGS = Path(__file__).parent.parent.parent / "integration_site" / "settings.py"


def test_what_is_not_given_has_its_default() -> None:
    made = insert(SHOP, [{"dedupe_key": "one"}])
    first = WebhookEvent.objects.get()
    assert made == {"one": (first.pk, 0)}
    like = WebhookEvent.objects.create(**SHOP, dedupe_key="two")
    for field in WebhookEvent._meta.concrete_fields:
        if field.attname not in ("id", "dedupe_key"):
            assert getattr(first, field.attname) == getattr(like, field.attname), field.attname


def test_a_default_that_is_another_one_each_time_has_to_be_given() -> None:
    """It would become that of the first event of this process."""
    with pytest.raises(KeyError, match="stored_at"):
        insert({name: value for name, value in SHOP.items() if name != "stored_at"}, [{"dedupe_key": "one"}])


def test_a_known_key_is_counted_and_nothing_else_of_it_changes() -> None:
    shared = {"side": "crm", "source": "crm", "headers": {"A": "é"}, **TIMES}
    [(first, count)] = insert(shared, [{"dedupe_key": "id:evt_1", "body": b"\x00\xff"}]).values()
    assert count == 0
    assert insert(shared, [{"dedupe_key": "id:evt_1", "body": b"other"}]) == {"id:evt_1": (first, 1)}
    assert insert(shared, [{"dedupe_key": "id:evt_1", "duplicates": 2}]) == {"id:evt_1": (first, 4)}
    event = WebhookEvent.objects.get()
    assert (bytes(event.body), event.headers, event.duplicates) == (b"\x00\xff", {"A": "é"}, 4)


def test_many_rows_go_with_one_statement_and_each_keeps_its_own_values() -> None:
    rows = [
        {"dedupe_key": f"id:{n}", "version": n or None, "occurred_at": MOMENT if n % 2 else None, "body": b"%d" % n}
        for n in range(200)
    ]
    insert(SHOP, rows[50:60])
    with counted_statements() as sent:
        made = insert(SHOP | {"headers": {"A": "b"}}, rows)
    assert len(sent) == 1
    assert {key for key, (_, count) in made.items() if not count} == {
        row["dedupe_key"] for row in (*rows[:50], *rows[60:])
    }
    stored = {event.dedupe_key: event for event in WebhookEvent.objects.filter(pk__in=[pk for pk, _ in made.values()])}
    for row in (*rows[:50], *rows[60:]):
        event = stored[str(row["dedupe_key"])]
        assert (event.pk, 0) == made[event.dedupe_key]
        assert {name: getattr(event, name) for name in row if name != "body"} | {"body": bytes(event.body)} == row
        assert (event.side, event.headers) == ("shop", {"A": "b"})


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_no_driver_warns_of_how_values_are_given() -> None:
    """Python 3.12 does so for `?1`, once for each value."""
    assert insert(SHOP, [{"dedupe_key": "one"}, {"dedupe_key": "two"}]).keys() == {"one", "two"}


def test_nothing_is_inserted_for_nothing() -> None:
    assert insert(SHOP, []) == {}


if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):  # SQLite keeps every statement that it has planned

    def test_postgresql_plans_it_once() -> None:
        for number in range(20):
            insert(SHOP, [{"dedupe_key": f"hash:{number}"}])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO webhooks_webhookevent%'"
            )
            assert cursor.fetchone() == (1,)

    @pytest.mark.django_db(transaction=True)
    def test_a_pooler_that_was_not_announced_loses_no_delivery() -> None:
        """As if each came over another connection: what was planned is not known there."""
        for number in range(20):
            if number == 10:
                with connection.cursor() as cursor:
                    cursor.execute("DEALLOCATE ALL")
            assert insert(SHOP, [{"dedupe_key": f"hash:{number}"}])
        connection.close()  # the next test begins with one that plans


@pytest.mark.parametrize(("pooler", "planned"), [("", 5), ("?DISABLE_SERVER_SIDE_CURSORS=true", None)])
def test_behind_a_pooler_nothing_is_planned_ahead(
    monkeypatch: pytest.MonkeyPatch, pooler: str, planned: int | None
) -> None:
    """Each commit may come over another connection there, which knows no plan of ours."""
    monkeypatch.setenv("DATABASE_URL", f"postgres://orderbridge@127.0.0.1/orderbridge{pooler}")
    options = runpy.run_path(str(SETTINGS))["DATABASES"]["default"].get("OPTIONS", {})
    assert options.get("prepare_threshold") == planned
