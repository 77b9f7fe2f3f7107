"""The shop is brought to the CRM's state, as far as an event may."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orders.models import StatusTransition
from sync.clients.paging import crm_changes
from sync.jobs import engine, resync
from sync.models import DriftFinding, Run
from sync.queue import shutdown
from tests.sync.conftest import TwoSides
from tests.sync.test_backfill import die, dying_at
from tests.sync.test_drift import found as drift_found
from tests.sync.test_drift import linked
from webhooks.models import State, WebhookEvent


def run_it(**options: Any) -> dict[str, int]:
    run = resync.start(actor="anna", reason="asked", **options)
    assert engine.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return {name: number for name, number in run.counts.items() if number}


def test_the_shop_gets_the_crms_state(two_sides: TwoSides) -> None:
    (one, crm_one), (other, crm_other), _ = linked(two_sides, 3)
    two_sides.crm.set_status(crm_one, "paid")
    two_sides.crm.set_status(crm_other, "shipped")
    assert run_it(orders=[str(one)]) == {"seen": 1, "applied": 1}
    assert run_it(everything=True) == {"seen": 3, "applied": 1, "unchanged": 2}
    assert two_sides.shop.orders[one]["status"] == "processing"
    assert two_sides.shop.orders[other]["status"] == "completed"


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("resync", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_reports_its_counts(two_sides: TwoSides) -> None:
    (_, crm_one), _ = linked(two_sides, 2)
    two_sides.crm.set_status(crm_one, "paid")
    assert command("--all", "--dry-run") == "Nothing was written. 2 seen, 1 applied, 1 unchanged\n"
    told = json.loads(command(crm_one, "--json"))
    assert (told["seen"], told["applied"], told["failed"]) == (1, 1, 0)


def test_orders_that_nobody_knows_are_named(two_sides: TwoSides) -> None:
    with pytest.raises(CommandError, match="No linked order: 9999, C-7") as refusal:
        command("9999", "C-7")
    assert refusal.value.returncode == 2


def test_which_orders_must_be_said_in_one_way(two_sides: TwoSides) -> None:
    for arguments in ((), ("--all", "--drifted"), ("1", "--since", "2026-01-01")):
        with pytest.raises(CommandError, match="Say which") as refusal:
            command(*arguments)
        assert refusal.value.returncode == 2


# --- which orders --------------------------------------------------------------------------------------------------


def test_either_id_names_an_order(two_sides: TwoSides) -> None:
    (one, crm_one), (other, crm_other), _ = linked(two_sides, 3)
    for crm_id in (crm_one, crm_other):
        two_sides.crm.set_status(crm_id, "paid")
    assert run_it(orders=[str(one), crm_one, crm_other]) == {"seen": 2, "applied": 2}
    assert two_sides.shop.orders[other]["status"] == "processing"


def test_a_period_is_what_the_crm_changed_in_it(two_sides: TwoSides) -> None:
    (_, crm_one), (_, crm_other), _ = linked(two_sides, 3)
    two_sides.crm.clock_is_ahead = -timedelta(days=3)
    two_sides.crm.set_status(crm_one, "paid")
    two_sides.crm.clock_is_ahead = timedelta(hours=1)
    two_sides.crm.set_status(crm_other, "paid")
    two_sides.crm.add_order("INV-7", "paid")
    assert run_it(since=timezone.now() + timedelta(minutes=30)) == {"seen": 1, "applied": 1}
    assert run_it(since=timezone.now() - timedelta(days=7)) == {"seen": 3, "applied": 1, "unchanged": 2}


def test_the_drifted_ones_are_those_that_a_resync_can_mend(two_sides: TwoSides) -> None:
    (one, crm_one), (ahead, _), (ignored, crm_ignored), _ = linked(two_sides, 4)
    for crm_id in (crm_one, crm_ignored):
        two_sides.crm.set_status(crm_id, "paid")
    two_sides.shop.set_status(ahead, "processing")
    drift_found()
    DriftFinding.objects.filter(woo_id=ignored).update(ignored_until=timezone.now() + timedelta(days=1))
    assert run_it(drifted=True) == {"seen": 1, "applied": 1}
    assert two_sides.shop.orders[one]["status"] == "processing"
    assert {woo_id for woo_id, *_ in drift_found()} == {ahead, ignored}


# --- never more than an event may ----------------------------------------------------------------------------------


def test_what_the_lifecycle_does_not_allow_is_refused_and_logged_with_who_asked(two_sides: TwoSides) -> None:
    ((woo_id, crm_id),) = linked(two_sides, 1, status="cancelled")
    two_sides.crm.set_status(crm_id, "paid")
    two_sides.forget_calls()
    assert run_it(everything=True) == {"seen": 1, "refused": 1}
    assert two_sides.writes() == {}
    move = StatusTransition.objects.get()
    assert (move.decision, move.from_status, move.to_status, move.actor) == (
        "refused",
        "cancelled",
        "processing",
        "anna",
    )
    assert two_sides.shop.orders[woo_id]["status"] == "cancelled"


def test_a_shop_that_is_ahead_is_left_alone(two_sides: TwoSides) -> None:
    ((woo_id, _),) = linked(two_sides, 1)
    two_sides.shop.set_status(woo_id, "processing")
    two_sides.forget_calls()
    assert run_it(everything=True) == {"seen": 1, "unchanged": 1}
    assert two_sides.writes() == {}


def test_an_order_that_the_crm_does_not_know_is_named(two_sides: TwoSides) -> None:
    (_, gone), (one, crm_one) = linked(two_sides, 2)
    two_sides.crm.delete(gone)
    two_sides.crm.set_status(crm_one, "paid")
    with pytest.raises(CommandError, match="1 orders failed") as failure:
        command("--all")
    assert failure.value.returncode == 1
    assert two_sides.shop.orders[one]["status"] == "processing"
    event = WebhookEvent.objects.get(state=State.PARKED)
    assert (event.order_ref, event.source) == (gone, "resync")


def test_a_dry_run_writes_nothing(two_sides: TwoSides) -> None:
    ((_, crm_id),) = linked(two_sides, 1)
    two_sides.crm.set_status(crm_id, "paid")
    two_sides.forget_calls()
    events = WebhookEvent.objects.count()
    command("--all", "--dry-run")
    assert two_sides.writes() == {}
    assert WebhookEvent.objects.count() == events
    assert not Run.objects.filter(kind="resync").exists()


# --- unpleasant sides, crashes, wrong use --------------------------------------------------------------------------


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", ["429", "502", "captcha-202", "truncated", "down"])
def test_a_fault_of_either_side_delays_and_loses_nothing(two_sides: TwoSides, fault: str) -> None:
    orders = linked(two_sides, 4)
    for _, crm_id in orders:
        two_sides.crm.set_status(crm_id, "paid")
    for server in (two_sides.shop, two_sides.crm):
        server.faults.add(fault, 2, method="GET", after=0.05)
    assert run_it(everything=True) == {"seen": 4, "applied": 4}
    assert {order["status"] for order in two_sides.shop.orders.values()} == {"processing"}


def dies_at_its_second_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(resync, "process_page", dying_at(2))
        die(resync.job, run)


def test_a_run_that_died_before_its_checkpoint_asks_no_order_twice(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "BATCH", 2)
    for _, crm_id in linked(two_sides, 5):
        two_sides.crm.set_status(crm_id, "paid")
    run = resync.start(actor="anna", reason="asked", everything=True)
    dies_at_its_second_page(run, monkeypatch)
    assert run_it(everything=True) == {"seen": 5, "applied": 5}
    assert WebhookEvent.objects.filter(source="resync").count() == 5


def stretch(run: Run) -> bool:
    """Work until one more page is counted. True: the run is over."""
    shutdown.asked.clear()
    before = run.counts
    return engine.carry_out(run, on_progress=lambda run: shutdown.asked.set() if run.counts != before else None)


def test_a_period_that_is_gone_on_with_counts_each_order_once(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with the last order of the page before; another one comes again as it changes meanwhile."""
    monkeypatch.setattr(crm_changes, "CHANGES", 2)
    monkeypatch.setattr(shutdown, "asked", shutdown.Flag())
    orders = [crm_id for _, crm_id in linked(two_sides, 5)]
    for crm_id in orders:
        two_sides.crm.set_status(crm_id, "paid")
    run = resync.start(actor="anna", since=timezone.now() - timedelta(days=7))
    assert not stretch(run)
    two_sides.crm.set_status(orders[0], "shipped")
    assert any(stretch(run) for _ in range(9)), "it comes to its end"
    assert run.state == Run.State.DONE, run.error
    assert {name: number for name, number in run.counts.items() if number} == {"seen": 5, "applied": 5}


