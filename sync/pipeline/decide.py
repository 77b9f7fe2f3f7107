"""What should happen: a pure function from what is known to a plan. No database, no network, no clock.

The worker carries the plan out; a dry run only shows it. Both see the same reasons.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from orders.defaults import FIRST
from orders.lifecycle import Lifecycle, Unmapped
from sync.clients.snapshots import DRAFTS, TRASH, CrmSnapshot, ShopSnapshot
from sync.pipeline.plan import (
    CreateInCrm,
    Decision,
    EventFacts,
    LinkFacts,
    Park,
    PendingWrite,
    Plan,
    ReadAgain,
    Reason,
    SetShopStatus,
    TransitionDraft,
    UpdateInCrm,
)
from sync.pipeline.retries import READ_AGAIN_FOR, delay_before_reading_again
from sync.pipeline.sending import SEND_ALL, SendingRule, sends
from sync.pipeline.strangers import another_found, another_in_crm, another_in_shop

LOOK_EVERY = timedelta(seconds=5)
"""How often a slow shop is asked whether a write has come through."""
STORED_AFTER = timedelta(seconds=3)
"""How long a CRM that tells of a change beforehand may take to store it, where the event does not say when it was."""

# --- shop → CRM ----------------------------------------------------------------------------------------------------


def shop_to_crm(
    *,
    link: LinkFacts | None,
    shop: ShopSnapshot,
    found: CrmSnapshot | None = None,
    create_tried: timedelta | None = None,
    list_lag: timedelta = timedelta(seconds=10),
    external_id: str = "",
    rule: SendingRule = SEND_ALL,
) -> Decision:
    """The shop's order goes to the CRM: created once, then updated when its content changed.

    `found` is the CRM's order that names this one, if the link is missing; `create_tried` is how long ago an attempt
    to create it was sent without a recorded answer; `external_id` is what the CRM shall know it by; `rule` says which
    orders are created.
    """
    if link is None:
        return _create(shop, found, create_tried, list_lag, external_id, rule)
    if another := another_in_shop(link, shop):
        return another
    if shop.is_known_as(link.woo_fingerprint):
        if link.written_by_us:
            reason = Reason("echo", "The order is unchanged since our own write, which the CRM knows.")
            return Plan(outcome="echo", reasons=(reason,), crm_has=shop)
        reason = Reason("same_content", "The CRM already has this content.")
        return Plan(outcome="no_change", reasons=(reason,), crm_has=shop)
    return Plan(
        outcome="updated",
        reasons=(Reason("content_changed", f"The order's content differs from what the CRM has ({shop.status})."),),
        write=UpdateInCrm(crm_order_id=link.crm_order_id, order=shop.document),
        woo_id=shop.woo_id,
    )


def _create(
    shop: ShopSnapshot,
    found: CrmSnapshot | None,
    create_tried: timedelta | None,
    list_lag: timedelta,
    external_id: str,
    rule: SendingRule,
) -> Decision:
    tried = create_tried is not None
    if found is not None and (another := another_found(found, shop, is_perhaps_ours=tried)):
        return another
    if found is not None:
        return Plan(
            outcome="created",
            reasons=(Reason("found", f"The CRM already has it as {found.crm_order_id}. It was linked and updated."),),
            write=UpdateInCrm(crm_order_id=found.crm_order_id, order=shop.document),
            woo_id=shop.woo_id,
        )
    if create_tried is not None and create_tried < list_lag:
        return ReadAgain(
            after=list_lag - create_tried,
            reasons=(
                Reason("create_in_doubt", "An attempt to create it may have succeeded. The CRM gets time to show it."),
            ),
        )
    if not shop.is_known:
        words = "The shop does not know this order (404), so it is not created in the CRM. There is nothing to do."
        return Plan(outcome="no_change", reasons=(Reason("shop_404", words),))
    if shop.status in DRAFTS or shop.status == TRASH:
        return Plan(
            outcome="no_change",
            reasons=(Reason("not_an_order", f"Its status is {shop.status!r}, and the CRM does not know it."),),
        )
    goes, why = sends(rule, shop.order)
    if not goes:
        return Plan(outcome="filtered", reasons=(Reason("filtered", why),))
    return Plan(
        outcome="created",
        reasons=(Reason("create", "The CRM does not know this order yet."),),
        write=CreateInCrm(external_id=external_id or str(shop.woo_id), order=shop.document),
        woo_id=shop.woo_id,
    )


# --- CRM → shop ----------------------------------------------------------------------------------------------------


def crm_to_shop(
    *,
    event: EventFacts,
    link: LinkFacts | None,
    crm: CrmSnapshot | None,
    shop: ShopSnapshot | None,
    lifecycle: Lifecycle,
    pending: PendingWrite | None = None,
    linked_elsewhere: str = "",
) -> Decision:
    """The CRM's status goes to the shop, if it is new, mapped, and a legal move.

    `crm` is None when the CRM answered 404, `shop` when the shop did. `linked_elsewhere` is the CRM id that the shop's
    order is linked to, if that is another one.
    """
    if crm is None:
        return _unknown_to_crm(event, link)
    if link is None and (shop is None or linked_elsewhere):
        return _not_ours(crm, linked_elsewhere)
    if another := another_in_crm(link, crm) or another_in_shop(link, shop):
        return another
    if link is None and shop is not None and (another := another_found(crm, shop)):
        return another
    lags = _lags_for(event, crm)
    if lags is not None and lags < READ_AGAIN_FOR:
        return ReadAgain(after=delay_before_reading_again(lags), reasons=(Reason("crm_lags", _lag(event, crm)),))
    if link is not None and link.was_put_back(crm, event.crm_now):
        words = f"The CRM's clock was put back: what we knew is of {link.crm_updated_at}. So what it shows now counts."
        link = replace(link, crm_updated_at=None)
        decision = _decided(event, link, crm, shop, lifecycle, pending)
        return replace(decision, reasons=(Reason("clock_put_back", words), *decision.reasons))
    return _decided(event, link, crm, shop, lifecycle, pending)


def _decided(
    event: EventFacts,
    link: LinkFacts | None,
    crm: CrmSnapshot,
    shop: ShopSnapshot | None,
    lifecycle: Lifecycle,
    pending: PendingWrite | None,
) -> Decision:
    if link is not None and event.resync:
        return _resync(event, link, crm, shop, lifecycle, pending)
    if link is not None and not _is_news(link, crm):
        return _nothing_new(event, link, crm)
    if link is not None and crm.status == link.crm_status:
        return Plan(
            outcome="no_change",
            reasons=(Reason("same_status", f"Version {_say(crm)} has the status that we know: {crm.status!r}."),),
            crm_seen=crm,
        )
    return _move(link, crm, shop, lifecycle, pending)


def _resync(
    event: EventFacts,
    link: LinkFacts,
    crm: CrmSnapshot,
    shop: ShopSnapshot | None,
    lifecycle: Lifecycle,
    pending: PendingWrite | None,
) -> Decision:
    """The shop is compared although the CRM may have no news. A shop that is ahead of it is left alone, as ever. A CRM
    without versions that shows an older state for a minute was restored, or its clock was put back: that counts."""
    if _older(crm.version, link.crm_version, crm.updated_at, link.crm_updated_at):
        has_versions = crm.version is not None or link.crm_version is not None
        if has_versions or link.crm_status in ("", crm.status):
            return _nothing_new(event, link, crm)
        if event.waited < READ_AGAIN_FOR:
            words = f"The CRM shows {crm.status!r} of {crm.updated_at}, which is older than what we know. It may lag."
            return ReadAgain(
                after=delay_before_reading_again(event.waited), reasons=(Reason("older_than_known", words),)
            )
    target = lifecycle.status_map.get(crm.status)
    if crm.status == link.crm_status and shop and target and lifecycle.is_ahead(shop.status, of=target):
        words = f"The shop is ahead: it shows {shop.status!r}, the CRM still {crm.status!r} ({target!r} in the shop)."
        return Plan(outcome="no_change", reasons=(Reason("shop_ahead", words),), crm_seen=crm)
    return _move(link, crm, shop, lifecycle, pending)


def forced(
    *,
    shop: ShopSnapshot | None,
    woo_id: int,
    to_status: str,
    words: str,
    lifecycle: Lifecycle,
    pending: PendingWrite | None = None,
    link: LinkFacts | None = None,
) -> Decision:
    """A person sets the shop's status, whatever the lifecycle says of the move. `words` say who and why."""
    if shop is None:
        return Park(reasons=(Reason("gone_from_shop", f"The shop no longer has order {woo_id}. Restore it there."),))
    if another := another_in_shop(link, shop):
        return another
    if wait := _may_come(shop, pending):
        return wait
    reason = Reason("forced", words)
    by_force = pending is not None and pending.to_status == to_status
    written = _written_before(shop, pending, "forced" if by_force else "applied", lifecycle)
    if shop.status != to_status and not (written and by_force):
        return Plan(
            outcome="applied",
            reasons=(reason,),
            write=_set_status(shop, to_status, link.crm_order_id if link else ""),
            transitions=(
                TransitionDraft(from_status=shop.status, to_status=to_status, decision="forced", reason=words),
            ),
            confirmed=written,
            woo_id=woo_id,
            crm_has=_if_told(link, shop),
        )
    words = f"The shop already shows {to_status!r}." if shop.status == to_status else written[0].reason
    return Plan(
        outcome="applied" if written else "no_change",
        reasons=(reason, Reason("confirmed" if written else "already_there", words)),
        confirmed=written,
        woo_id=woo_id,
    )


