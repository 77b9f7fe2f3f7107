"""Hosts whose clocks differ by more than a lease lasts do not work on one order, nor take over each other's runs."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone

from sync import tasks
from sync.clients import breaker
from sync.clients.bridged import pings_of
from sync.clients.errors import RateLimited
from sync.clients.snapshots import ShopSnapshot
from sync.jobs import bulk_replay, engine
from sync.jobs.bulk_replay import Checkpoint
from sync.models import Heartbeat, Intent, Lease, Run, SideState
from sync.monitoring import doctor, todo
from sync.pipeline import internal_events, leases
from sync.pipeline.claim import due_orders
from sync.pipeline.leases import Busy, OrderLease, release, renew, worker_name
from sync.queue.cluster import tell_of_the_clock
from sync.sandbox.server import Answer, LoopbackServer, Request
from tests import pipeline
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from tests.sync.test_reconciliation import linked, reconcile
from webhooks import clock
from webhooks.connections import default_bridge
from webhooks.models import Side, State, WebhookEvent

Host = Callable[[float], None]
MINUTE = timedelta(minutes=1)
SKEWS = (90.0, 45.0, -45.0, -90.0)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """From here on this process is on a host whose clock is so many seconds ahead."""
    true_now, true_time = timezone.now, time.time

    def be(ahead: float) -> None:
        monkeypatch.setattr(timezone, "now", lambda: true_now() + timedelta(seconds=ahead))
        monkeypatch.setattr(time, "time", lambda: true_time() + ahead)
        monkeypatch.setattr(leases, "worker_name", lambda: f"host{ahead}:{ahead}:1")
        monkeypatch.setattr(engine, "worker_name", lambda: f"host{ahead}:{ahead}:1")

    return be


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_the_time_is_that_of_the_database(on_host: Host, ahead: float) -> None:
    true = datetime.now(UTC)
    on_host(ahead)
    assert abs(clock.now() - true) < timedelta(seconds=5)
    assert abs(clock.ahead() - timedelta(seconds=ahead)) < timedelta(seconds=5)


@pytest.mark.django_db
def test_where_the_clocks_agree_ours_is_good_enough() -> None:
    before = timezone.now()
    assert before <= clock.now() <= timezone.now()


@pytest.mark.django_db
@pytest.mark.parametrize("answered_after", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("took", [0.2, 8.0])
def test_where_the_question_takes_long_the_clocks_still_agree(
    monkeypatch: pytest.MonkeyPatch, took: float, answered_after: float
) -> None:
    """On a busy machine it may wait before the database tells its time, or after. Nothing that this process stores
    would be due for as long as it wrongly took itself to be ahead."""
    before = timezone.now()
    here = iter([before - answered_after * (delay := timedelta(seconds=took)), before + (1 - answered_after) * delay])
    monkeypatch.setattr(timezone, "now", lambda: next(here))
    assert clock.ahead() == timedelta()


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_a_lease_is_held_whatever_the_clock_of_the_other(on_host: Host, ahead: float) -> None:
    held = OrderLease("woo:1")
    on_host(ahead)
    with pytest.raises(Busy):
        OrderLease("woo:1")
    assert OrderLease.take_each(["woo:1"]) == {}
    other = OrderLease("woo:2")
    on_host(0)
    with pytest.raises(Busy):
        OrderLease("woo:2")
    renew([held])
    renew([other])
    tasks.Lease.objects.filter(expires_at__lt=clock.now()).delete()
    assert Lease.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_what_one_host_stores_is_due_at_once_on_the_other_and_what_is_claimed_or_later_is_not(
    on_host: Host, ahead: float
) -> None:
    on_host(ahead)
    event = internal_events.resync(OrderLinkFactory())
    on_host(0)
    [(side, ref)] = due_orders(1)
    work = pipeline.take(side, ref)
    assert work is not None
    on_host(ahead)
    assert due_orders(1) == []
    release([work.lease])
    event.refresh_from_db()
    for state in (State.PROCESSING, State.RETRYING):  # the claim of a dead worker; a try that is put off
        soon = clock.now() + timedelta(seconds=30)
        WebhookEvent.objects.update(state=state, next_attempt_at=soon)
        assert due_orders(1) == []
        assert pipeline.take(side, ref) is None
    WebhookEvent.objects.update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
    assert due_orders(1) == [(side, ref)]


@pytest.mark.django_db
def test_a_creation_in_doubt_is_as_old_as_it_is(two_sides: TwoSides, on_host: Host, settings: object) -> None:
    """45 s of skew let two hosts create an order, as a CRM that lists late must be given `CRM_LIST_LAG`."""
    settings.CRM_LIST_LAG = 30.0  # type: ignore[attr-defined]
    order = ShopSnapshot(woo_id=14, status="pending", order=two_sides.order(14))
    Intent.objects.create(woo_id=14, kind=Intent.Kind.CREATE, at=clock.now())
    on_host(90)
    event = internal_events.backfill_event(order, bridge=1, topic="order.created", key="1", by="")
    event.save(force_insert=True)
    work = pipeline.take(Side.SHOP, "14")
    assert work is not None
    pipeline.settle(work)
    assert two_sides.writes()["crm POST"] == 0


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_a_run_is_left_to_the_living(on_host: Host, ahead: float) -> None:
    run = engine.start("backfill", options={})
    on_host(ahead)
    assert not engine.is_dead(run)
    assert engine.longest_waiting() is None
    with pytest.raises(engine.AlreadyRunning):
        engine.start("backfill", options={})
    with patch("sync.jobs.engine.enqueue") as enqueue:
        engine.pick_up()
    enqueue.assert_not_called()


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_a_side_is_waited_for_as_long_as_it_said(on_host: Host, ahead: float) -> None:
    breaker.record_failure(RateLimited("Slow down.", side="crm", after=30.0), clock.now())
    on_host(ahead)
    assert not breaker.allows_calls(clock.now(), pings_of(default_bridge()))
    SideState.objects.update(wait_until=datetime.now(UTC) - timedelta(seconds=1))
    assert breaker.allows_calls(clock.now(), pings_of(default_bridge()))


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_a_sign_of_life_is_as_old_as_it_is(on_host: Host, ahead: float) -> None:
    on_host(ahead)
    tasks.beat()
    assert abs(Heartbeat.objects.get().at - datetime.now(UTC)) < timedelta(seconds=40)


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
@pytest.mark.parametrize(("settled", "missed"), [(timedelta(seconds=2), 0), (timedelta(seconds=-30), 1)])
@pytest.mark.parametrize("deep", [False, True])
def test_a_sweep_misses_what_changed_after_its_last_event_and_nothing_else(
    on_host: Host, two_sides: TwoSides, ahead: float, settled: timedelta, missed: int, deep: bool
) -> None:
    """Settled while the list was read: it was heard of. Settled before: what the list shows is newer, and was lost."""
    ((woo_id, crm_id),) = linked(two_sides)
    two_sides.shop.edit(woo_id, customer_note="ring twice")
    two_sides.crm.set_status(crm_id, "paid")
    handle = LoopbackServer.answer

    def answer(self: LoopbackServer, request: Request) -> Answer | None:
        at = datetime.now(UTC) + settled
        for side, ref in (("shop", str(woo_id)), ("crm", crm_id)):
            WebhookEventFactory(side=side, order_ref=ref, state=State.DONE, next_attempt_at=None, finished_at=at)
        return handle(self, request)

    on_host(ahead)
    with patch.object(LoopbackServer, "answer", answer):
        run = reconcile(deep=deep)
    assert {side: run.counts[side] for side in ("shop", "crm")} == {"shop": missed, "crm": missed}


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_a_bulk_replay_asks_for_each_once_whoever_goes_on(on_host: Host, ahead: float) -> None:
    """What ended after it was claimed was asked for; what had ended before, and lies there still, was not."""
    past = datetime.now(UTC) - timedelta(seconds=30)
    lying, asked = (WebhookEventFactory(state=State.DEAD, next_attempt_at=None, finished_at=past) for _ in range(2))
    run = Run.objects.create(kind="replay", per_minute=6)
    on_host(ahead)
    checkpoint = Checkpoint.of(run)
    checkpoint.claim([lying.pk, asked.pk])
    assert bulk_replay._may_go(run, checkpoint, checkpoint.open)
    checkpoint.save(run)
    on_host(0)
    WebhookEvent.objects.filter(pk=asked.pk).update(finished_at=datetime.now(UTC) + timedelta(seconds=1))
    successor = Checkpoint.of(run)
    assert successor.not_asked() == [lying.pk]
    assert 0 < successor.not_before - time.time() <= 10


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", SKEWS)
def test_what_closes_itself_was_closed_when_it_was(on_host: Host, ahead: float) -> None:
    """Else a sweep would take its order for one that was just heard of."""
    now = datetime.now(UTC)
    parked = WebhookEventFactory(order_ref="7", state=State.PARKED, next_attempt_at=None, finished_at=now - MINUTE)
    WebhookEventFactory(order_ref="7", state=State.DONE, outcome="updated", next_attempt_at=None, finished_at=now)
    on_host(ahead)
    todo.refresh()
    parked.refresh_from_db()
    assert (parked.state, parked.outcome) == (State.DONE, "superseded")
    assert abs(parked.finished_at - now) < timedelta(seconds=20)


# --- who is who ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """From here on this process is its twin on a cloned machine: the same host name, the same process id."""

    def be() -> None:
        leases._name_of.cache_clear()
        monkeypatch.setattr(leases, "_place", lambda: f"{leases.socket.gethostname()}/another-boot")

    yield be
    leases._name_of.cache_clear()


def test_each_process_has_a_name_of_its_own_even_with_the_same_host_name_and_number(
    clone: Callable[[], None],
) -> None:
    ours = worker_name()
    assert ours == worker_name()
    clone()
    assert worker_name() != ours
    assert len(ours) <= 100


@pytest.mark.django_db
def test_a_cloned_machine_does_not_take_over_what_its_twin_works_at(clone: Callable[[], None]) -> None:
    run = engine.start("backfill", options={})
    clone()
    with pytest.raises(engine.AlreadyRunning):
        engine.start("backfill", options={})
    assert engine.carry_out(run)  # it is not ours: nothing is done
    run.refresh_from_db()
    assert (run.state, run.checkpoint) == (Run.State.RUNNING, {})


# --- and it is told ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("ahead", "words"), [(90, "90 s ahead of"), (-45, "45 s behind"), (1, "")])
def test_doctor_and_the_start_of_the_workers_tell_of_a_clock_that_is_wrong(
    on_host: Host, caplog: pytest.LogCaptureFixture, ahead: float, words: str
) -> None:
    on_host(ahead)
    [finding] = doctor.examine("host_clock")
    assert finding.level == ("warning" if words else "ok")
    assert words in finding.words
    tell_of_the_clock()
    assert [words in record.getMessage() for record in caplog.records] == ([True] if words else [])
