"""Make the write of a plan: the only code that writes to the two sides. It calls, and knows no database."""

from dataclasses import dataclass, replace

from sync.clients.crm.draft import draft
from sync.clients.errors import AnsweredForAnother, Rejected, SideError, Unconfirmed
from sync.clients.snapshots import TRASH, CrmSnapshot, ShopSnapshot
from sync.pipeline import totals
from sync.pipeline.claim import Claim
from sync.pipeline.decide import went_on
from sync.pipeline.plan import CreateInCrm, Plan, Reason, SetShopStatus, UpdateInCrm
from sync.pipeline.strangers import another_found, another_in_crm
from webhooks.models import Side


@dataclass(frozen=True)
class Applied:
    """What the two sides answered to the plan's write."""

    crm: CrmSnapshot | None = None
    created: bool = False
    shop: ShopSnapshot | None = None
    crm_has_it: bool = False
    "The CRM has the order as the shop answered it."
    needs_a_person: bool = False
    "It was written, and what came of it is not what should have: a reason says what."


def apply(claim: Claim, plan: Plan) -> Applied:
    """What is about to be written was remembered before (`intents`)."""
    applied = _write(claim, plan)
    if plan.names_at_once and applied.crm is not None and plan.woo_id is not None:
        _name_in_shop(claim, plan.woo_id, applied.crm.crm_order_id)
    return applied


def _write(claim: Claim, plan: Plan) -> Applied:
    match plan.write:
        case CreateInCrm() as creation:
            return _create(claim, creation)
        case UpdateInCrm(crm_order_id=crm_order_id, order=order):
            answer = claim.crm().update(crm_order_id, order)
            return Applied(crm=answer, needs_a_person=_total_differs(claim, answer, claim.shop_order))
        case SetShopStatus(to_status=new) as write:
            written = _set_status(claim, write)
            if written.status != new:
                claim.reasons.append(Reason("went_on", went_on(new, written.status)))
            return _tell_of_write(claim, plan, new, written)
        case None:
            return Applied()


def _create(claim: Claim, creation: CreateInCrm) -> Applied:
    answer, created = claim.crm().create(creation.external_id, creation.order)
    if answer.external_id not in (None, creation.external_id):
        words = f"The CRM answered with the order of {answer.external_id}, not of {creation.external_id}."
        raise AnsweredForAnother(words, side="crm", about_order=True)
    if not created and claim.shop_order and (another := another_found(answer, claim.shop_order)):
        [reason] = another.reasons
        claim.doubts.append(reason)
        raise Rejected(reason.words, side="crm")
    differs = _total_differs(claim, answer, claim.shop_order)
    return Applied(crm=answer, created=created, needs_a_person=differs)


def _total_differs(claim: Claim, crm: CrmSnapshot, shop: ShopSnapshot | None) -> bool:
    """A cent is enough: taxes that are rounded otherwise, or a line that somebody added in the CRM."""
    if shop is None or shop.status == TRASH or crm.total is None:
        return False
    told = draft(shop.order)
    if told.total == crm.total:
        claim.totals = ""
        return False
    claim.totals = totals.figures(crm.total, told.total, told.currency)
    both = f"{crm.total:f}, and the shop's is {told.total:f} {told.currency}"
    words = f"The CRM's total of order {crm.crm_order_id} is {both}."
    if claim.totals and claim.known and claim.known.totals_accepted == claim.totals:
        claim.reasons.append(Reason("total_accepted", f"{words} A person has accepted that."))
        return False
    words += " Correct the order in the CRM (or its taxes and their rounding), then resolve this event."
    claim.reasons.append(Reason(totals.DIFFERS, words))
    return True


def _name_in_shop(claim: Claim, woo_id: int, crm_order_id: str) -> None:
    """What the CRM has got is not undone by that. The first status that is written brings it, too."""
    try:
        claim.shop().set_crm_order_id(woo_id, crm_order_id)
    except SideError as error:
        claim.side_errors.append(error)
        words = f"The shop could not be told the CRM's id; the first status that is written there brings it: {error}"
        claim.reasons.append(Reason("not_named_yet", words))


def _set_status(claim: Claim, write: SetShopStatus) -> ShopSnapshot:
    """The answer may show a third status: something in the shop went on at once."""
    old, new = write.from_status, write.to_status
    answer = claim.shop().set_status(write.woo_id, new, write.crm_order_id)
    if answer.status == old:
        words = f"The shop answered well but still shows {old!r} instead of {new!r}; a plugin may hinder it."
        raise Unconfirmed(words, side=Side.SHOP)
    return answer


def _tell_of_write(claim: Claim, plan: Plan, asked: str, answer: ShopSnapshot) -> Applied:
    """What a status brings with it in the shop, as `date_paid`, goes to the CRM at once (docs/decisions/0060).

    If that fails, or if news of the shop's own are on their way, the delivery that our write causes brings it there.
    """
    before = plan.crm_has
    if before is None:
        return Applied(shop=answer)
    told = answer.document
    asked_by_crm = plan.crm_seen is not None  # and not by staff, who force a move
    if asked_by_crm and told == replace(before, order={**before.order, "status": asked}).document:
        return Applied(shop=answer, crm_has_it=True)
    try:
        # Where a person or the event alone led to the move, the CRM's order was not read yet.
        crm = claim.crm_order or claim.crm().get(claim.order_ref)
        if another := another_in_crm(claim.known, crm):
            claim.reasons.extend(another.reasons)
            claim.doubts.extend(another.reasons)
            return Applied(shop=answer)
        written = claim.crm().update(claim.order_ref, told)
        claim.reasons.extend(Reason("cut", words) for words in answer.cuts)
        differs = _total_differs(claim, written, answer)
        return Applied(shop=answer, crm=written, crm_has_it=True, needs_a_person=differs)
    except SideError as error:
        claim.side_errors.append(error)
        words = f"The CRM could not be told what the move brought with it; the shop's next delivery will: {error}"
        claim.reasons.append(Reason("not_told_yet", words))
        return Applied(shop=answer)
