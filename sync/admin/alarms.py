"""What needs a person: the list of alarms, who has seen to each, and for how long nothing is sent about it."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import NotDone, ReasonForm, ask_reason
from sync.models import Alarm, Severity
from webhooks import clock
from webhooks.backoffice.bridges import ByBridge
from webhooks.backoffice.display import badge, coded, time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.masking import masked_text

COLOURS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "danger"}


class MuteForm(ReasonForm):
    until = forms.DateTimeField(
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text="UTC. Until then nothing is sent about this alarm, nor about the next ones of its kind",
    )
    field_order = ("until", "reason")

    def clean_until(self) -> Any:
        until = self.cleaned_data["until"]
        if until <= timezone.now():
            raise forms.ValidationError("Choose a time in the future.")
        return until


@admin.register(Alarm)
class AlarmAdmin(ByBridge, ReadOnlyAdmin):
    list_display = ("key", "severity_badge", "standing", "words", "raised", "seen", "cleared")
    list_filter = (("cleared_at", admin.EmptyFieldListFilter), ("severity", ChoicesDropdownFilter))
    fields = (
        "key",
        "severity_badge",
        "standing",
        "words",
        "what_to_do",
        "raised",
        "seen",
        "cleared",
        "acknowledged",
        "muted",
        "told",
    )
    actions_detail = ("acknowledge", "mute", "unmute")
    has_handle_permission = may("sync.handle_alarm")

    @admin.display(description="Severity", ordering="severity")
    def severity_badge(self, alarm: Alarm) -> str:
        return badge(alarm.get_severity_display(), COLOURS[Severity(alarm.severity)])

    @admin.display(description="What to do")
    def what_to_do(self, alarm: Alarm) -> str:
        return coded(alarm.advice)

    @admin.display(description="State")
    def standing(self, alarm: Alarm) -> str:
        if alarm.cleared_at:
            return badge("Cleared", "success")
        return badge("Acknowledged", "warning") if alarm.acknowledged_at else badge("Open", "danger")

    raised = time_column("raised_at", "Raised", ordering="raised_at")
    seen = time_column("seen_at", "Last seen", ordering="seen_at")
    cleared = time_column("cleared_at", "Cleared", ordering="cleared_at")

    @admin.display(description="Acknowledged")
    def acknowledged(self, alarm: Alarm) -> str:
        if alarm.acknowledged_at is None:
            return "–"
        because = masked_text(alarm.acknowledged_because)
        return f"{alarm.acknowledged_by}, {alarm.acknowledged_at:%Y-%m-%d %H:%M} UTC: {because}"

    @admin.display(description="Muted until")
    def muted(self, alarm: Alarm) -> str:
        return f"{alarm.muted_until:%Y-%m-%d %H:%M} UTC" if alarm.muted_until else "–"

    @admin.display(description="Messages about it")
    def told(self, alarm: Alarm) -> str:
        by_state = {state: alarm.notifications.filter(state=state).count() for state in ("sent", "waiting", "failed")}
        return ", ".join(f"{number} {state}" for state, number in by_state.items() if number) or "none"

    @action(description="Acknowledge…", permissions=["handle"], url_path="acknowledge", icon="person_check")
    def acknowledge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "Others see that you see to it, and reminders end. You still hear when it is over."

        def change(alarm: Alarm, said: dict[str, Any]) -> None:
            if alarm.cleared_at:
                raise NotDone("The alarm is over already, so there was nothing to do.")
            seen = {"acknowledged_by": said["by"], "acknowledged_because": said["reason"]}
            Alarm.objects.filter(pk=alarm.pk).update(acknowledged_at=clock.now(), **seen)

        return self._ask(request, object_id, "Acknowledge", words, change)

    @action(description="Mute until…", permissions=["handle"], url_path="mute", icon="notifications_off")
    def mute(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "Nothing is sent about this alarm until then, also if it ends and comes back. Pages still show it."

        def change(alarm: Alarm, said: dict[str, Any]) -> None:
            Alarm.objects.filter(pk=alarm.pk).update(muted_until=said["until"])

        return self._ask(request, object_id, "Mute", words, change, MuteForm)

    @action(description="Unmute…", permissions=["handle"], url_path="unmute", icon="notifications_active")
    def unmute(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def change(alarm: Alarm, said: dict[str, Any]) -> None:  # of all rows of its key, as muting was
            Alarm.objects.filter(key=alarm.key, bridge=alarm.bridge_id).update(muted_until=None)

        return self._ask(request, object_id, "Unmute", "Messages about this alarm are sent again.", change)

    def _ask(
        self,
        request: HttpRequest,
        object_id: str,
        button: str,
        words: str,
        change: Callable[[Alarm, dict[str, Any]], None],
        form_class: type[ReasonForm] = ReasonForm,
    ) -> HttpResponse:
        alarm = get_object_or_404(Alarm, pk=object_id)

        def perform(said: dict[str, Any]) -> str:
            change(alarm, said)
            until = f"{said['until']:%F %R}" if "until" in said else None
            by, reason = said["by"], said["reason"]
            audit.record(
                f"alarm: {button.lower()}", actor=by, reason=reason, result=alarm.key, row=alarm.pk, until=until
            )
            return f"{button}: done."

        title = f"{button}: {alarm.key}"
        return ask_reason(
            self, request, alarm, button=button, words=words, perform=perform, form_class=form_class, title=title
        )
