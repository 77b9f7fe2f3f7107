"""A period is proved: what both sides have, to the cent, signed, and the same after any crash."""

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from orders.models import Decision, OrderLink, StaffAction
from sync.jobs import backfill, engine, month_end
from sync.models import MonthEndOrder, Run
from tests.factories import StatusTransitionFactory, WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from webhooks.models import State

OCTOBER = datetime(2025, 10, 1, tzinfo=UTC)
BEFORE, AFTER = OCTOBER - timedelta(seconds=1), datetime(2025, 11, 1, tzinfo=UTC)
PERIOD = ("--from", "2025-10-01", "--until", "2025-10-31")


def link_all() -> None:
    assert engine.carry_out(backfill.start(actor="ada"))


def prove() -> Run:
    run = month_end.start(actor="ada", since=OCTOBER.date(), until=datetime(2025, 10, 31).date())
    assert engine.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return run


def report(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.kept[month_end.REPORT]
    return found


def standings(run: Run) -> dict[int, str]:
    return dict(MonthEndOrder.objects.filter(run=run).values_list("woo_id", "standing"))


def test_what_both_sides_have_agrees_to_the_cent(two_sides: TwoSides) -> None:
    two_sides.order(1, OCTOBER, total="10.10")
    two_sides.order(2, OCTOBER + timedelta(days=30, hours=23), total="20.20")
    two_sides.order(3, OCTOBER, total="0.30", currency="USD")
    two_sides.order(4, BEFORE, total="99.00")
    two_sides.order(5, AFTER, total="99.00")
    link_all()
    two_sides.forget_calls()
    run = prove()
    assert standings(run) == dict.fromkeys((1, 2, 3), "linked")
    counts = report(run)["counts"]
    assert (counts["in_shop"], counts["in_crm"], counts["linked"], counts["differ"]) == (3, 3, 3, 0)
    shop = {currency: (one["orders"], one["shop"]) for currency, one in report(run)["totals"].items()}
    assert shop == {"EUR": (2, "30.30"), "USD": (1, "0.30")}
    assert two_sides.writes() == {}


def test_each_way_not_to_agree_is_named(two_sides: TwoSides) -> None:
    for woo_id in range(1, 8):
        two_sides.order(woo_id, OCTOBER)
    link_all()
    ids = dict(OrderLink.objects.values_list("woo_id", "crm_order_id"))
    two_sides.order(8, OCTOBER)  # neither linked nor filtered
    two_sides.order(9, OCTOBER)
    WebhookEventFactory(order_ref="9", outcome="filtered", state=State.DONE, next_attempt_at=None)
    two_sides.order(10, OCTOBER)
    two_sides.shop.trash(10)  # never linked: nobody counts it
    two_sides.crm.delete(ids[2])
    two_sides.shop.delete(3)
    two_sides.shop.trash(4)
    two_sides.crm.faults.add("422", None, method="GET", path=f"/orders/{ids[5]}")
    StatusTransitionFactory(link=OrderLink.objects.get(woo_id=6), decision=Decision.REFUSED)
    run = prove()
    told = standings(run)
    assert {one: told[one] for one in (1, 2, 3, 4, 6, 8, 9)} == {
        1: "linked",
        2: "lost",
        3: "gone",
        4: "gone",
        6: "linked",
        8: "not_linked",
        9: "filtered",
    }
    assert 10 not in told
    assert report(run)["counts"]["refused"] == 1
    assert {2, 3, 4, 8} <= set(report(run)["differ"])
    assert not {1, 6, 7, 9} & set(report(run)["differ"])


@pytest.mark.parametrize("batches", [True, False])
def test_it_gets_on_however_little_time_a_stretch_has(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, batches: bool
) -> None:
    """As with a CRM that takes as long for a few orders as a worker works on a run at a time."""
    for woo_id in range(1, 14):
        two_sides.order(woo_id, OCTOBER)
    link_all()
    for woo_id, crm_id in OrderLink.objects.values_list("woo_id", "crm_order_id"):
        if woo_id > 6:  # each is looked for by its id
            two_sides.crm.delete(crm_id)
    if not batches:
        monkeypatch.setattr(month_end, "BatchReads", NotImplementedError)
    run, stretches = month_end.start(actor="ada", since=OCTOBER.date(), until=datetime(2025, 10, 31).date()), 0
    while not engine.carry_out(run, budget=0):
        stretches += 1
        assert stretches < 40, f"it does not get on: {run.checkpoint}"
    assert run.state == Run.State.DONE, run.error
    assert standings(run) == {n: "linked" if n <= 6 else "lost" for n in range(1, 14)}


def amounts(totals: dict[int, tuple[str, str | None]]) -> Run:
    """A run with linked rows of such totals in shop and CRM, without any side."""
    run = Run.objects.create(
        kind="month_end", options={"since": "2025-10-01", "until": "2025-10-31", "bridge": "default"}
    )
    for woo_id, (shop, crm) in totals.items():
        MonthEndOrder.objects.create(
            run=run, woo_id=woo_id, standing="linked", currency="EUR", shop_total=shop, crm_total=crm or ""
        )
    return run


@pytest.mark.django_db
def test_amounts_are_exact_and_a_cent_is_a_difference() -> None:
    run = amounts(dict.fromkeys(range(1, 1001), ("0.10", "0.10")) | {2000: ("5.00", "4.99")})
    found = month_end.summarize(run)
    assert found["totals"] == {
        "EUR": {
            "orders": 1001,
            "shop": "105.00",
            "filtered": "0",
            "crm": "104.99",
            "unknown": 0,
            "difference": "0.01",
        }
    }
    assert (found["differ"], found["counts"]["differ"]) == ([2000], 1)


@pytest.mark.django_db
def test_where_the_crm_does_not_say_a_total_no_difference_is_made_up() -> None:
    found = month_end.summarize(amounts({1: ("5.00", None), 2: ("5.00", "5.00")}))
    assert (found["totals"]["EUR"]["difference"], found["totals"]["EUR"]["unknown"]) == (None, 1)
    assert found["differ"] == []


@pytest.mark.django_db
def test_what_is_not_sent_by_the_rules_is_no_difference() -> None:
    run = amounts({1: ("5.00", "5.00")})
    MonthEndOrder.objects.create(run=run, woo_id=2, standing="filtered", currency="EUR", shop_total="7.50")
    found = month_end.summarize(run)["totals"]["EUR"]
    assert (found["shop"], found["filtered"], found["crm"], found["difference"]) == ("12.50", "7.50", "5.00", "0.00")


@pytest.mark.django_db
def test_a_total_that_is_none_adds_nothing() -> None:
    assert [month_end._amount(one) for one in ("12.50", 3, None, "", "NaN", "Infinity", "a lot", {})] == [
        *("12.50", "3"),
        *[""] * 6,
    ]


def test_an_order_that_is_changed_meanwhile_counts_once(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    for woo_id in range(1, 6):
        two_sides.order(woo_id, OCTOBER + timedelta(minutes=woo_id), total="1.00")
    link_all()
    monkeypatch.setattr("sync.clients.paging.PageSize.largest", 2, raising=False)
    run = month_end.start(actor="ada", since=OCTOBER.date(), until=datetime(2025, 10, 31).date())
    steps = month_end.JOB.work(run)
    next(steps)
    two_sides.shop.edit(1, total="2.00")  # moves to the end of the list
    for _ in steps:
        pass
    found = report(run)
    assert found["totals"]["EUR"]["orders"] == 5
    assert found["totals"]["EUR"]["shop"] in ("5.00", "6.00")


def test_killed_after_any_step_it_ends_with_the_same_report_signed_once(two_sides: TwoSides) -> None:
    for woo_id in range(1, 4):
        two_sides.order(woo_id, OCTOBER + timedelta(minutes=woo_id))
    link_all()
    two_sides.shop.delete(3)
    two_sides.crm.delete(OrderLink.objects.get(woo_id=2).crm_order_id)
    whole, steps = report(prove()), 0
    is_over = False
    while not is_over:
        steps += 1
        Run.objects.update(state=Run.State.DONE)
        period = month_end.options(since=OCTOBER.date(), until=OCTOBER.date())
        run = Run.objects.create(kind="month_end", options=period)
        is_over = not killed_after(steps, run)
        for _ in month_end.JOB.work(run):
            pass
        assert {name: report(run)[name] for name in ("counts", "totals", "sha256")} == {
            name: whole[name] for name in ("counts", "totals", "sha256")
        }
        assert StaffAction.objects.filter(action=month_end.ACTION, details__run=run.pk).count() == 1
    assert steps > 3


def killed_after(steps: int, run: Run) -> bool:
    """False: it came to its end before. What was saved with each step is there for the next process."""
    work = month_end.JOB.work(run)
    for _ in range(steps):
        if next(work, work) is work:
            return False
        Run.objects.filter(pk=run.pk).update(checkpoint=run.checkpoint, counts=run.counts)
    work.close()
    run.refresh_from_db()
    return True


def test_the_file_is_the_one_that_was_signed_and_no_other(two_sides: TwoSides, tmp_path: Path) -> None:
    two_sides.order(1, OCTOBER, total="10.10", number="=1+1")
    link_all()
    out = StringIO()
    call_command("month_end", *PERIOD, "--csv", stdout=out)
    file = tmp_path / "october.csv"
    file.write_bytes(out.getvalue().encode())
    (action,) = StaffAction.objects.filter(action=month_end.ACTION)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest in action.result and action.details["digest"] == digest
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["order"], row["standing"], row["shop total"]) == ("1", "linked", "10.10")
    said = StringIO()
    call_command("month_end", "--check", str(file), stdout=said)
    assert "As it was made" in said.getvalue()
    file.write_text(out.getvalue().replace("10.10", "10.11"))
    with pytest.raises(CommandError, match="no proof with the SHA-256") as caught:
        call_command("month_end", "--check", str(file))
    assert caught.value.returncode == 1
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("month_end", "--check", str(tmp_path / "none.csv"))


def test_the_command_names_what_does_not_agree(two_sides: TwoSides) -> None:
    two_sides.order(1, OCTOBER)
    link_all()
    two_sides.order(2, OCTOBER)
    out = StringIO()
    with pytest.raises(CommandError, match="1 orders do not agree, the first of them 2") as caught:
        call_command("month_end", *PERIOD, "--json", stdout=out)
    assert caught.value.returncode == 1
    told = json.loads(out.getvalue())
    assert (told["since"], told["until"], told["bridge"]) == ("2025-10-01", "2025-10-31", "default")
    assert (told["counts"]["in_shop"], told["counts"]["linked"], told["counts"]["not_linked"]) == (2, 1, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--from", "2025-10-31", "--until", "2025-10-01"), "before it begins"),
        (("--from", "yesterday"), "--from"),
        (("--bridge", "nowhere"), "No bridge is called 'nowhere'. There are: default"),
    ],
)
def test_wrong_use_is_said(given: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=why) as caught:
        call_command("month_end", *given)
    assert caught.value.returncode == 2


