"""What differs between the two sides is found, kept, and gone when it is mended."""

import json
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command

from orders.models import OrderLink
from sync import backfill, drift, runs
from sync.models import DriftFinding, Run
from tests.sync.conftest import TwoSides

Findings = set[tuple[int, str, str, str]]


def linked(sides: TwoSides, count: int, **fields: Any) -> list[tuple[int, str]]:
    """So many orders on both sides: their ids."""
    first = sides.shop.next_id
    for woo_id in range(first, first + count):
        sides.order(woo_id, **fields)
    assert runs.carry_out(backfill.start(actor="anna"))
    return list(OrderLink.objects.filter(woo_id__gte=first).order_by("woo_id").values_list("woo_id", "crm_order_id"))


def found() -> Findings:
    run = drift.start(actor="anna")
    assert runs.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return set(DriftFinding.objects.filter(gone_at=None).values_list("woo_id", "kind", "shop", "crm"))


def test_two_sides_that_agree_give_nothing(two_sides: TwoSides) -> None:
    linked(two_sides, 5)
    two_sides.forget_calls()
    assert found() == set()
    assert len(two_sides.crm.requests) == 1, "one page of the CRM's list"
    assert two_sides.writes() == {}


def test_each_kind_of_difference(two_sides: TwoSides) -> None:
    orders = linked(two_sides, 7)
    (moved, c_moved), (ahead, _), (no_crm, c_none), (no_shop, _), (trashed, _), (unmapped, c_unmapped), _ = orders
    two_sides.crm.set_status(c_moved, "paid")
    two_sides.shop.set_status(ahead, "processing")
    two_sides.crm.delete(c_none)
    two_sides.shop.delete(no_shop)
    two_sides.shop.trash(trashed)
    two_sides.crm.set_status(c_unmapped, "unheard of")
    assert found() == {
        (moved, "status", "pending", "paid"),
        (ahead, "ahead", "processing", "new"),
        (no_crm, "missing_in_crm", "pending", ""),
        (no_shop, "missing_in_shop", "", "new"),
        (trashed, "deleted", "trash", "new"),
        (unmapped, "status", "pending", "unheard of"),
    }


def command(*arguments: str) -> tuple[str, int]:
    out, code = StringIO(), 0
    try:
        call_command("drift", *arguments, stdout=out)
    except CommandError as error:
        code = error.returncode
    return out.getvalue(), code


def test_the_command_lists_what_differs_and_says_so_by_its_exit_code(two_sides: TwoSides) -> None:
    (woo_id, crm_id), _ = linked(two_sides, 2)
    assert command() == ("2 orders compared\n", 0)
    two_sides.crm.set_status(crm_id, "paid")
    told, code = command("--json")
    finding = {"woo_id": woo_id, "crm_order_id": crm_id, "kind": "status", "shop": "pending", "crm": "paid"}
    assert (json.loads(told)["findings"], code) == ([finding], 1)
    assert command("--csv") == (f"woo_id,crm_order_id,kind,shop,crm\n{woo_id},{crm_id},status,pending,paid\n", 1)
    table = command()[0].splitlines()
    assert table[1].split() == [str(woo_id), crm_id, "status", "pending", "paid"]
    assert table[2] == "2 orders compared"
