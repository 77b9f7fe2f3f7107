"""What the page of one event shows: its way, why, what came, what was tried, who did what, and its neighbours."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from orders.models import OrderLink, StaffAction
from sync.admin.attempts import called
from sync.backoffice import links
from sync.backoffice.edited import changed
from sync.backoffice.removed import attempts_removed, is_past
from sync.backoffice.steps import attempt_for, steps
from sync.backoffice.timeline import OUTCOME_TONES, STATE_TONES, link_of
from sync.models import Attempt, SideState
from sync.monitoring.connecting import delivery_url
from webhooks import clock
from webhooks.backoffice.bridges import are_several, name_of
from webhooks.backoffice.display import ago, pretty, readable
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.intake import MASK
from webhooks.masking import masked, masked_row, masked_text
from webhooks.models import DELIVERED, EFFECTS, Outcome, Side, WebhookEvent
from webhooks.moments import until
from webhooks.reveal import is_revealed, may_reveal
from webhooks.texts import is_number

NEIGHBOURS = 5
HISTORY = 50
"""Attempts and staff actions that the page shows; the lists of both have the rest."""
SENT = ("content-type", "user-agent", "x-wc-", "webhook-", "x-crm-", "x-hubspot-")
"""Beginnings of the headers that a sender sets on purpose; the others are those of the way."""
WHO = {"event": "The event says", "known": "Last known", "crm": "The CRM said", "shop": "The shop said"}
WHAT = {
    "status": "Status in the CRM",
    "shop status": "Status in the shop",
    "version": "Version",
    "changed": "Time of change (own clock)",
    "content": "Content",
}


@dataclass(frozen=True, kw_only=True)
class Happened:
    """An attempt or a staff action, as a line of the history. `tone` is that of a label."""

    at: datetime
    moment: str
    title: str
    label: str
    tone: str
    words: str
    url: str = ""
    pk: int | None = None
    "Of an attempt."
    reasons: Sequence[str] = ()
    calls: Sequence[tuple[str, str, str, str]] = ()
    "Each with its tone, what was sent and what was answered."


def shown(event: WebhookEvent, request: HttpRequest) -> dict[str, Any]:
    """The context of sync/event/page.html."""
    event.refresh_from_db(fields=["body", "headers"])  # both at once: lists leave them out
    revealed = is_revealed(request, event.pk)
    attempt, link = attempt_for(event), link_of(event)
    calls = list(attempt.calls.all()) if attempt else []
    return {
        "event": event,
        "tone": tone_of(event),
        "link": link,
        "pages": pages(event, link) if event.order_ref else "",
        "attempt": attempt,
        "steps": steps(event, attempt, calls),
        "why": [*held_up(event), *why(event, attempt)],
        "compared": comparison_table(attempt),
        "transitions": [masked_row(one) for one in event.transitions.order_by("id")],
        "revealed": revealed,
        "may_reveal": may_reveal(request),
        "body": readable(bytes(event.body), revealed=revealed),
        "body_bytes": len(event.body),
        "headers": pretty(event.headers if revealed else masked(event.headers)),
        "signature": signature(event),
        "curl": curl(event, revealed=revealed),
        "history": history(event, revealed=revealed),
        "removed": attempts_removed() if is_past(event) else "",
        "edited": changed(event.copy_of, event) if event.copy_of else [],
        "copies": [masked_row(one) for one in event.copies.order_by("id").defer("body", "headers")],
        "neighbours": list(neighbours(event, link)),
        "received": ago(event.received_at),
        "of_bridge": name_of(event.bridge_id) if are_several() else "",
    }


def bridge_of(event: WebhookEvent) -> Bridge:
    return Bridge.objects.with_connections().get(pk=event.bridge_id or DEFAULT_BRIDGE)


def pages(event: WebhookEvent, link: OrderLink | None) -> str:
    """The order's own pages at both sides."""
    return links.pages(bridge_of(event), *_ids(event, link))


def _ids(event: WebhookEvent, link: OrderLink | None) -> tuple[int | None, str]:
    """At both sides, as far as they are known."""
    if link is not None:
        return link.woo_id, link.crm_order_id
    if event.side == Side.CRM:
        return None, event.order_ref
    return (int(event.order_ref) if is_number(event.order_ref) else None), ""


def tone_of(event: WebhookEvent) -> str:
    """The colour of what became of it."""
    if event.outcome:
        return "success" if event.outcome in EFFECTS else OUTCOME_TONES.get(event.outcome, "")
    return STATE_TONES.get(event.state, "info")


def why(event: WebhookEvent, attempt: Attempt | None) -> list[str]:
    """The sentences of the decision; without one what the event itself knows."""
    said = [masked_text(words) for _, words in attempt.reasons] if attempt else []
    own = masked_text(event.reason)
    if own and own not in " ".join(said):
        return [own, *(words for words in said if words not in own)]
    return said


