"""How the sides and the workers are doing."""

from django.contrib import admin

from sync.models import Heartbeat, SideState
from webhooks.admin import ReadOnlyAdmin, ago


@admin.register(SideState)
class SideStateAdmin(ReadOnlyAdmin):
    list_display = ("name", "failures", "opened_at", "probe_at", "wait_until", "paused", "last_heard_at", "last_error")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("worker", "seen")

    @admin.display(description="Last seen", ordering="at")
    def seen(self, heartbeat: Heartbeat) -> str:
        return ago(heartbeat.at)
