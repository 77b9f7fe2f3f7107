"""Personal data is shown to those who may see it, when they ask and say why; each time it is recorded."""

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from webhooks.admin import WebhookEventAdmin
from webhooks.models import WebhookEvent
from webhooks.reveal import SECONDS, may_reveal, reveal


class RevealForm(forms.Form):
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Kept in the audit")


class Revealing(WebhookEventAdmin):
    """An event's page on which personal data can be revealed."""

    def has_reveal_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may_reveal(request) and self.has_view_permission(request)

    @action(description="Reveal personal data", permissions=["reveal"], url_path="reveal", icon="visibility")
    def reveal_event(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A GET only asks for the reason; the POST reveals, to this person and for a while."""
        event = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = reverse("admin:webhooks_webhookevent_change", args=[event.pk])
        form = RevealForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            audit.record(
                "reveal",
                actor=request.user.get_username(),
                reason=form.cleaned_data["reason"],
                event=event,
                result=f"shown for {SECONDS // 60} minutes",
            )
            reveal(request, event.pk)
            return HttpResponseRedirect(back)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Reveal personal data of {event}",
            "form": form,
            "minutes": SECONDS // 60,
            "back": back,
        }
        return TemplateResponse(request, "sync/reveal.html", context)

    def body_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        answer = super().body_view(request, pk)
        event = WebhookEvent.objects.only("pk").get(pk=pk)
        audit.record("reveal", actor=request.user.get_username(), event=event, result="body downloaded")
        return answer
