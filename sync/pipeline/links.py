"""What is known of a pair after a plan: one row for each order, which the next decision begins with."""

from collections.abc import Sequence

from django.db.models import QuerySet

from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.clients.snapshots import DRAFTS, TRASH
from sync.pipeline import internal_events
from sync.pipeline.apply import Applied
from sync.pipeline.claim import Claim
from sync.pipeline.plan import CreateInCrm, Plan, UpdateInCrm
from sync.pipeline.whose import identity, number_of
from webhooks import clock
from webhooks.models import Side, State, WebhookEvent


def save_all(finished: Sequence[tuple[Claim, Plan, Applied]]) -> dict[Claim, OrderLink]:
    """The links of those that have one, new or known. Raises IntegrityError where an id is in another pair already."""
    links = OrderLink.objects.filter(bridge=finished[0][0].bridge) if finished else OrderLink.objects.none()
    known = _known([claim for claim, _, _ in finished], links)
    saved, new = dict[Claim, OrderLink](), list[OrderLink]()
    for claim, plan, applied in finished:
        row = known.get((claim.side, claim.order_ref))
        if row is None and plan.woo_id is not None:
            row = _new(claim, plan.woo_id, applied)
            _fill_in(row, claim, plan, applied)
            new.append(row)
        elif row is not None:
            _update(row, claim, plan, applied)
        if row is not None:
            saved[claim] = row
    OrderLink.objects.bulk_create(new)
    return saved


def linked_otherwise(claim: Claim, plan: Plan, applied: Applied) -> OrderLink | None:
    """The link in which one of the two ids stands beside another. None: whatever broke the database's rules, it is no
    pair."""
    if plan.woo_id is None:
        return None
    pair, links = _new(claim, plan.woo_id, applied), OrderLink.objects.filter(bridge=claim.bridge)
    if claim.side == Side.CRM:
        other = links.filter(woo_id=pair.woo_id).first()
    else:
        other = links.filter(crm_order_id=pair.crm_order_id).first() if applied.crm else None
    return other if other and (other.woo_id, other.crm_order_id) != (pair.woo_id, pair.crm_order_id) else None


def _known(claims: Sequence[Claim], links: QuerySet[OrderLink]) -> dict[tuple[str, str], OrderLink]:
    by_shop = [int(claim.order_ref) for claim in claims if claim.side == Side.SHOP]
    by_crm = [claim.order_ref for claim in claims if claim.side == Side.CRM]
    known = dict[tuple[str, str], OrderLink]()
    if by_shop:
        known |= {(Side.SHOP, str(row.woo_id)): row for row in links.filter(woo_id__in=by_shop)}
    if by_crm:
        known |= {(Side.CRM, row.crm_order_id): row for row in links.filter(crm_order_id__in=by_crm)}
    return known


def _new(claim: Claim, woo_id: int, applied: Applied) -> OrderLink:
    crm_order_id = applied.crm.crm_order_id if applied.crm else claim.order_ref
    return OrderLink(bridge=claim.bridge, woo_id=woo_id, crm_order_id=crm_order_id)


def _update(row: OrderLink, claim: Claim, plan: Plan, applied: Applied) -> None:
    if internal_events.is_make_anew(claim.newest) and applied.crm is not None:
        _relink(row, applied.crm.crm_order_id)
    was_in_trash = row.woo_status == TRASH
    _fill_in(row, claim, plan, applied)
    row.save()
    if claim.side == Side.SHOP and was_in_trash and row.woo_status != TRASH and _was_held_up(row):
        internal_events.resync(row, reason="It is back from the trash, where no move of the CRM reached it.")
    is_gone = claim.side == Side.SHOP and claim.shop_order is not None and not claim.shop_order.is_known
    if is_gone and row.woo_status == TRASH and not was_in_trash and _has_parked_moves(row):
        internal_events.resync(row, reason="The shop has deleted it, and the CRM was told so since it moved it.")