def held_up(event: WebhookEvent) -> Iterator[str]:
    """Why nothing is done with it at the moment, and until when."""
    if event.is_finished:
        return
    bridge, now = bridge_of(event), clock.now()
    if not bridge.is_on:
        yield f"It waits: the bridge {bridge} is not switched on."
    for side in SideState.objects.filter(name__in=[bridge.slug_of(one) for one in Side.values]).order_by("name"):
        if side.paused:
            yield f"It waits: {side.label} is paused by staff."
        elif side.wait_until and side.wait_until > now:
            yield f"It waits: {side.label} asked us to wait until {until(side.wait_until, now)}. No attempt is used up."
        elif side.opened_at:
            yield f"It waits: {side.label} has been unavailable since {side.opened_at:%Y-%m-%d %H:%M} UTC."


def comparison_table(attempt: Attempt | None) -> dict[str, Any]:
    """A table of who said what. Its columns are those who said anything."""
    facts = attempt.compared if attempt else {}
    columns = [who for who in WHO if who in facts]
    rows = [(WHAT[what], [_fact(what, facts[who].get(what, "")) for who in columns]) for what in WHAT]
    return {"columns": [WHO[who] for who in columns], "rows": [row for row in rows if any(row[1])]}


def _fact(what: str, said: str) -> str:
    return said if what == "content" else str(masked(said, what))


def signature(event: WebhookEvent) -> tuple[str, str, str]:
    """A tone, a word and a sentence."""
    if event.signed_by:
        return "success", "valid", f"Signed with {event.signed_by}."
    if event.copy_of_id:
        return "warning", "none", f"This is an edited copy of event {event.copy_of_id}."
    return "info", "none", f"It was created here by {event.source}, so it needs no signature."


def curl(event: WebhookEvent, *, revealed: bool) -> str:
    """The delivery as a command line. Its signature is kept by nobody, so a new one has to be put in."""
    if event.source not in DELIVERED or not event.body:
        return ""
    of = bridge_of(event)
    sender = of.shop if event.side == Side.SHOP or of.crm is None else of.crm
    shown = event.headers if revealed else masked(event.headers)
    headers = {
        name: "<signature>" if event.headers.get(name) == MASK else value
        for name, value in shown.items()
        if name.lower().startswith(SENT)
    }
    parts = [f"curl -X POST {shlex.quote(delivery_url(sender))}"]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    parts.append(f"--data-binary {shlex.quote(readable(bytes(event.body), revealed=revealed))}")
    return " \\\n  ".join(parts)


def history(event: WebhookEvent, *, revealed: bool) -> list[Happened]:
    """Attempts and staff actions, the latest first. Neither is ever changed."""
    attempts = event.tries.prefetch_related("calls").order_by("-id")[:HISTORY]
    actions = StaffAction.objects.filter(event=event).order_by("-id")[:HISTORY]
    lines = [*(_tried(attempt, revealed=revealed) for attempt in attempts), *map(_did, actions)]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:HISTORY]


def _tried(attempt: Attempt, *, revealed: bool) -> Happened:
    by = f" by {attempt.actor}" if attempt.actor else ""
    return Happened(
        at=attempt.started_at,
        moment=ago(attempt.started_at),
        title=f"{attempt.trigger.capitalize()}{by}: {attempt.milliseconds} ms",
        label=Outcome(attempt.result).label if attempt.succeeded else attempt.result,
        tone=_tone(attempt),
        words=masked_text(attempt.error),
        url=reverse("admin:sync_attempt_change", args=[attempt.pk]),
        pk=attempt.pk,
        reasons=[masked_text(words) for _, words in attempt.reasons],
        calls=[called(call, revealed=revealed) for call in attempt.calls.all()],
    )


def _tone(attempt: Attempt) -> str:
    if attempt.error:
        return "danger"
    if not attempt.succeeded:
        return "warning"
    return "success" if attempt.result in EFFECTS else OUTCOME_TONES.get(attempt.result, "")


def _did(action: StaffAction) -> Happened:
    because = f"{masked_text(action.reason)}: " if action.reason else ""
    return Happened(
        at=action.created_at,
        moment=ago(action.created_at),
        title=f"{action.action.capitalize()} by {action.actor}",
        label="staff",
        tone="info",
        words=f"{because}{masked_text(action.result)}",
    )


def neighbours(event: WebhookEvent, link: OrderLink | None) -> Iterator[tuple[WebhookEvent, bool]]:
    """Those of the same order before and after it, from both sides; the newest first, this one among them."""
    about = order_of(event, link)
    if about is None:
        return
    same = WebhookEvent.objects.filter(about, bridge=event.bridge_id).defer("body", "headers")
    after = list(same.filter(pk__gt=event.pk).order_by("id")[:NEIGHBOURS])[::-1]
    before = list(same.filter(pk__lt=event.pk).order_by("-id")[:NEIGHBOURS])
    yield from ((one, one is event) for one in (*after, event, *before))


def order_of(event: WebhookEvent, link: OrderLink | None) -> Q | None:
    """The events of its order, from both sides if they are linked."""
    if not event.order_ref:
        return None
    if link is None:
        return Q(side=event.side, order_ref=event.order_ref)
    return Q(side=Side.SHOP, order_ref=str(link.woo_id)) | Q(side=Side.CRM, order_ref=link.crm_order_id)
