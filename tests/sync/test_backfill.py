"""A shop with years of orders is linked, once, whatever comes in between."""

import itertools
import json
import time
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orders.models import OrderLink
from sync.clients import paging
from sync.clients.snapshots import ShopSnapshot
from sync.jobs import backfill, engine, processing, run_report
from sync.models import Run, SideState
from sync.sandbox.server import Answer
from tests import pipeline
from tests.sync.conftest import NEW_YEAR, TwoSides
from webhooks.connections import default_bridge
from webhooks.models import State, WebhookEvent


def run_it(**options: Any) -> Run:
    run = backfill.start(actor="anna", **options)
    assert engine.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return run


def counts(run: Run) -> dict[str, int]:
    return {name: number for name, number in run.counts.items() if number}


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("backfill", *arguments, stdout=out)
    return out.getvalue()


def linked() -> list[int]:
    return sorted(OrderLink.objects.values_list("woo_id", flat=True))


def test_every_order_is_created_once_and_a_second_run_writes_nothing(two_sides: TwoSides) -> None:
    ids = two_sides.orders(7)
    assert counts(run_it()) == {"seen": 7, "created": 7}
    assert linked() == ids
    assert Counter(one.external_id for one in two_sides.crm.creates) == Counter(map(str, ids))
    two_sides.forget_calls()
    events = WebhookEvent.objects.count()
    assert counts(run_it()) == {"seen": 7, "unchanged": 7}
    assert two_sides.writes() == Counter()
    assert two_sides.crm.requests == []
    assert WebhookEvent.objects.count() == events


def test_linked_orders_of_a_status_whose_plugin_is_gone_are_named(two_sides: TwoSides) -> None:
    """No list shows them, so a report without a word of them would say that all is well."""
    first, second, _ = two_sides.orders(3)
    run_it()
    for woo_id in (first, second):
        two_sides.shop.orders[woo_id]["status"] = "packing"
        OrderLink.objects.filter(woo_id=woo_id).update(woo_status="packing")
    run = run_it()
    assert counts(run) == {"seen": 1, "unchanged": 1, "left_out": 1}
    (words,) = run_report.left_out(run)
    assert words.startswith("2 linked orders are 'packing', which is no status of the shop")
    assert "left_out" not in run_it(limit=10).counts, "it was not asked for all"
    with pytest.raises(CommandError):
        command()


def test_the_command_reports_its_counts(two_sides: TwoSides) -> None:
    two_sides.orders(3)
    told = json.loads(command("--json"))
    assert {
        name: told[name] for name in ("seen", "created", "linked", "applied", "unchanged", "refused", "failed")
    } == {
        "seen": 3,
        "created": 3,
        "linked": 0,
        "applied": 0,
        "unchanged": 0,
        "refused": 0,
        "failed": 0,
    }
    assert command() == "3 seen, 3 unchanged\n"


def test_a_dry_run_counts_and_writes_nothing(two_sides: TwoSides) -> None:
    two_sides.orders(6)
    two_sides.crm.add_order("2", "paid")
    told = json.loads(command("--dry-run", "--json"))
    assert (told["dry_run"], told["seen"], told["created"], told["linked"]) == (True, 6, 5, 1)
    assert command("--dry-run") == "Nothing was written. 6 seen, 5 created, 1 linked\n"
    assert two_sides.writes() == Counter()
    assert not WebhookEvent.objects.exists()
    assert not Run.objects.exists()


# --- what is to be done, and what is not ---------------------------------------------------------------------------


def test_what_the_crm_has_already_is_found_and_linked(two_sides: TwoSides) -> None:
    two_sides.orders(2)
    made = two_sides.crm.add_order("1", "paid")
    assert counts(run_it()) == {"seen": 2, "created": 1, "linked": 1}
    assert OrderLink.objects.get(woo_id=1).crm_order_id == made["id"]
    assert [one.external_id for one in two_sides.crm.creates] == ["2"]


def test_a_linked_order_that_changed_is_told_and_the_others_are_left_alone(two_sides: TwoSides) -> None:
    two_sides.orders(3)
    run_it()
    two_sides.shop.edit(2, customer_note="Ring twice.")
    two_sides.forget_calls()
    assert counts(run_it()) == {"seen": 3, "updated": 1, "unchanged": 2}
    assert two_sides.writes() == {"crm PATCH": 1}
    assert two_sides.crm.by_external(2)[0]["order"]["customer_note"] == "Ring twice."


