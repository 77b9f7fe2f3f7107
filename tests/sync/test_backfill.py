"""A shop with years of orders is linked, once, whatever comes in between."""

import json
from collections import Counter
from io import StringIO
from typing import Any

from django.core.management import call_command

from orders.models import OrderLink
from sync import backfill, runs
from sync.models import Run
from tests.sync.conftest import TwoSides
from webhooks.models import WebhookEvent


def run_it(**options: Any) -> Run:
    run = backfill.start(actor="anna", **options)
    assert runs.carry_out(run), run.error
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