def _relink(row: OrderLink, crm_order_id: str) -> None:
    """To the order that the CRM has in the place of the one that it lost; what waits for that one waits in vain."""
    was_ours, lost, row.crm_order_id = row.is_ours, row.crm_order_id, crm_order_id
    if was_ours:  # a pair that somebody changed by hand is not made good by this
        row.sign()
    row.crm_status, row.crm_version, row.crm_updated_at, row.external_id = "", None, None, ""
    of_lost = WebhookEvent.objects.filter(bridge=row.bridge_id, side=Side.CRM, order_ref=lost)
    stuck = of_lost.filter(state__in=(State.PARKED, State.DEAD))
    stuck.supersede(f"The CRM lost order {lost}; it has {crm_order_id} in its place.")


def _was_held_up(row: OrderLink) -> bool:
    """The CRM moved it while it lay in the trash."""
    lifecycle = current_lifecycle(row.bridge_id)
    target = lifecycle.status_map.get(row.crm_status, row.woo_status)
    return target != row.woo_status and not lifecycle.is_ahead(row.woo_status, of=target)


def _has_parked_moves(row: OrderLink) -> bool:
    """They met with the deletion before the CRM was told of it. Asked once more, they need nobody."""
    of_order = WebhookEvent.objects.filter(bridge=row.bridge_id, side=Side.CRM, order_ref=row.crm_order_id)
    return of_order.filter(state=State.PARKED).exists()


def _fill_in(row: OrderLink, claim: Claim, plan: Plan, applied: Applied) -> None:
    if claim.side == Side.SHOP:
        _remember_shop_content(row, claim, plan, applied)
    else:
        _remember_crm_state(row, plan, applied)
    _remember_whose(row, claim, plan, applied)
    if claim.totals is not None:
        row.totals = claim.totals
    row.verified_at = clock.now()


def _remember_shop_content(row: OrderLink, claim: Claim, plan: Plan, applied: Applied) -> None:
    """After shop → CRM. The answer to our own creation is where the link begins; of an order that was found there
    we have never seen the status, so its next event counts as a move (docs/decisions/0008)."""
    told = claim.shop_order
    if told is not None and isinstance(plan.write, CreateInCrm | UpdateInCrm):
        row.woo_status, row.woo_fingerprint = told.status, told.fingerprint
        row.written_by_us = False
    elif plan.crm_has is not None:
        row.woo_fingerprint = plan.crm_has.fingerprint  # the same, but where an earlier release made it
    _remember_answer(row, applied)


def _remember_answer(row: OrderLink, applied: Applied) -> None:
    """The CRM's answer to what it was told. Another status there is a move, which its own event brings."""
    answer = applied.crm
    if answer is not None and (applied.created or answer.status == row.crm_status):
        row.crm_status, row.crm_version, row.crm_updated_at = answer.status, answer.version, answer.updated_at


def _remember_whose(row: OrderLink, claim: Claim, plan: Plan, applied: Applied) -> None:
    """What tells this order from another one with its number or id. A link of before learns it now."""
    shop, crm = claim.shop_order, claim.crm_order or applied.crm
    if shop is not None and shop.is_known and shop.status not in DRAFTS:  # a draft gets its creation time in the end
        row.identity = {**row.identity, **identity(shop.order)}
        row.number = number_of(shop.order)
    if crm is not None and crm.external_id:
        row.external_id = crm.external_id
    elif isinstance(plan.write, CreateInCrm):
        row.external_id = plan.write.external_id


def _remember_crm_state(row: OrderLink, plan: Plan, applied: Applied) -> None:
    """After CRM → shop."""
    seen = plan.crm_seen
    if seen is not None:
        row.crm_status, row.crm_version, row.crm_updated_at = seen.status, seen.version, seen.updated_at
    _remember_answer(row, applied)
    if applied.shop is not None:
        row.woo_status = applied.shop.status
        if applied.crm_has_it:
            row.woo_fingerprint, row.written_by_us = applied.shop.fingerprint, True