def _may_come(shop: ShopSnapshot, pending: PendingWrite | None) -> ReadAgain | None:
    """A slow shop gets its time to show what nobody answered for: written twice, the customer has two mails."""
    if pending is None or shop.status != pending.from_status or pending.may_come <= timedelta(0):
        return None
    words = f"The shop did not answer when we wrote {pending.to_status!r}. It does not show it yet and gets more time."
    return ReadAgain(after=min(pending.may_come, LOOK_EVERY), reasons=(Reason("write_in_doubt", words),))


def _written_before(
    shop: ShopSnapshot | None,
    pending: PendingWrite | None,
    decision: Literal["applied", "forced"],
    lifecycle: Lifecycle,
) -> tuple[TransitionDraft, ...]:
    """The transition of an attempt that wrote to the shop and did not record it, also where the shop has gone on from
    there since, as a plugin may do within the write."""
    if shop is None or pending is None or pending.from_status in (pending.to_status, shop.status):
        return ()
    reason = "An attempt wrote this but stopped before it could record it. The shop shows it."
    if shop.status != pending.to_status:
        if lifecycle.chain(pending.to_status, shop.status) is None:
            return ()
        reason = f"{reason} {went_on(pending.to_status, shop.status)}"
    return (
        TransitionDraft(from_status=pending.from_status, to_status=pending.to_status, decision=decision, reason=reason),
    )


