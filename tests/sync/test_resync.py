"""The shop is brought to the CRM's state, as far as an event may."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sync import resync, runs
from sync.models import Run
from tests.sync.conftest import TwoSides
from tests.sync.test_drift import linked


def run_it(**options: Any) -> dict[str, int]:
    run = resync.start(actor="anna", reason="asked", **options)
    assert runs.carry_out(run), run.error
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
