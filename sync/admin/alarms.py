"""What needs a person: the list of alarms, who has seen to each, and for how long nothing is sent about it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import NotDone, ReasonForm, ask_reason
from sync.models import Alarm, Severity
from webhooks import clock
from webhooks.backoffice.bridges import ByBridge
from webhooks.backoffice.display import ago, badge, coded
from webhooks.backoffice.lists import ReadOnlyAdmin
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

    def has_handle_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("sync.handle_alarm") and self.has_view_permission(request)

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

    @admin.display(description="Raised", ordering="raised_at")
    def raised(self, alarm: Alarm) -> str:
        return ago(alarm.raised_at)

    @admin.display(description="Last seen", ordering="seen_at")
    def seen(self, alarm: Alarm) -> str:
        return ago(alarm.seen_at)

    @admin.display(description="Cleared", ordering="cleared_at")
    def cleared(self, alarm: Alarm) -> str:
        return ago(alarm.cleared_at)

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
        by, now = request.user.get_username(), clock.now()
        return self._ask(
            request, object_id, "Acknowledge", words, acknowledged_at=now, acknowledged_by=by, because="reason"
        )

    @action(description="Mute until…", permissions=["handle"], url_path="mute", icon="notifications_off")
    def mute(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "Nothing is sent about this alarm until then, also if it ends and comes back. Pages still show it."
        return self._ask(request, object_id, "Mute", words, MuteForm)

    @action(description="Unmute…", permissions=["handle"], url_path="unmute", icon="notifications_active")
    def unmute(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, "Unmute", "Messages about this alarm are sent again.", muted_until=None)

    def _ask(
        self,
        request: HttpRequest,
        object_id: str,
        button: str,
        words: str,
        form_class: type[ReasonForm] = ReasonForm,
        because: str = "",
        **fields: Any,
    ) -> HttpResponse:
        alarm = get_object_or_404(Alarm, pk=object_id)

        def perform(said: dict[str, Any]) -> str:
            if because and alarm.cleared_at:
                raise NotDone("The alarm is over already, so there was nothing to do.")
            changed = dict(fields)
            if "until" in said:
                changed["muted_until"] = said["until"]
            if because:
                changed["acknowledged_because"] = said[because]
            if button == "Unmute":  # of all rows of its key, as muting was
                Alarm.objects.filter(key=alarm.key, bridge=alarm.bridge_id).update(muted_until=None)
            Alarm.objects.filter(pk=alarm.pk).update(**changed)
            until = f"{said['until']:%F %R}" if "until" in said else None
            audit.record(
                f"alarm: {button.lower()}",
                actor=request.user.get_username(),
                reason=said["reason"],
                result=f"{alarm.key}",
                row=alarm.pk,
                until=until,
            )
            return f"{button}: done."

        return ask_reason(
            request,
            self.admin_site,
            title=f"{button}: {alarm.key}",
            words=words,
            button=button,
            back=reverse("admin:sync_alarm_change", args=[alarm.pk]),
            perform=perform,
            form_class=form_class,
        )
