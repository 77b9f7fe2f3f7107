"""Which customer of the CRM an order is of: those that fit stand side by side, beside what the order says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from orders import audit
from orders.asking import NotDone, ReasonForm, ask_reason
from sync.admin.one_row import for_row
from sync.clients.crm.customers import NEW
from sync.models import OpenChoice
from sync.pipeline import choices
from webhooks.admin import WebhookEventAdmin
from webhooks.backoffice.display import ago
from webhooks.backoffice.pages import page_of
from webhooks.masking import MASK, masked
from webhooks.models import WebhookEvent
from webhooks.reveal import is_revealed, may_reveal

A_NEW_ONE = "new"
LOOK = "Look at the page again."
OVER = "It does not wait for a choice any more. Look at what became of it."


@dataclass(frozen=True, kw_only=True)
class Card:
    """A customer, or what the order says. `details`: label, text, and whether the order says the same."""

    value: str
    title: str
    details: Sequence[tuple[str, str, bool]]


class ChoiceForm(ReasonForm):
    choice = forms.ChoiceField(widget=forms.RadioSelect, error_messages={"required": "Choose one of the customers."})
    as_seen = forms.CharField(widget=forms.HiddenInput)
    field_order = ("choice", "reason", "as_seen")

    def __init__(self, data: Any = None, *, asked: OpenChoice) -> None:
        super().__init__(data, initial={"as_seen": asked.asked_at.isoformat()})
        known = [*map(str, range(len(asked.candidates))), *[A_NEW_ONE] * asked.may_create]
        self.fields["choice"].choices = [(one, one) for one in known]  # type: ignore[attr-defined]


class Choosing(WebhookEventAdmin):
    """An event's page on which the customer of its order is chosen. It calls nobody: the CRM may be away."""

    @for_row("sync.choose_customer")
    def choose_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        asked = choices.waiting(event)
        if asked is None:
            self.message_user(request, OVER, messages.WARNING)
            return HttpResponseRedirect(page_of(event))

        def perform(said: dict[str, str]) -> str:
            if said["as_seen"] != asked.asked_at.isoformat():
                raise NotDone(f"The CRM was asked again meanwhile, and may have shown others. {LOOK}")
            new = said["choice"] == A_NEW_ONE
            crm_id = NEW if new else str(asked.candidates[int(said["choice"])]["id"])
            by, which = said["by"], shown(asked.what, crm_id)
            done = choices.choose(asked, crm_id, by=by)
            result = f"{which} of {asked.connection}; processed again: {len(done.again)} orders"
            audit.record("choose customer", actor=by, reason=said["reason"], event=event, result=result)
            return f"It is {which}. A worker was asked to process {len(done.again)} orders that waited for this."

        revealed = is_revealed(request, event.pk)
        return ask_reason(
            self,
            request,
            event,
            title=f"Which {asked.what} is it?",
            words=f"These {asked.what}s of {asked.connection} fit the order. Your choice counts for all orders with "
            "the same e-mail address or phone number, until somebody changes it.",
            button="Choose",
            perform=perform,
            form_class=partial(ChoiceForm, asked=asked),
            template="sync/event/choose.html",
            event=event,
            asked=asked,
            asked_at=ago(asked.asked_at),
            order=_card(asked.wanted, {}, revealed=revealed),
            cards=[
                _card(one, asked.wanted, value=str(place), revealed=revealed)
                for place, one in enumerate(asked.candidates)
            ],
            may_reveal=may_reveal(request) and not revealed,
        )


def shown(what: str, crm_id: str) -> str:
    """For everybody: in some CRMs, a customer's id is her name."""
    return f"{what} {masked(crm_id, 'id')}" if crm_id else f"a new {what}"


def _card(one: Mapping[str, Any], order: Mapping[str, Any], *, revealed: bool, value: str = "") -> Card:
    """Personal data is masked, and that it is the same as the order's is told nevertheless: often that is enough."""
    wanted = {"Name": order.get("name", ""), **order.get("details", {})}
    said = {"Name": one.get("name", ""), **one.get("details", {})}
    details = [
        (label, text if revealed or _tells_of_nobody(label, text) else MASK, _is_same(label, text, wanted.get(label)))
        for label, text in said.items()
        if text
    ]
    name = str(one.get("id", ""))
    return Card(value=value, title=name if revealed else str(masked(name, "id")), details=details)


def _is_same(label: str, one: str, other: str | None) -> bool:
    """Whatever the capitals, and however a phone number is spaced."""
    other = other or ""
    if "phone" in label.lower():
        one, other = ("".join(filter(str.isdecimal, text)) for text in (one, other))
    return bool(one.strip()) and one.casefold().split() == other.casefold().split()


def _tells_of_nobody(label: str, text: str) -> bool:
    return label == "Orders" and text.isdecimal() and len(text) < 6
