"""The INSERT that is made once: what it does not name has its default, as if Django had written it."""

import runpy
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, models

from webhooks.insert import insert
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db
SETTINGS = Path(__file__).parent.parent.parent / "integration_site" / "settings.py"


def test_what_is_not_given_has_its_default_and_each_row_its_own_time() -> None:
    made = [insert({"side": "shop", "source": "woocommerce", "dedupe_key": key}) for key in ("one", "two")]
    first, second = WebhookEvent.objects.order_by("id")
    assert [first.pk, second.pk] == made
    like = WebhookEvent.objects.create(side="shop", source="woocommerce", dedupe_key="three")
    for field in WebhookEvent._meta.concrete_fields:
        if isinstance(field, models.DateTimeField) and field.default is not models.NOT_PROVIDED:
            assert getattr(first, field.attname) < getattr(second, field.attname) <= getattr(like, field.attname)
        elif field.attname not in ("id", "dedupe_key"):
            assert getattr(first, field.attname) == getattr(like, field.attname), field.attname


def test_a_known_key_is_told_and_changes_nothing() -> None:
    row = {"side": "crm", "source": "crm", "dedupe_key": "id:evt_1", "body": b"\x00\xff", "headers": {"A": "é"}}
    assert insert(row) is not None
    assert insert({**row, "body": b"other"}) is None
    event = WebhookEvent.objects.get()
    assert (bytes(event.body), event.headers) == (b"\x00\xff", {"A": "é"})


if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):  # SQLite keeps every statement that it has planned

    def test_postgresql_plans_it_once() -> None:
        for number in range(20):
            insert({"side": "shop", "source": "woocommerce", "dedupe_key": f"hash:{number}"})
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
            assert insert({"side": "shop", "source": "woocommerce", "dedupe_key": f"hash:{number}"})
        connection.close()  # the next test begins with one that plans


@pytest.mark.parametrize(("pooler", "planned"), [("", 5), ("?DISABLE_SERVER_SIDE_CURSORS=true", None)])
def test_behind_a_pooler_nothing_is_planned_ahead(
    monkeypatch: pytest.MonkeyPatch, pooler: str, planned: int | None
) -> None:
    """Each commit may come over another connection there, which knows no plan of ours."""
    monkeypatch.setenv("DATABASE_URL", f"postgres://orderbridge@127.0.0.1/orderbridge{pooler}")
    options = runpy.run_path(str(SETTINGS))["DATABASES"]["default"].get("OPTIONS", {})
    assert options.get("prepare_threshold") == planned