def test_a_period_whose_run_died_before_its_checkpoint_counts_each_order_once(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crm_changes, "CHANGES", 2)
    for _, crm_id in linked(two_sides, 5):
        two_sides.crm.set_status(crm_id, "paid")
    since = timezone.now() - timedelta(days=7)
    run = resync.start(actor="anna", reason="asked", since=since)
    dies_at_its_second_page(run, monkeypatch)
    assert run_it(since=since) == {"seen": 5, "applied": 5}
    assert WebhookEvent.objects.filter(source="resync").count() == 5


def test_how_many_there_are_to_do_stays_the_same(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "BATCH", 2)
    linked(two_sides, 5)
    told = set()
    engine.carry_out(resync.start(actor="anna", everything=True), on_progress=lambda run: told.add(run.total))
    assert told == {5}


def test_a_second_one_at_the_same_time_is_refused(two_sides: TwoSides) -> None:
    linked(two_sides, 1)
    Run.objects.filter(pk=resync.start(actor="anna", everything=True).pk).update(holder="elsewhere:7")
    with pytest.raises(CommandError, match="elsewhere:7") as refusal:
        command("--all")
    assert refusal.value.returncode == 2


def test_a_date_that_does_not_parse_is_told(two_sides: TwoSides) -> None:
    with pytest.raises(CommandError, match="--since 'soon' is no date") as refusal:
        command("--since", "soon")
    assert refusal.value.returncode == 2
