"""What staff can do with one event. Each action asks for a reason, has its own permission, and stays in the audit."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from orders import audit
from orders.asking import NotDone, ReasonForm, ask_reason
from sync.admin.one_row import for_row
from sync.backoffice import edited
from sync.backoffice.timeline import summary
from sync.pipeline import choices, internal_events, replays, totals
from sync.pipeline.dry_run import DryRunResult, run_dry
from sync.pipeline.replays import NotNow
from webhooks.admin import WebhookEventAdmin
from webhooks.backoffice.pages import page, page_of
from webhooks.masking import masked, masked_text
from webhooks.models import Side, State, WebhookEvent
from webhooks.reveal import is_revealed
from webhooks.sources import Signal
from webhooks.wake import wake

REPLAY, EDIT, RESOLVE = (
    "webhooks.replay_webhookevent",
    "webhooks.edit_webhookevent",
    "webhooks.resolve_webhookevent",
)
CHOOSE = "sync.choose_customer"
REVEAL = "webhooks.reveal_webhookevent"
ACCEPTED = "You accept the difference, and nobody is asked again while both stay as they are: the CRM's total is"
SHOWN_LENGTH = 500
"""Characters of a value that a dry run shows."""
MEANINGS = {
    "nothing": ("", "A replay would change nothing."),
    "forward": ("success", "A replay would make these changes:"),
    "backward": ("danger", "The lifecycle does not allow this move, so a replay would write nothing."),
    "waits": ("warning", "The result is not known yet. The worker would keep trying."),
    "person": ("warning", "A replay would be parked for a person."),
    "failed": ("danger", "A replay would fail."),
}


@dataclass(frozen=True, kw_only=True)
class Button:
    label: str
    url: str
    icon: str
    variant: str = "default"


class ReplayForm(ReasonForm):
    as_seen = forms.CharField(required=False, widget=forms.HiddenInput)


class EditForm(ReasonForm):
    body = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 24, "class": "font-mono", "spellcheck": "false"}), strip=False
    )
    once = forms.UUIDField(widget=forms.HiddenInput, required=False)
    field_order = ("body", "reason", "once")

    def __init__(self, data: Any = None, *, event: WebhookEvent, exact: bool) -> None:
        super().__init__(data, initial={"body": edited.to_edit(event, exact=exact), "once": uuid.uuid4()})
        self.event, self.exact = event, exact

    def clean_body(self) -> tuple[dict[str, Any], Signal]:
        text: str = self.cleaned_data["body"]
        if len(text.encode("utf-8", "surrogatepass")) > settings.MAX_BODY_BYTES:
            raise forms.ValidationError(
                f"The text is longer than MAX_BODY_BYTES ({settings.MAX_BODY_BYTES} bytes). Shorten it."
            )
        try:
            copy = edited.read_edited(self.event, text, exact=self.exact)
            self.cleaned_data["touched"] = edited.touched(self.event, text, exact=self.exact)
            return copy
        except edited.NotUsable as error:
            raise forms.ValidationError(str(error)) from error


def buttons(event: WebhookEvent, request: HttpRequest) -> Iterator[Button]:
    """Those that this person may press, and that mean something as the event stands."""
    may, retrying = request.user.has_perm, event.state == State.RETRYING
    if may(REPLAY) and event.order_ref and not internal_events.is_staff_action(event):
        yield Button(label="Dry run…", url=_url("dry_run", event), icon="visibility")
    if may(CHOOSE) and choices.waiting(event):
        yield Button(label="Choose the customer…", url=_url("choose", event), icon="group", variant="primary")
    if may_replay(event, request):
        if not replays.is_waiting(event):
            yield Button(label="Replay…", url=_url("replay", event), icon="replay", variant="primary")
        if retrying:
            yield Button(label="Retry now…", url=_url("retry", event), icon="bolt")
    if may(EDIT) and edited.is_editable(event):
        yield Button(label="Edit and replay…", url=_url("edit", event), icon="edit")
    if may(RESOLVE) and retrying:
        yield Button(label="Cancel retries…", url=_url("cancel", event), icon="cancel")
    if may(RESOLVE) and event.state in (State.PARKED, State.DEAD, State.RETRYING):
        yield Button(label="Mark resolved…", url=_url("resolve", event), icon="task_alt")
    if may(REVEAL) and not is_revealed(request, event.pk):
        yield Button(label="Reveal personal data…", url=_url("reveal", event), icon="lock_open")


def may_replay(event: WebhookEvent, request: HttpRequest) -> bool:
    """The permission follows what the event does, not the button."""
    if not event.order_ref or internal_events.is_staff_action(event):
        return False
    return request.user.has_perms([REPLAY, *replays.also_needed(event)])


def _require(event: WebhookEvent, request: HttpRequest) -> None:
    if not request.user.has_perms(replays.also_needed(event)):
        raise PermissionDenied


def _url(name: str, event: WebhookEvent) -> str:
    return reverse(f"admin:webhooks_webhookevent_{name}", args=[event.pk])


class EventActions(WebhookEventAdmin):
    """The addresses of the actions on one event."""

    @for_row(REPLAY)
    def replay_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        _require(event, request)

        def perform(said: dict[str, str]) -> str:
            replays.replay(event.pk, by=said["by"], as_seen=said["as_seen"])
            return "A worker was asked to replay it."

        return self._ask(
            request,
            event,
            "replay",
            perform,
            title=f"Replay {event}",
            words="A worker reads both sides again and acts on what it finds. Earlier attempts stay in the history.",
            button="Replay",
            form_class=partial(
                ReplayForm, initial={"as_seen": replays.condition(event), "reason": request.GET.get("reason", "")}
            ),
            listed=[obstacle] if (obstacle := replays.why_not_again(event)) else [],
        )

    @for_row(REPLAY)
    def retry_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        _require(event, request)

        def perform(said: dict[str, str]) -> str:
            replays.retry_now(event.pk, by=said["by"])
            return "The next attempt is due now."

        words = f"The next attempt starts now. The {event.attempts} attempts used so far still count."
        title = f"Retry {event} now"
        return self._ask(request, event, "retry now", perform, title=title, words=words, button="Retry now")

    @for_row(RESOLVE)
    def cancel_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        def perform(said: dict[str, str]) -> str:
            replays.cancel_retry(event.pk, by=said["by"], reason=said["reason"])
            return "There are no further retries. The event is parked."

        words = "The event is not tried again. It stays parked until somebody replays or resolves it."
        title = f"Cancel the retries of {event}"
        return self._ask(request, event, "cancel retries", perform, title=title, words=words, button="Cancel retries")

    @for_row(RESOLVE)
    def resolve_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        def perform(said: dict[str, str]) -> str:
            accepted = replays.resolve(event.pk, by=said["by"], reason=said["reason"])
            return f"Marked resolved. Accepted: the CRM's total is {accepted}." if accepted else "Marked resolved."

        differs = totals.accepted_by(event)
        return self._ask(
            request,
            event,
            "resolve",
            perform,
            title=f"Mark {event} resolved",
            words="Use this if the problem was solved in another way. Nothing is read or written.",
            listed=[f"{ACCEPTED} {totals.in_words(differs.totals)}."] if differs else [],
            button="Mark resolved",
        )

    @for_row(EDIT)
    def edit_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        """Personal data is edited by those to whom it is revealed; for the others it stays masked, and as it was."""
        if not edited.is_editable(event):
            messages.error(
                request, "Only a delivered event can be edited. Replay this event, or use the page of its order."
            )
            return HttpResponseRedirect(page_of(event))
        exact = is_revealed(request, event.pk)

        def perform(said: dict[str, Any]) -> HttpResponse:
            by = said["by"]
            copy = edited.post_copy(event, *said["body"], by=by, once=str(said["once"] or uuid.uuid4()))
            result = f"Copied as event {copy.pk}. Changed: {', '.join(said['touched']) or 'nothing'}."
            audit.record("edit and replay", actor=by, reason=said["reason"], result=result, event=event, copy=copy.pk)
            wake()
            messages.success(request, f"A worker was asked to process this copy. Event {event.pk} is unchanged.")
            return HttpResponseRedirect(page_of(copy))

        masked_note = "Personal data is masked. Leave the masks in place to keep the original values."
        return self._ask(
            request,
            event,
            "",
            perform,
            title=f"Edit and replay {event}",
            words="The original does not change. A copy with this body is processed at once and linked to it.",
            button="Replay the copy",
            form_class=partial(EditForm, event=event, exact=exact),
            listed=[*edited.EFFECT[Side(event.side)], *([] if exact else [masked_note])],
            wide=True,
        )

    @for_row(REPLAY)
    def dry_run_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        """Both sides are asked at the POST only, as each look is recorded."""

        def perform(said: dict[str, str]) -> HttpResponse:
            if obstacle := replays.why_unreadable(event):
                raise NotNow(obstacle)
            tried = run_dry(event)
            result = f"{tried.kind} ({tried.outcome})"
            audit.record("dry run", actor=said["by"], reason=said["reason"], result=result, event=event)
            return self._tried(request, event, tried, said["reason"])

        return self._ask(
            request,
            event,
            "",
            perform,
            title=f"Dry run of {event}",
            words="We ask both sides for their current state and show what a replay would do. Nothing is written.",
            button="Start the dry run",
        )

    def _ask(
        self,
        request: HttpRequest,
        event: WebhookEvent,
        action: str,
        perform: Callable[[dict[str, str]], str | HttpResponse],
        **texts: Any,
    ) -> HttpResponse:
        """Ask for the reason, do it, and record under `action` what came of it. Empty: it records itself."""

        def done(said: dict[str, str]) -> str | HttpResponse:
            try:
                result = perform(said)
            except NotNow as error:
                raise NotDone(str(error)) from error
            if action:
                audit.record(action, actor=said["by"], reason=said["reason"], result=str(result), event=event)
            return result

        return ask_reason(self, request, event, perform=done, **texts)

    def _tried(self, request: HttpRequest, event: WebhookEvent, tried: DryRunResult, reason: str) -> HttpResponse:
        """Shown at once and kept nowhere: it tells of this moment."""
        revealed = is_revealed(request, event.pk)
        tone, meaning = MEANINGS[tried.kind]
        context = {
            "original": event,
            "event": event,
            "tried": tried,
            "tone": tone,
            "meaning": meaning,
            "changes": [
                (change.side, change.name, *_values(change.name, change.before, change.after, revealed=revealed))
                for change in tried.changes
            ],
            "reasons": [masked_text(one.words) for one in tried.reasons],
            "calls": [masked_text(summary(call)) for call in tried.calls],
            "back": page_of(event),
            "replay": _url("replay", event) if may_replay(event, request) and not replays.why_not_again(event) else "",
            "reason": reason,
        }
        return page(self, request, "sync/event/dry_run.html", f"Dry run of {event}", **context)


def _values(name: str, *values: Any, revealed: bool) -> Iterator[str]:
    """As text, with the eyes of this person: the name of a field tells whether it is personal."""
    for value in values:
        shown = value if revealed else masked({name: value})[name]
        text = "–" if shown in (None, "") else str(shown)
        yield text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
