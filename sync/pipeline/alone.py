"""Two orders of a new customer that come at once make her once, whichever workers have them (docs/decisions/0134)."""

import time
from collections.abc import Iterator, Sequence
from hashlib import sha256

from sync.clients.crm.base import MakesOthers
from sync.clients.crm.draft import OrderDraft, draft
from sync.pipeline import failures
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim
from sync.pipeline.plan import CreateInCrm, Plan, UpdateInCrm
from webhooks.customers import hashes_of

KEPT, MOST = 600.0, 50_000
"""Seconds for which this process believes that what it has made is there, and how many it remembers."""
_there: dict[str, float] = {}


def without_rivals(batch: Batch, planned: Sequence[tuple[Claim, Plan]]) -> list[tuple[Claim, Plan]]:
    """Those whose customer and products nobody else is making at this moment. The others are due again soon."""
    free = []
    for claim, plan in planned:
        with failures.recorded(batch, claim):  # Busy, too
            needed = dict(_needed(claim)) if isinstance(plan.write, CreateInCrm | UpdateInCrm) else {}
            claim.makes = [what for what in needed.values() if _there.get(what, 0.0) < time.monotonic()]
            keys = {key for key, what in needed.items() if what in claim.makes}
            claim.lease.take(*keys.difference(claim.lease.keys))
            free.append((claim, plan))
    return free


def learn(claim: Claim) -> None:
    """It is written, and with it what it needed."""
    if len(_there) > MOST:
        _there.clear()
    _there.update(dict.fromkeys(claim.makes, time.monotonic() + KEPT))


def forget_all() -> None:
    """As a new process."""
    _there.clear()


def _needed(claim: Claim) -> Iterator[tuple[str, str]]:
    """What the order needs besides itself: the key of a lease, and what is there once the order is written."""
    crm = claim.crm()
    makes = crm.makes() if isinstance(crm, MakesOthers) else ()
    if not makes or claim.shop_order is None:
        return
    told, account = draft(claim.shop_order.order), claim.bridge.slug_of("crm")
    if "customer" in makes:
        place = _hash(repr((told.billing, told.shipping)))
        for name in _names(told, claim.bridge.pk):
            yield (key := f"made:{_hash(f'{account}:customer:{name}')}"), f"{key}:{place}"
    if "product" in makes:
        for sku in {one.sku for one in told.lines if one.sku}:
            yield (key := f"made:{_hash(f'{account}:product:{sku.casefold()}')}"), key


def _names(told: OrderDraft, bridge: int) -> list[str]:
    """By which a customer is found there; without any, by which we know again whom we made."""
    customer = told.customer
    said = (customer.email, customer.phone, customer.vat_number)
    named = [known for one in said for known in hashes_of(one)[:1]]
    return named or ([f"{bridge}:{customer.shop_id}"] if customer.shop_id else [])


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
