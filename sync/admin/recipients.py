"""Who hears of alarms, and the log of what was sent to whom."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import NotDone, ask_reason
from sync.admin.alarms import COLOURS
from sync.models import Notification, Recipient, Severity
from sync.notifications import addresses, outbox, recipients
from webhooks import clock
from webhooks.backoffice.display import ago, badge, time_column
from webhooks.backoffice.lists import ForgivingList, ReadOnlyAdmin, may
from webhooks.backoffice.pages import page_of, text_link
from webhooks.masking import masked_text
from webhooks.wake import enqueue

STATE_COLOURS = {
    Notification.State.WAITING: "info",
    Notification.State.SENT: "success",
    Notification.State.FAILED: "danger",
    Notification.State.DROPPED: "",
}


class RecipientForm(forms.ModelForm):
    new_address = forms.CharField(
        label="Address",
        max_length=2000,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="An e-mail address, or a URL as apprise writes it: slack://…, ntfys://ntfy.sh/TOPIC, "
        "jsons://HOST/PATH. It is stored encrypted, and not shown again. Leave it empty to keep the one there is.",
    )

    class Meta:
        model = Recipient
        fields = (
            "name",
            "enabled",
            "min_severity",
            "time_zone",
            "quiet_from",
            "quiet_until",
            "quiet_but_critical",
            "daily_at",
        )

    def clean_new_address(self) -> str:
        address: str = self.cleaned_data["new_address"].strip()
        if not address:
            if not (self.instance.address or self.instance.environment):
                raise forms.ValidationError("Write where messages are to go.")
            return ""
        if self.instance.environment:
            raise forms.ValidationError("This address stands in NOTIFY_URLS. Change it there.")
        try:
            addresses.check_wholly(address)
        except addresses.Refused as error:
            raise forms.ValidationError(str(error)) from error
        return address

    def clean_time_zone(self) -> str:
        zone: str = self.cleaned_data["time_zone"].strip()
        if zone not in available_timezones():
            raise forms.ValidationError(f"{zone!r} is no time zone. Write it as in Europe/Berlin or America/New_York.")
        return zone

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        if (said.get("quiet_from") is None) != (said.get("quiet_until") is None):
            raise forms.ValidationError("Quiet hours have a beginning and an end: write both, or neither.")
        return said


@admin.register(Recipient)
class RecipientAdmin(ForgivingList):
    form = RecipientForm
    list_display = ("name", "where", "on", "from_severity", "quiet", "daily", "last")
    sortable_by = ("name",)
    fieldsets = (
        ("", {"fields": ("name", "where", "new_address", "enabled", "min_severity")}),
        (
            "When",
            {"fields": ("time_zone", "quiet_from", "quiet_until", "quiet_but_critical", "daily_at")},
        ),
    )
    readonly_fields = ("where",)
    actions_detail = ("send_test",)
    has_test_permission = may("sync.test_recipient")

    def save_model(self, request: HttpRequest, obj: Recipient, form: Any, change: bool) -> None:
        if address := form.cleaned_data["new_address"]:
            obj.store_address(address)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Recipient | None = None) -> bool:
        """One of the environment would come back: it is switched off, or its entry removed."""
        return super().has_delete_permission(request, obj) and not (obj and obj.environment)

    @admin.display(description="Where")
    def where(self, recipient: Recipient) -> str:
        if not (recipient.address or recipient.environment):
            return "–"
        address = recipients.address_of(recipient)
        if not address:
            gone = "its entry in NOTIFY_URLS is gone" if recipient.environment else "it cannot be decrypted any more"
            return f"unknown: {gone}"
        return f"{addresses.shown(address)}{' (NOTIFY_URLS)' if recipient.environment else ''}"

    @admin.display(description="Enabled", boolean=True)
    def on(self, recipient: Recipient) -> bool:
        return recipient.enabled

    @admin.display(description="From")
    def from_severity(self, recipient: Recipient) -> str:
        return badge(recipient.get_min_severity_display(), COLOURS[Severity(recipient.min_severity)])

    @admin.display(description="Quiet hours")
    def quiet(self, recipient: Recipient) -> str:
        if recipient.quiet_from is None or recipient.quiet_until is None:
            return "–"
        but = ", but critical" if recipient.quiet_but_critical else ""
        return f"{recipient.quiet_from:%H:%M}–{recipient.quiet_until:%H:%M}{but}, {recipient.time_zone}"

    @admin.display(description="Daily summary")
    def daily(self, recipient: Recipient) -> str:
        return f"{recipient.daily_at:%H:%M}, {recipient.time_zone}" if recipient.daily_at else "–"

    @admin.display(description="Last message")
    def last(self, recipient: Recipient) -> str:
        newest = recipient.notifications.exclude(tried_at=None).order_by("-pk").first()
        if newest is None:
            return "none yet"
        return format_html("{} {}", _state(newest), ago(newest.tried_at))

    @action(description="Send a test…", permissions=["test"], url_path="test", icon="send")
    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        recipient = get_object_or_404(Recipient, pk=object_id)

        def perform(said: dict[str, Any]) -> HttpResponse:
            if not recipient.enabled:
                raise NotDone("It is switched off. Switch it on first.")
            item = outbox.ask_for_test(recipient, clock.now())
            audit.record(
                "recipient: test", actor=said["by"], reason=said["reason"], result=recipient.name, row=recipient.pk
            )
            enqueue("sync.tasks.notify")
            self.message_user(request, "A worker sends it within seconds. Reload this page to see what became of it.")
            return HttpResponseRedirect(page_of(item))

        return ask_reason(
            self,
            request,
            recipient,
            title=f"Send a test: {recipient.name}",
            words="A message that says that it is a test is sent now, whatever the quiet hours and the limits.",
            button="Send",
            perform=perform,
        )


def _state(item: Notification) -> str:
    return badge(item.get_state_display(), STATE_COLOURS[Notification.State(item.state)])


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "to", "state_badge", "about", "created", "tried", "tries", "why")
    list_display_links = ("id", "kind")
    list_filter = (("state", ChoicesDropdownFilter), ("kind", ChoicesDropdownFilter))
    linked_by = ("alarm",)
    fields = ("kind", "to", "state_badge", "about", "of_alarm", "created", "tried", "tries", "next_try", "why")

    @admin.display(description="State")
    def state_badge(self, item: Notification) -> str:
        return _state(item)

    @admin.display(description="About")
    def about(self, item: Notification) -> str:
        return masked_text(item.words) or "–"

    @admin.display(description="Alarm")
    def of_alarm(self, item: Notification) -> str:
        if item.alarm_id is None:
            return "–"
        page = reverse("admin:sync_alarm_change", args=[item.alarm_id])
        return text_link(page, "The alarm…")

    created = time_column("created_at", "Made", ordering="id")
    tried = time_column("tried_at", "Last try")

    @admin.display(description="Next try")
    def next_try(self, item: Notification) -> str:
        return ago(item.next_try_at) if item.state == Notification.State.WAITING else "–"

    @admin.display(description="Why not")
    def why(self, item: Notification) -> str:
        return masked_text(item.error) or "–"
