"""Both sides of one order at this moment, next to what we know of it. Everything is read and nothing is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from sync.clients.bridged import crm_of, shop_of
from sync.clients.errors import NotFound, SideError
from sync.clients.http import CallRecord
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.pipeline.read import facts_of
from sync.pipeline.strangers import another_in_crm, another_in_shop
from sync.pipeline.whose import identity
from webhooks.models import Side

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One fact: what the shop says, what we know, what the CRM says. Empty: that side has no word for it."""

    name: str
    shop: str = ""
    link: str = ""
    crm: str = ""
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What both sides answered; `errors` has a sentence for each that gave no order."""

    rows: tuple[ComparedRow, ...]
    verdict: str
    agree: bool
    errors: dict[str, str] = field(default_factory=dict)
    calls: tuple[CallRecord, ...] = field(default=(), repr=False)
    shop: ShopSnapshot | None = field(default=None, repr=False)
    crm: CrmSnapshot | None = field(default=None, repr=False)


def compare(link: OrderLink, lifecycle: Lifecycle) -> Comparison:
    """Ask both sides now. One that is away, or does not know the order, does not hide what the other says."""
    calls: list[CallRecord] = []
    errors: dict[str, str] = {}
    shop = _read(Side.SHOP, errors, lambda: shop_of(link.bridge, on_call=calls.append).get(link.woo_id))
    crm = _read(Side.CRM, errors, lambda: crm_of(link.bridge, on_call=calls.append).get(link.crm_order_id))
    agree, verdict = _judge(link, shop, crm, lifecycle) if shop and crm else (False, " ".join(errors.values()))
    return Comparison(
        rows=_rows(link, shop, crm, lifecycle),
        verdict=verdict,
        agree=agree,
        errors=errors,
        calls=tuple(calls),
        shop=shop,
        crm=crm,
    )


def take_for_the_same(link: OrderLink, found: Comparison) -> None:
    """A person says that what both sides show now is this order, whatever told it from others before."""
    if found.shop is not None:
        link.identity = identity(found.shop.order)
    if found.crm is not None and found.crm.external_id:
        link.external_id = found.crm.external_id
    link.save(update_fields=["identity", "external_id"])


def last_seen(link: OrderLink, lifecycle: Lifecycle) -> tuple[ComparedRow, ...]:
    """Each side as we last saw it, without asking anybody."""
    meant = _meant(lifecycle, link.crm_status, link.woo_status)
    return (
        ComparedRow(name="Order", shop=str(link.woo_id), link=f"since {_say(link.created_at)}", crm=link.crm_order_id),
        ComparedRow(
            name="Status",
            shop=link.woo_status,
            link=f"{link.crm_status} in the CRM means {meant or 'nothing'} in the shop" if link.crm_status else "",
            crm=link.crm_status,
            differs=link.woo_status != meant,
        ),
        ComparedRow(name="Version", crm=_say(link.crm_version)),
        ComparedRow(
            name="Changed", link=f"last read {_say(link.verified_at) or 'never'}", crm=_say(link.crm_updated_at)
        ),
        ComparedRow(name="Content", link=_content(link)),
    )


def _read(side: Side, errors: dict[str, str], ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except NotFound:
        errors[side] = f"The {side.label} does not know this order (404)."
    except SideError as error:
        errors[side] = str(error)
    return None


def _rows(
    link: OrderLink, shop: ShopSnapshot | None, crm: CrmSnapshot | None, lifecycle: Lifecycle
) -> tuple[ComparedRow, ...]:
    meant = _meant(lifecycle, crm.status, shop.status if shop else "") if crm else ""
    known = facts_of(link, link.bridge)
    return (
        ComparedRow(
            name="Order",
            shop=str(shop.woo_id) if shop else "",
            link=str(link),
            crm=f"{crm.crm_order_id}, for shop order {crm.external_id or 'none'}" if crm else "",
            differs=bool(another_in_crm(known, crm) or another_in_shop(known, shop)),
        ),
        ComparedRow(
            name="Status in the shop",
            shop=shop.status if shop else "",
            link=link.woo_status or "not seen yet",
            crm=f"{meant} (by the status map)" if meant else "no status rule" if crm else "",
            differs=shop is not None and (shop.status != link.woo_status or (crm is not None and shop.status != meant)),
        ),
        ComparedRow(
            name="Status in the CRM",
            link=link.crm_status or "not seen yet",
            crm=crm.status if crm else "",
            differs=crm is not None and crm.status != link.crm_status,
        ),
        ComparedRow(
            name="Version",
            link=_say(link.crm_version),
            crm=_say(crm.version) if crm else "",
            differs=crm is not None and crm.version != link.crm_version,
        ),
        ComparedRow(
            name="Changed",
            shop=_say(shop.order.get("date_modified_gmt")).replace("T", " ") if shop else "",
            link=_say(link.crm_updated_at),
            crm=_say(crm.updated_at) if crm else "",
        ),
        ComparedRow(
            name="Content",
            shop=("as last seen" if shop.is_unchanged_since(link.woo_fingerprint) else "changed since then")
            if shop
            else "",
            link=_content(link),
            differs=shop is not None and not shop.is_unchanged_since(link.woo_fingerprint),
        ),
    )


def _content(link: OrderLink) -> str:
    if not link.woo_fingerprint:
        return "not seen yet"
    return "as we wrote it" if link.written_by_us else "as the shop had it"


def _meant(lifecycle: Lifecycle, crm_status: str, shown: str) -> str:
    """What the shop should show by the status map, which may leave it what it shows; empty: there is no rule."""
    return shown if crm_status in lifecycle.left_alone else lifecycle.status_map.get(crm_status, "")


def _judge(link: OrderLink, shop: ShopSnapshot, crm: CrmSnapshot, lifecycle: Lifecycle) -> tuple[bool, str]:
    """Whether the two agree, and in words what a repair would do about it."""
    known = facts_of(link, link.bridge)
    if another := another_in_crm(known, crm) or another_in_shop(known, shop):
        return False, another.reasons[0].words
    target = lifecycle.status_map.get(crm.status)
    if crm.status in lifecycle.left_alone:
        return True, f"The CRM's status {crm.status!r} is not applied: the shop keeps {shop.status!r}."
    if target is None:
        return False, f"The CRM's status {crm.status!r} has no status rule. Add one under Lifecycle."
    if shop.status == target:
        return True, f"Both agree: {crm.status!r} in the CRM is {target!r} in the shop."
    if crm.status == link.crm_status and lifecycle.is_ahead(shop.status, of=target):
        ahead = f"The shop is ahead: it shows {shop.status!r}, the CRM still {crm.status!r}."
        return False, f"{ahead} A repair does not change that."
    chain = lifecycle.chain(shop.status, target)
    if chain is None:
        return (
            False,
            f"{shop.status} → {target} is not an allowed move. A repair would be refused; the move can only be forced.",
        )
    return False, f"A repair would move the shop: {' → '.join(chain)}."


def _say(value: datetime | int | str | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
