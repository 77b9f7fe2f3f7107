"""Personal data is shown to those who may see it, when they ask and say why; each time it is recorded."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from orders import audit
from orders.asking import ask_reason
from sync.admin.one_row import for_row
from webhooks.admin import WebhookEventAdmin
from webhooks.backoffice.pages import page_of
from webhooks.models import WebhookEvent
from webhooks.reveal import SECONDS, reveal

MINUTES = SECONDS // 60


class Revealing(WebhookEventAdmin):
    """An event's page on which personal data can be revealed."""

    @for_row("webhooks.reveal_webhookevent")
    def reveal_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        """To this person, and for a while."""

        was_choosing = request.GET.get("to") == "choose"  # the page from which it was asked for

        def perform(said: dict[str, str]) -> str:
            result = f"shown for {MINUTES} minutes"
            audit.record("reveal", actor=said["by"], reason=said["reason"], event=event, result=result)
            reveal(request, event.pk)
            return f"Personal data of {event} is shown for {MINUTES} minutes, only to you."

        return ask_reason(
            self,
            request,
            event,
            title=f"Reveal personal data of {event}",
            words=f"You will see the names, addresses, emails and phone numbers of this event for {MINUTES} minutes. "
            "This and your reason are stored in the audit.",
            button="Reveal",
            back=reverse("admin:webhooks_webhookevent_choose", args=[event.pk]) if was_choosing else page_of(event),
            perform=perform,
        )

    @for_row("webhooks.reveal_webhookevent")
    def body_view(self, request: HttpRequest, event: WebhookEvent) -> HttpResponse:
        """The exact bytes, never rendered by the browser."""

        def perform(said: dict[str, str]) -> HttpResponse:
            audit.record("reveal", actor=said["by"], reason=said["reason"], event=event, result="body downloaded")
            return HttpResponse(
                bytes(event.body),
                content_type="application/octet-stream",
                headers={
                    "Content-Disposition": f'attachment; filename="event-{event.pk}.body"',
                    "X-Content-Type-Options": "nosniff",
                },
            )

        return ask_reason(
            self,
            request,
            event,
            title=f"Download the exact bytes of {event}",
            words="The file contains personal data. Your download and its reason are stored in the audit.",
            button="Download",
            perform=perform,
        )