def test_statuses_of_plugins_are_linked_and_neither_drafts_nor_the_trash(two_sides: TwoSides) -> None:
    two_sides.shop.statuses.append("packed")
    for woo_id, status in enumerate(("packed", "checkout-draft", "trash", "completed"), start=1):
        two_sides.order(woo_id, status=status)
    assert counts(run_it()) == {"seen": 3, "created": 2, "unchanged": 1}
    assert linked() == [1, 4]


def test_a_linked_order_in_the_trash_is_told(two_sides: TwoSides) -> None:
    two_sides.orders(2)
    run_it()
    two_sides.shop.trash(1)
    assert counts(run_it()) == {"seen": 2, "updated": 1, "unchanged": 1}
    assert two_sides.crm.by_external(1)[0]["order"]["status"] == "trash"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"since": NEW_YEAR + timedelta(seconds=40)}, [3, 4, 5]),
        ({"until": NEW_YEAR + timedelta(seconds=40)}, [1, 2]),
        ({"limit": 2}, [1, 2]),
        ({"statuses": ["on-hold"]}, [5]),
    ],
)
def test_which_orders(two_sides: TwoSides, chosen: dict[str, Any], expected: list[int]) -> None:
    two_sides.orders(4)
    two_sides.order(5, NEW_YEAR + timedelta(seconds=80), status="on-hold")
    run_it(**chosen)
    assert linked() == expected


def test_an_order_that_the_crm_refuses_is_named_and_holds_nobody_up(two_sides: TwoSides) -> None:
    two_sides.orders(3)
    two_sides.crm.faults.add("422", 1, method="POST")
    with pytest.raises(CommandError, match="1 orders failed") as failure:
        command()
    assert failure.value.returncode == 1
    assert len(linked()) == 2
    failed = WebhookEvent.objects.get(state=State.PARKED)
    run = Run.objects.get()
    assert (run.counts["created"], run.counts["failed"], run.checkpoint["failed"]) == (2, 1, [failed.pk])
    assert command() == "3 seen, 1 created, 2 unchanged\n", "the next run tries again what failed"


# --- unpleasant sides ----------------------------------------------------------------------------------------------


def each_once(sides: TwoSides, ids: list[int]) -> bool:
    return linked() == ids and sorted(int(order["external_id"]) for order in sides.crm.orders.values()) == ids


