"""SQL by hand: values of every kind go in, and come out as the models keep them."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sync.models import Attempt, Call, Intent, Lease, SideState
from sync.pipeline.leases import OrderLease
from tests.factories import WebhookEventFactory
from webhooks import sql
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db


def test_a_row_is_found_by_its_columns_and_is_whole() -> None:
    event = WebhookEventFactory.create(headers={"a": "b"}, state=State.PARKED)
    assert vars(sql.one(WebhookEvent, id=event.pk, state=State.PARKED)) | {"_state": None} == vars(
        WebhookEvent.objects.get()
    ) | {"_state": None}
    assert sql.one(WebhookEvent, id=event.pk, state=State.DONE) is None


def test_moments_enums_and_uuids_are_values_like_any_other() -> None:
    held, now = OrderLease("woo:1"), timezone.now()
    assert sql.find(Lease, "token = %s AND expires_at > %s", held.token, now) == [Lease.objects.get()]
    assert sql.find(Lease, "token = %s AND expires_at > %s", held.token, now + timedelta(hours=1)) == []
    assert sql.rows("SELECT name FROM sync_sidestate WHERE name = %s", SideState.objects.all()[0].name)


@pytest.mark.parametrize(("wanted", "changed"), [([14], 1), ([14, 15, 99], 2), ([], 0)])
def test_a_list_is_one_value(wanted: list[int], changed: int) -> None:
    sql.insert([Intent(woo_id=woo_id, kind=Intent.Kind.CREATE) for woo_id in (14, 15)])
    count = sql.execute(
        "UPDATE sync_intent SET to_status = %s WHERE woo_id IN (%s) AND kind = %s", "paid", wanted, Intent.Kind.CREATE
    )
    assert count == changed == Intent.objects.filter(to_status="paid").count()


def test_what_is_inserted_is_what_the_models_read() -> None:
    event, now = WebhookEventFactory.create(), timezone.now()
    [attempt] = sql.insert([Attempt(event=event, started_at=now, reasons=[["a", "it’s 100 %"]], compared={"crm": {}})])
    stored = Attempt.objects.get(pk=attempt)
    assert (stored.event, stored.started_at, stored.decided_at) == (event, now, None)
    assert (stored.reasons, stored.compared) == ([["a", "it’s 100 %"]], {"crm": {}})
    calls = sql.insert([Call(attempt_id=attempt, side="crm", method="GET", url=str(number)) for number in range(3)])
    assert [Call.objects.get(pk=pk).url for pk in calls] == ["0", "1", "2"]
    assert sql.insert([]) == []


def test_what_follows_the_values_is_obeyed() -> None:
    for status in ("paid", "shipped"):
        sql.insert(
            [Intent(woo_id=14, kind=Intent.Kind.STATUS, to_status=status)],
            "ON CONFLICT (woo_id, kind) DO UPDATE SET to_status = excluded.to_status",
        )
    assert Intent.objects.get().to_status == "shipped"


def test_a_locked_row_is_found_as_any_other() -> None:
    name = SideState.objects.all()[0].name
    with transaction.atomic():
        [side] = sql.find(SideState, f"name = %s {sql.for_update()}", name)
    assert side.name == name
    assert bool(sql.for_update()) == (connection.vendor == "postgresql")
