"""Many orders that are gone from the shop at once: the CRM hears of them when a person says so, or not at all."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orders.models import OrderLink
from sync import tasks
from sync.alarms import open_alarms
from sync.clients.snapshots import TRASH
from sync.jobs import backfill, engine, reconciliation
from sync.models import Run
from sync.pipeline import disappearance
from sync.pipeline.dry_run import run_dry
from sync.pipeline.replays import replay
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks import clock
from webhooks.models import State, WebhookEvent


@pytest.mark.parametrize(
    ("gone", "of", "many"),
    [
        (1, 1, False),
        (5, 5, False),
        (6, 6, True),
        (6, 59, True),
        (6, 60, False),
        (9, 10, True),
        (500, 10_000, False),
        (501, 10_000, True),
        (501, 1_000_000, True),
    ],
)
def test_how_many_are_too_many(gone: int, of: int, many: bool) -> None:
    assert disappearance.too_many(gone, of) is many


def linked(sides: TwoSides, count: int = 10) -> list[int]:
    """Orders that were changed long ago, so that a normal reconcile does not look at them."""
    ids = sides.orders(count)
    assert engine.carry_out(backfill.start(actor="anna"))
    sides.forget_calls()
    return ids


def vanish(sides: TwoSides, ids: list[int]) -> dict[int, Any]:
    return {woo_id: sides.shop.orders.pop(woo_id) for woo_id in ids}


def settle() -> None:
    while pipeline.work_once():
        pass
    assert not WebhookEvent.objects.unfinished().exists()


def told(sides: TwoSides) -> set[int]:
    """Of which the CRM was told that they are in the trash."""
    return {int(one["external_id"]) for one in sides.crm.orders.values() if one["order"]["status"] == TRASH}


def command(name: str, *arguments: str) -> tuple[str, int]:
    out, code = StringIO(), 0
    try:
        call_command(name, *arguments, stdout=out)
    except CommandError as error:
        out.write(str(error))
        code = error.returncode
    settle()
    return out.getvalue(), code


def gone_alarm() -> bool:
    return open_alarms().filter(key="gone").exists()


# --- a sweep -------------------------------------------------------------------------------------------------------


def test_a_deep_reconcile_tells_of_none_of_too_many(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    away = vanish(two_sides, ids[:9])
    words, code = command("reconcile", "--deep")
    assert (told(two_sides), code) == (set(), 1)
    assert "9 of 10 linked orders are gone" in words and "--confirm-deleted" in words
    assert gone_alarm()
    two_sides.shop.orders.update(away)
    assert command("reconcile", "--deep")[1] == 0
    assert (told(two_sides), gone_alarm()) == (set(), False)
    assert two_sides.writes() == {}


def test_a_person_confirms_by_command(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    vanish(two_sides, ids[:9])
    command("reconcile", "--deep")
    words, code = command("reconcile", "--confirm-deleted", "--json")
    assert (told(two_sides), code) == ({*ids[:9]}, 0)
    assert (json.loads(words)["deep"], json.loads(words)["shop"], gone_alarm()) == (True, 9, False)


def test_a_person_confirms_in_the_back_office(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    vanish(two_sides, ids[:9])
    run = reconciliation.start(confirm_deleted=True, actor="anna", reason="We cleaned up.")
    assert engine.carry_out(run) and run.state == Run.State.DONE
    settle()
    assert told(two_sides) == {*ids[:9]}
    assert set(WebhookEvent.objects.filter(source="sweep").values_list("requested_by", flat=True)) == {"anna"}


def test_a_few_are_told_at_once(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    vanish(two_sides, ids[:5])
    assert command("reconcile", "--deep")[1] == 0
    assert (told(two_sides), gone_alarm()) == ({*ids[:5]}, False)


def test_very_many_are_not_looked_for_to_the_last(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disappearance, "MOST", 7)
    ids = linked(two_sides, 20)
    vanish(two_sides, ids)
    assert command("reconcile", "--deep")[1] == 1
    alone = [one for one in two_sides.shop.requests if one.path.rpartition("/")[2].isdigit()]
    assert (len(alone), told(two_sides)) == (8, set())


def test_the_schedule_looks_again_and_goes_on_when_they_are_back(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    away = vanish(two_sides, ids[:9])
    tasks.reconcile_deep()
    settle()
    assert Run.objects.latest("pk").state == Run.State.FAILED and gone_alarm()
    two_sides.shop.orders.update(away)
    Run.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    tasks.reconcile_deep()
    assert Run.objects.latest("pk").state == Run.State.DONE and not gone_alarm()
    assert told(two_sides) == set()


def test_a_dry_run_says_it_and_raises_nothing(two_sides: TwoSides) -> None:
    vanish(two_sides, linked(two_sides)[:9])
    words, code = command("reconcile", "--deep", "--dry-run")
    assert code == 1 and "9 of 10" in words and not gone_alarm()


# --- events --------------------------------------------------------------------------------------------------------


def delivered(woo_id: int, topic: str = "order.deleted") -> WebhookEvent:
    return WebhookEventFactory(
        side="shop",
        source="woocommerce",
        topic=topic,
        order_ref=str(woo_id),
        body=json.dumps({"id": woo_id}).encode(),
        next_attempt_at=clock.now(),
    )


@pytest.mark.parametrize("topic", ["order.deleted", "order.updated"])
def test_the_rest_of_too_many_events_is_parked_until_a_person_says_so(two_sides: TwoSides, topic: str) -> None:
    ids = linked(two_sides)
    vanish(two_sides, ids[:9])
    for woo_id in ids[:9]:
        delivered(woo_id, topic)
    settle()
    parked = WebhookEvent.objects.filter(state=State.PARKED)
    assert (len(told(two_sides)), parked.count(), gone_alarm()) == (5, 4, True)
    assert all("Many orders are gone at once" in event.reason for event in parked)
    event = parked[0]
    assert run_dry(event).outcome == "updated", "what a replay would do"
    replay(event.pk, by="anna")
    settle()
    assert int(event.order_ref) in told(two_sides)


def test_what_was_held_back_stays_so_until_the_alarm_is_over(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    away = vanish(two_sides, ids[:9])
    for woo_id in ids[:7]:
        delivered(woo_id)
    settle()
    WebhookEvent.objects.update(finished_at=clock.now() - timedelta(hours=1))
    delivered(ids[7])
    settle()
    assert len(told(two_sides)) == 5, "hours later"
    assert command("reconcile", "--deep")[1] == 1
    assert len(told(two_sides)) == 5, "nor by a sweep, for which these are few"
    two_sides.shop.orders.update(away)
    assert command("drift")[1] == 1
    assert command("reconcile", "--deep")[1] == 0
    assert (told(two_sides), gone_alarm()) == (set(), False)


def test_one_deletion_after_another_is_told_as_ever(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    for woo_id in ids[:9]:
        vanish(two_sides, [woo_id])
        delivered(woo_id)
        settle()
        WebhookEvent.objects.update(finished_at=clock.now() - timedelta(minutes=11))
    assert (told(two_sides), gone_alarm()) == ({*ids[:9]}, False)


def test_what_the_shop_shows_in_its_trash_never_counts(two_sides: TwoSides) -> None:
    ids = linked(two_sides)
    for woo_id in ids[:9]:
        two_sides.shop.trash(woo_id)
        delivered(woo_id)
    settle()
    assert (told(two_sides), gone_alarm()) == ({*ids[:9]}, False)
    vanish(two_sides, ids[9:])
    delivered(ids[9])
    settle()
    assert told(two_sides) == {*ids}


# --- what comes back -----------------------------------------------------------------------------------------------


def test_what_is_back_is_listed_and_the_crm_hears_of_it(two_sides: TwoSides) -> None:
    """From a backup: with the time of its last change as it was."""
    ids = linked(two_sides)
    away = vanish(two_sides, ids[:3])
    command("reconcile", "--deep")
    assert told(two_sides) == {*ids[:3]}
    two_sides.shop.orders.update(away)
    words, code = command("drift", "--json")
    findings = json.loads(words.splitlines()[0])["findings"]
    assert {(one["woo_id"], one["kind"]) for one in findings} == {(woo_id, "deleted") for woo_id in ids[:3]}
    assert code == 1 and "reconcile --deep" in words
    assert command("reconcile", "--deep")[1] == 0
    assert told(two_sides) == set()
    assert set(OrderLink.objects.values_list("woo_status", flat=True)) == {"pending"}
    assert command("drift")[1] == 0