def test_pages_that_shift_while_they_are_read(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(10)
    two_sides.shop.faults.add("shifting-pages", 4, path="/wp-json/wc/v3/orders")
    run_it()
    assert each_once(two_sides, ids)


def test_more_orders_of_one_second_than_a_page_holds(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(8, every=timedelta())
    run_it()
    assert each_once(two_sides, ids)


def lists(sides: TwoSides) -> list[int]:
    """The page sizes of the lists that were asked for."""
    return [int(one.query["per_page"]) for one in sides.shop.requests if "modified" in one.query.get("orderby", "")]


def test_a_crowded_second_costs_its_own_pages_and_not_those_of_all_that_follows(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(4, every=timedelta()) + two_sides.orders(60, first=5)
    run_it()
    assert each_once(two_sides, ids)
    assert len(lists(two_sides)) < 40


@pytest.mark.parametrize("hidden", [{2}, {1, 2, 3}, {4, 5, 6, 7}])
def test_orders_that_the_key_may_not_read_hide_no_other(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, hidden: set[int]
) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(10)
    two_sides.shop.hidden = hidden
    assert counts(run_it()) == {"seen": 10 - len(hidden), "created": 10 - len(hidden)}
    assert each_once(two_sides, [one for one in ids if one not in hidden])


def test_an_order_without_a_date_is_linked_and_stops_nobody(two_sides: TwoSides) -> None:
    ids = two_sides.orders(3)
    two_sides.shop.orders[2]["date_modified_gmt"] = None
    run_it()
    assert each_once(two_sides, ids)


def test_pages_become_bigger_again_when_the_shop_is_well(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (8, 4, 2))
    monkeypatch.setattr(paging, "GOOD", 2)
    ids = two_sides.orders(40)
    two_sides.shop.faults.add("502", 2, path="/wp-json/wc/v3/orders", method="GET")
    run_it()
    assert each_once(two_sides, ids)
    asked = lists(two_sides)
    assert (min(asked), asked[-1]) == (2, 8)


def test_pages_that_are_too_heavy_become_smaller(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (4, 2))
    ids = two_sides.orders(5)
    heavy = two_sides.shop.handle

    def too_heavy(request: Any, fault: Any) -> Any:
        if request.query.get("per_page") == "4":
            return Answer(502, b"<html>Bad Gateway</html>")
        return heavy(request, fault)

    monkeypatch.setattr(two_sides.shop, "handle", too_heavy)
    run_it()
    assert each_once(two_sides, ids)


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", ["429", "502", "503-retry-after", "captcha-202", "html", "truncated", "down"])
def test_a_fault_of_either_side_delays_and_loses_nothing(two_sides: TwoSides, fault: str) -> None:
    ids = two_sides.orders(6)
    for server in (two_sides.shop, two_sides.crm):
        server.faults.add(fault, 3, method="GET", after=0.05)
    two_sides.crm.faults.add(fault, 2, method="POST", after=0.05)
    assert counts(run_it())["seen"] == 6
    assert each_once(two_sides, ids)


def test_a_create_that_timed_out_is_not_repeated_while_the_crms_list_lags(two_sides: TwoSides, settings: Any) -> None:
    settings.CRM_LIST_LAG = 0.6
    two_sides.crm.honours_idempotency_key = False
    two_sides.crm.list_lag = 0.4
    ids = two_sides.orders(3)
    two_sides.crm.faults.add("timeout-after-effect", 2, method="POST", seconds=0.0)
    run_it()
    assert each_once(two_sides, ids)


def test_a_side_that_must_not_be_called_is_waited_for(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused, asked for patience by a 429, or out of order: the same gate as for every event."""
    monkeypatch.setattr(processing, "PATIENCE", 0.1)
    two_sides.orders(2)
    SideState.objects.filter(name="crm").update(wait_until=timezone.now() + timedelta(hours=1))
    run = backfill.start(actor="anna")
    engine.carry_out(run)
    assert (run.state, two_sides.shop.requests, two_sides.crm.requests) == (Run.State.FAILED, [], [])
    assert "asked us to wait until" in run.error
    SideState.objects.update(wait_until=None)
    assert counts(run_it()) == {"seen": 2, "created": 2}


def test_a_shop_whose_clock_is_wrong(two_sides: TwoSides) -> None:
    """The paginator goes by the shop's own dates, those in the future included, and asks no clock."""
    two_sides.orders(2)
    two_sides.shop.clock_is_ahead = timedelta(hours=5)
    two_sides.shop.next_id = 3
    two_sides.shop.create_order()
    two_sides.shop.clock_is_ahead = -timedelta(hours=5)
    two_sides.shop.create_order()
    run_it()
    assert each_once(two_sides, [1, 2, 3, 4])


# --- it goes on where it was ---------------------------------------------------------------------------------------


def test_the_speed_limit_outlives_the_page(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    monkeypatch.setattr("sync.jobs.processing.time.time", lambda: now[0])
    monkeypatch.setattr(paging, "SIZES", (1, 1))
    two_sides.orders(3)
    steps = backfill.job(backfill.start(actor="anna", per_minute=6))
    for created in (1, 2):
        for _ in range(60):
            next(steps)
        assert len(two_sides.crm.creates) == created
        now[0] += 10
    for _ in steps:
        pass


def test_the_workers_keep_to_the_speed_limit_too(two_sides: TwoSides) -> None:
    """What the run stores of a page is settled by whoever finds it due."""
    orders = [two_sides.shop.orders[woo_id] for woo_id in two_sides.orders(3)]
    shown = [ShopSnapshot(woo_id=order["id"], status=order["status"], order=order) for order in orders]
    backfill._post(backfill.start(actor="anna", per_minute=6), default_bridge(), shown)
    while pipeline.work_once():
        pass
    assert len(two_sides.crm.creates) == 1
    waiting = WebhookEvent.objects.unfinished().order_by("pk")
    pauses = [event.next_attempt_at - event.received_at for event in waiting if event.next_attempt_at]
    assert [round(pause.total_seconds()) for pause in pauses] == [10, 20]


def test_the_speed_limit_outlives_the_process(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("sync.jobs.processing.time.time", lambda: now[0])
    run = backfill.start(actor="anna", per_minute=6)
    assert processing.RateLimiter(run).allows()
    processing.RateLimiter(run).went()
    processing.Counters.of(run).save(run, place=None)
    assert engine._save(run)
    pace = processing.RateLimiter(Run.objects.get())
    assert not pace.allows()
    now[0] += 10
    assert pace.allows()
    now[0] -= 3600
    assert pace.allows()  # the clock was put back


class Died(Exception):
    """As a process does, with whatever is in its hands."""


def dying_at(page: int) -> Any:
    """In place of `process_page`: what is to be done on that page is done, and its checkpoint is not saved."""
    pages = itertools.count(1)

    def process_page(run: Run, counters: Any, page_: Any, **checkpoint: Any) -> Any:
        if next(pages) < page:
            yield from processing.process_page(run, counters, page_, **checkpoint)
            return
        yield from processing.process_orders(run, page_.orders)
        raise Died

    return process_page


def die(job: Any, run: Run) -> None:
    """Work until it dies, by a process that is gone afterwards."""
    with pytest.raises(Died):
        for _ in job(run):
            engine._save(run)
    Run.objects.filter(pk=run.pk).update(holder="elsewhere:7", beat_at=timezone.now() - timedelta(minutes=5))


@pytest.mark.parametrize("page", [1, 2, 4])
def test_a_run_that_dies_before_a_checkpoint_goes_on_and_counts_each_order_once(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(8)
    run = backfill.start(actor="anna")
    with monkeypatch.context() as patched:
        patched.setattr(backfill, "process_page", dying_at(page))
        die(backfill.job, run)
    assert run_it().pk == run.pk
    assert each_once(two_sides, ids)
    assert counts(Run.objects.get()) == {"seen": 8, "created": 8}


def test_ctrl_c_pauses_and_the_same_command_goes_on(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    ids = two_sides.orders(8)
    at_work = engine.carry_out

    def interrupted(run: Run, **options: Any) -> bool:
        def after_a_page(run: Run) -> None:
            if run.counts.get("seen"):
                raise KeyboardInterrupt

        return at_work(run, on_progress=after_a_page)

    monkeypatch.setattr(engine, "carry_out", interrupted)
    with pytest.raises(CommandError, match="Give the same command again") as stopped:
        command()
    assert stopped.value.returncode == 1
    assert Run.objects.get().state == Run.State.PAUSED
    monkeypatch.setattr(engine, "carry_out", at_work)
    assert command() == "8 seen, 8 created\n"
    assert each_once(two_sides, ids)
    assert Run.objects.count() == 1


def test_restart_begins_anew(two_sides: TwoSides) -> None:
    two_sides.orders(2)
    engine.pause(backfill.start(actor="command"))
    command("--restart")
    assert Run.objects.count() == 2


# --- wrong use -----------------------------------------------------------------------------------------------------


def test_a_second_one_at_the_same_time_is_told_who_has_the_first_and_since_when(two_sides: TwoSides) -> None:
    run = backfill.start(actor="anna")
    Run.objects.filter(pk=run.pk).update(holder="elsewhere:7")
    with pytest.raises(CommandError, match=f"{run.started_at:%Y-%m-%d %H:%M:%S}.*anna.*elsewhere:7") as refusal:
        command()
    assert refusal.value.returncode == 2
    assert two_sides.crm.creates == []


def test_another_shop_behind_the_address_is_refused(two_sides: TwoSides) -> None:
    two_sides.orders(3)
    run_it()
    for woo_id in (1, 2, 3):
        two_sides.order(woo_id, NEW_YEAR + timedelta(days=9), customer_note="Somebody else's.")
    two_sides.order(4)
    with pytest.raises(CommandError, match="does not have the orders that are linked here") as refusal:
        command()
    assert refusal.value.returncode == 2
    assert linked() == [1, 2, 3]
    run = backfill.start(actor="anna")
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert linked() == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "--since 'yesterday' is no date. Write 2026-03-01"),
        (("--until", "2026-02-30"), "--until '2026-02-30' is no date"),
        (("--since", "2026-03-02", "--until", "2026-03-01"), "--since 2026-03-02 is not before --until 2026-03-01"),
        (("--limit", "0"), "--limit 0: give a number of 1 or more"),
        (("--per-minute", "-1"), "--per-minute -1"),
        (("--status", "paid", "wc-completed"), "no status paid. It has: .*completed"),
    ],
)
def test_wrong_use_is_told_in_one_line(two_sides: TwoSides, arguments: tuple[str, ...], words: str) -> None:
    two_sides.orders(1)
    with pytest.raises(CommandError, match=words) as refusal:
        command(*arguments)
    assert refusal.value.returncode == 2
    assert "\n" not in str(refusal.value)
    assert linked() == []


def test_one_day_is_a_period(two_sides: TwoSides) -> None:
    two_sides.orders(3, every=timedelta(hours=16))
    command("--since", "2026-01-01", "--until", "2026-01-01")
    assert linked() == [1, 2]


@pytest.mark.django_db
def test_without_settings_it_says_so(settings: Any) -> None:
    settings.WOO_URL = ""
    settings.CRM_URL = "http://127.0.0.1:1"
    with pytest.raises(CommandError, match="WOO_URL is not set") as refusal:
        command()
    assert refusal.value.returncode == 2