def went_on(asked: str, shown: str) -> str:
    """Of a write that the shop made more of."""
    return f"The shop shows {shown!r}: something there, such as a plugin, changed {asked!r} by itself."


def _unknown_to_crm(event: EventFacts, link: LinkFacts | None) -> Decision:
    if event.waited < READ_AGAIN_FOR and not (link and event.resync):
        return ReadAgain(
            after=delay_before_reading_again(event.waited),
            reasons=(Reason("crm_404", "The CRM does not know this order yet (404)."),),
        )
    return Park(
        reasons=(Reason("unknown_order", "The CRM does not know this order (404). Check its id there, then replay."),)
    )


def _not_ours(crm: CrmSnapshot, linked_elsewhere: str) -> Decision:
    if linked_elsewhere:
        return Park(
            reasons=(
                Reason(
                    "linked_elsewhere",
                    f"The shop's order {crm.external_id} is linked to {linked_elsewhere}, and {crm.crm_order_id} "
                    f"names it, too. Merge them in the CRM and keep {linked_elsewhere}, then resolve this event.",
                ),
            )
        )
    return Plan(
        outcome="not_ours",
        reasons=(Reason("no_such_order", f"It names no order of this shop (external_id {crm.external_id!r})."),),
    )


def _lags_for(event: EventFacts, crm: CrmSnapshot) -> timedelta | None:
    """How long the CRM has shown less than it told us of; None: it does not. Of a CRM that tells early the last word
    counts: what came before it, and whatever staff ask for meanwhile, makes its change be stored no sooner."""
    if event.version is not None and crm.version is not None:
        return event.waited if event.version > crm.version else None
    if event.told_ago is None:
        return None
    if event.occurred_at is None or crm.updated_at is None:
        return event.told_ago if event.told_ago < STORED_AFTER else None
    return event.told_ago if event.occurred_at > crm.updated_at else None


def _lag(event: EventFacts, crm: CrmSnapshot) -> str:
    if event.version is not None and crm.version is not None:
        return f"The event names version {event.version}, the CRM version {crm.version}."
    return f"The CRM tells of a change before it has stored it, and shows {crm.status!r} of {crm.updated_at}."


def _is_news(link: LinkFacts, crm: CrmSnapshot) -> bool:
    """Newer by version, else by time. The same age with another status is news, too: times have whole seconds."""
    if not link.crm_status:
        return not _older(crm.version, link.crm_version, crm.updated_at, link.crm_updated_at)
    if link.crm_version is not None and crm.version is not None:
        known, read = link.crm_version, crm.version
    elif link.crm_updated_at is not None and crm.updated_at is not None:
        known, read = link.crm_updated_at, crm.updated_at  # type: ignore[assignment]
    else:
        return crm.status != link.crm_status
    return read > known or (read == known and crm.status != link.crm_status)


