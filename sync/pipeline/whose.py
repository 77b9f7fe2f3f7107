"""Whose order is it? Numbers are given again (by a shop restored from a backup, by a CRM after a draft is deleted), and
two shops may share a CRM. Pure: compares what both sides say with what we know."""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from webhooks.customers import customer_of
from webhooks.moments import utc

KEY_LENGTH = 32
"""Hexadecimal digits that are kept of the hash of an order key, which opens the order's payment page."""
LARGEST = 2**63 - 1
NUMBER = re.compile(r"#?[A-Za-z]{0,6}([-_/.]?[0-9]{1,20}){1,5}[-_/.]?[A-Za-z]{0,3}")
"""As WC-2026-0042 and #1042/A are: letters for the kind, then digits."""

Identity = Mapping[str, str]
"""What makes an order of the shop this one and no other: `key` and `created`; without both, `customer` and `total`."""


def external_id(woo_id: int, prefix: str) -> str:
    """By which the CRM knows an order of the shop."""
    return f"{prefix}{woo_id}"


def woo_id_in(external_id: str | None, prefix: str) -> int | None:
    """The order of the shop that it names; None: none of this shop."""
    number = (external_id or "").removeprefix(prefix) if (external_id or "").startswith(prefix) else ""
    woo_id = int(number) if number.isascii() and number.isdigit() and len(number) <= 20 else 0
    return woo_id if 0 < woo_id <= LARGEST else None


def is_named(seen: str | None, woo_id: int, prefix: str, known: str) -> bool:
    """Whether the CRM's order is still that of this order of the shop. `known`: as it was named when it was linked,
    perhaps with another prefix; empty: nobody noted that, so that a name without a prefix is good as well."""
    if not seen or seen == known or woo_id_in(seen, prefix) == woo_id:
        return True
    return not known and woo_id_in(seen, "") == woo_id


def number_of(order: Mapping[str, Any]) -> str:
    """The number on the invoice, if a plugin gives one that is not the id. It is shown to everybody, so what does not
    look like one is left out."""
    number = order.get("number")
    if not isinstance(number, str) or len(number) > 64 or number == str(order.get("id")):
        return ""
    return number if NUMBER.fullmatch(number) else ""


def identity(order: Mapping[str, Any]) -> dict[str, str]:
    key, created = order.get("order_key"), _moment(order.get("date_created_gmt"))
    found = {"key": _hash(key) if key and isinstance(key, str) else "", "created": created}
    return {name: value for name, value in found.items() if value} or _bought(order)


def is_same(known: Identity, now: Identity) -> bool:
    """Also if there is nothing to compare. A customer or a total alone is changed by an edit of the order."""
    differing = _differing(known, now)
    return not differing & {"key", "created"} and not {"customer", "total"} <= differing


def agrees(shown: Mapping[str, Any], order: Mapping[str, Any]) -> bool:
    """Whether what the CRM shows of an order that is to be linked, as much as that may be, is of this order."""
    theirs, ours = identity(shown), identity(order)
    if not theirs.keys() & ours.keys():
        theirs, ours = _bought(shown), _bought(order)
    return not _differing(theirs, ours)


def _bought(order: Mapping[str, Any]) -> dict[str, str]:
    found = {"customer": customer_of(order), "total": _amount(order.get("total"))}
    return {name: value for name, value in found.items() if value}


def _differing(known: Identity, now: Identity) -> set[str]:
    return {name for name in known.keys() & now.keys() if known[name] != now[name]}


def _hash(key: str) -> str:
    return hashlib.sha256(f"order key:{key}".encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]


def _moment(value: Any) -> str:
    """WooCommerce writes its `_gmt` times without a zone; a CRM may have added one."""
    try:
        return utc(value).strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return ""


def _amount(value: Any) -> str:
    """The same for 10, "10.0" and "10.00"."""
    try:
        amount = Decimal(str(value)) if isinstance(value, str | int | float) else None
    except InvalidOperation:
        return ""
    is_one = amount is not None and amount.is_finite() and (not amount or abs(amount.adjusted()) < 20)
    return f"{amount.normalize():f}" if amount is not None and is_one else ""
