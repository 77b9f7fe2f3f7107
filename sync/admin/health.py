"""How the sides and the workers are doing, and the valve on each side."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import format_html
from unfold.decorators import action

from orders import audit
from orders.asking import ask_reason
from sync.admin.doctor import doctor_view
from sync.admin.installation import installation_view
from sync.admin.shop_webhooks import act_view, webhooks_view
from sync.models import Heartbeat, SideState
from webhooks import clock
from webhooks.backoffice.display import badge, preformatted, pretty, time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.masking import masked_words
from webhooks.moments import until
from webhooks.wake import wake


@admin.register(SideState)
class SideStateAdmin(ReadOnlyAdmin):
    list_display = ("side", "condition", "heard", "swept", "last_error")
    fields = (
        "side",
        "condition",
        "failures",
        "opened_at",
        "probe_at",
        "wait_until",
        "heard",
        "last_error",
        "swept",
        "up_to",
    )
    ordering = ("name",)
    actions_detail = ("pause", "go_on", "probe")
    has_pause_permission = may("sync.pause_sidestate")

    @admin.display(description="Side", ordering="name")
    def side(self, side: SideState) -> str:
        """In the words of the connection: its slug is for addresses."""
        return side.label

    @admin.display(description="Condition")
    def condition(self, side: SideState) -> str:
        if side.paused:
            return badge("Paused by staff", "warning")
        if side.opened_at:
            return format_html(
                "{} {}", badge("Unavailable", "danger"), f"since {side.opened_at:%H:%M:%S} UTC; events wait"
            )
        if side.wait_until and side.wait_until > clock.now():
            words = f"until {until(side.wait_until, clock.now())}, as it asked"
            return format_html("{} {}", badge("Waiting", "warning"), words)
        return badge("Working", "success")

    @admin.display(description="Cursor")
    def up_to(self, side: SideState) -> str:
        return preformatted(pretty(masked_words(side.cursor))) if side.cursor else "–"

    heard = time_column("last_heard_at", "Last good answer", ordering="last_heard_at")
    swept = time_column("swept_at", "Last reconciled", ordering="swept_at")

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        """What belongs to the sides and has no table: webhooks in the shop, doctor, whose database it is."""
        return (
            ("webhooks/", "sync_webhooks", partial(webhooks_view, self)),
            ("webhooks/<slug:action>/", "sync_webhooks_act", partial(act_view, self)),
            ("doctor/", "sync_doctor", partial(doctor_view, self)),
            ("installation/", "sync_installation", partial(installation_view, self)),
        )

    @action(description="Pause", permissions=["pause"], url_path="pause", icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "We stop reading from this side and writing to it. Deliveries are still accepted and stored; they wait."
        return self._turn(request, object_id, "Pause", words, "It is paused.", paused=True)

    @action(description="Resume", permissions=["pause"], url_path="go-on", icon="play_arrow")
    def go_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "Everything that waited is processed now."
        return self._turn(request, object_id, "Resume", words, "It is in use again.", paused=False)

    @action(description="Probe now", permissions=["pause"], url_path="probe", icon="network_check")
    def probe(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "A worker tests the connection at once. If it works, everything that waited is processed."
        now = clock.now()
        done = "A worker tests the connection."
        return self._turn(request, object_id, "Probe now", words, done, probe_at=now, wait_until=None)

    def _turn(
        self, request: HttpRequest, object_id: str, button: str, words: str, done: str, **fields: object
    ) -> HttpResponse:
        side = get_object_or_404(SideState, pk=object_id)

        def perform(said: dict[str, str]) -> str:
            SideState.objects.filter(pk=side.pk).update(**fields)
            audit.record(f"side: {button.lower()}", actor=said["by"], reason=said["reason"], side=side.name)
            wake()
            return f"{side.label}: {done}"

        title = f"{button}: {side.label}"
        return ask_reason(self, request, side, button=button, words=words, perform=perform, title=title)


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("worker", "seen")

    seen = time_column("at", "Last seen", ordering="at")