def _nothing_new(event: EventFacts, link: LinkFacts, crm: CrmSnapshot) -> Plan:
    read_is_older = _older(crm.version, link.crm_version, crm.updated_at, link.crm_updated_at)
    event_is_older = _older(event.version, link.crm_version, event.occurred_at, link.crm_updated_at)
    if read_is_older or event_is_older:
        return Plan(
            outcome="stale",
            reasons=(Reason("older_than_known", f"It is older than version {_known(link)}, which we know."),),
        )
    return Plan(
        outcome="no_change",
        reasons=(Reason("same_version", f"Version {_say(crm)} is already known."),),
    )


def _older(version: int | None, known: int | None, at: datetime | None, known_at: datetime | None) -> bool:
    if version is not None and known is not None:
        return version < known
    return at is not None and known_at is not None and at < known_at


def _move(
    link: LinkFacts | None,
    crm: CrmSnapshot,
    shop: ShopSnapshot | None,
    lifecycle: Lifecycle,
    pending: PendingWrite | None,
) -> Decision:
    confirmed = _written_before(shop, pending, "applied", lifecycle)
    try:
        target = lifecycle.shop_status(crm.status)
    except Unmapped as error:
        return Park(reasons=(Reason("unmapped", str(error)),), confirmed=confirmed)
    if shop is None:
        return _gone(link, crm)
    if wait := _may_come(shop, pending):
        return wait
    was = link.crm_status if link and link.crm_status else "not seen before"
    if not target:
        words = f"The CRM says {crm.status!r} ({was}), which the status map does not apply: {shop.status!r} stays."
        outcome, reason = "applied" if confirmed else "no_change", Reason("not_applied", words)
        return Plan(outcome=outcome, reasons=(reason,), confirmed=confirmed, crm_seen=crm, woo_id=shop.woo_id)
    words = f"The CRM says {crm.status!r} (version {_say(crm)}; {was}), which is {target!r} in the shop."
    told = Reason("crm_moved", words)
    plan = partial(Plan, confirmed=confirmed, crm_seen=crm, woo_id=shop.woo_id)
    if shop.status == target or (confirmed and confirmed[0].to_status == target):
        words = f"The shop already shows {target!r}." if shop.status == target else confirmed[0].reason
        reason = Reason("confirmed" if confirmed else "already_there", words)
        return plan(outcome="applied" if confirmed else "no_change", reasons=(told, reason))
    draft = partial(TransitionDraft, from_status=shop.status, to_status=target)
    chain = lifecycle.chain(shop.status, target)
    if chain is None:
        refusal = f"{shop.status} → {target} is not an allowed move."
        refused = draft(decision="refused", reason=f"{told.words} {refusal}")
        return plan(outcome="refused", reasons=(told, Reason("move_refused", refusal)), transitions=(refused,))
    if target == FIRST and pending is None and _never_compared(link):
        words = f"The two sides were never compared, and every order begins as {target!r}: the shop is ahead."
        return plan(outcome="no_change", reasons=(told, Reason("begins_there", words)))
    allowed = f"Allowed: {' → '.join(chain)}."
    return plan(
        outcome="applied",
        reasons=(told, Reason("move_allowed", allowed)),
        write=_set_status(shop, target, crm.crm_order_id),
        transitions=(draft(decision="applied", reason=f"{told.words} {allowed}"),),
        crm_has=_if_told(link, shop),
    )


def _gone(link: LinkFacts | None, crm: CrmSnapshot) -> Decision:
    if link and link.woo_status == TRASH:
        words = f"The shop has deleted order {link.woo_id}, and the CRM was told. There is nothing to move."
        return Plan(outcome="no_change", reasons=(Reason("deleted", words),), crm_seen=crm, woo_id=link.woo_id)
    woo_id = link.woo_id if link else crm.external_id
    words = f"The shop no longer has order {woo_id}. Restore it there, or resolve."
    return Park(reasons=(Reason("gone_from_shop", words),))


def _set_status(shop: ShopSnapshot, to_status: str, crm_order_id: str) -> SetShopStatus:
    named = "" if shop.crm_order_id == crm_order_id else crm_order_id
    return SetShopStatus(woo_id=shop.woo_id, from_status=shop.status, to_status=to_status, crm_order_id=named)


def _if_told(link: LinkFacts | None, shop: ShopSnapshot) -> ShopSnapshot | None:
    return shop if link and shop.is_known_as(link.woo_fingerprint) else None


def _never_compared(link: LinkFacts | None) -> bool:
    """What the CRM says of such an order need not be news: it may be the status with which it was created there."""
    return link is None or (not link.crm_status and link.crm_version is None and link.crm_updated_at is None)


def _say(crm: CrmSnapshot) -> str:
    return str(crm.version if crm.version is not None else crm.updated_at)


def _known(link: LinkFacts) -> str:
    return str(link.crm_version if link.crm_version is not None else link.crm_updated_at)
