"""The lines of an order as they stand in ERPNext, and as the shop wants them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sync.clients.crm.erpnext.document import mark_in, total
from sync.clients.crm.erpnext.words import decimal
from sync.clients.errors import Odd

Row = Mapping[str, Any]


def changed_rows(now: Row, wanted: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Of `items` and `taxes` what is to be sent: ours as the shop has them, and after them what people added there."""
    changed = {}
    for name, rows in wanted.items():
        there: Sequence[Row] = now.get(name) or []
        ours = [row for row in there if mark_in(row.get("description"))]
        if Counter(map(_key, ours)) != Counter(map(_key, rows)):
            changed[name] = [*rows, *(row for row in there if row not in ours)]
    return changed


def _key(row: Row) -> tuple[Any, ...]:
    mark = mark_in(row.get("description"))
    if "tax_amount" in row:
        return mark, row.get("account_head"), _exact(row, "tax_amount")
    return mark, row.get("item_code"), row.get("item_name"), _exact(row, "qty"), _exact(row, "rate")


def _exact(row: Row, name: str) -> Decimal:
    try:
        return decimal(row.get(name))
    except (TypeError, ArithmeticError) as error:
        raise Odd(f"ERPNext's Sales Order has a row whose {name} is no number.", side="crm") from error


def is_same(now: Row, order: Row, placeholder: str) -> bool:
    """Whether the same is delivered and paid for, whoever wrote it there."""
    there: dict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
    for row in now.get("items") or []:
        there[str(row.get("item_code")).casefold(), _exact(row, "rate")] += _exact(row, "qty")
    wanted: dict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
    for one in order["items"]:
        code, price = one["code"].casefold(), Decimal(one["price"])
        wanted[code if (code, price) in there else placeholder.casefold(), price] += Decimal(one["quantity"])
    return there == wanted and _exact(now, "grand_total") == total(order)