@pytest.mark.django_db
def test_without_days_it_is_the_last_month() -> None:
    chosen = month_end.options()
    first, last = (datetime.fromisoformat(chosen[name]).date() for name in ("since", "until"))
    today = datetime.now(UTC).date()
    assert last + timedelta(days=1) == today.replace(day=1)
    assert first == last.replace(day=1)
    assert month_end.options(until=datetime(2025, 2, 10).date())["since"] == "2025-02-01"


def test_the_page_shows_it_and_exports_what_was_signed(two_sides: TwoSides) -> None:
    two_sides.order(1, OCTOBER, total="10.10")
    link_all()
    two_sides.order(2, OCTOBER, total="5.05")
    run = prove()
    manager, viewer = signed_in("manager"), signed_in("viewer")
    page = reverse("admin:sync_run_month_end", args=[run.pk])
    assert page in manager.get(reverse("admin:sync_run_change", args=[run.pk])).content.decode()
    text = viewer.get(page).content.decode()
    assert "15.15" in text and report(run)["sha256"] in text and "in the audit as staff action" in text
    assert "Export CSV" not in text
    export = reverse("admin:sync_run_month_end_csv", args=[run.pk])
    assert viewer.get(export).status_code == 403
    answer = manager.post(export, {"confirmed": "yes", "reason": "for the books"})
    assert hashlib.sha256(answer.getvalue()).hexdigest() == report(run)["sha256"]
    assert StaffAction.objects.filter(action="export", reason="for the books").exists()
    other = Run.objects.create(kind="drift", state=Run.State.DONE)
    assert manager.get(reverse("admin:sync_run_month_end", args=[other.pk])).status_code == 302


def test_the_proof_is_in_the_verified_chain(two_sides: TwoSides, tamper: Any) -> None:
    two_sides.order(1, OCTOBER)
    link_all()
    prove()
    call_command("verify_audit", "--dry-run", stdout=StringIO())
    tamper("UPDATE orders_staffaction SET result = 'other totals' WHERE action = 'month-end proof'")
    with pytest.raises(CommandError, match="its content was changed"):
        call_command("verify_audit", "--dry-run", stdout=StringIO())
