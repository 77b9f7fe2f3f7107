"""The table of how each connection is doing."""

from typing import Self

from django.db import models

from webhooks.connections import Connection
from webhooks.models import Side


class SideStateQuerySet(models.QuerySet["SideState"]):
    def in_use(self) -> Self:
        """Those whose connection was not archived."""
        return self.exclude(name__in=Connection.objects.filter(archived_at__isnull=False).values("slug"))


class SideState(models.Model):
    """How one connection is doing, shared by all workers of all hosts."""

    name = models.SlugField(primary_key=True, max_length=40, help_text="Of its connection")
    failures = models.PositiveIntegerField(default=0, help_text="Outage-like failures in a row")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Since when its circuit breaker is open")
    probe_at = models.DateTimeField(null=True, blank=True, help_text="When the next probe may test the way")
    wait_until = models.DateTimeField(null=True, blank=True, help_text="It asked us to slow down (429, Retry-After)")
    paused = models.BooleanField(default=False, help_text="Paused by staff")
    last_heard_at = models.DateTimeField(null=True, blank=True, help_text="Its last good answer")
    last_error = models.TextField(blank=True)
    cursor = models.JSONField(default=dict, blank=True, help_text="Up to where reconcile has asked it what changed")
    swept_at = models.DateTimeField(null=True, blank=True, help_text="When reconcile last got to the end of it")
    poll_at = models.DateTimeField(null=True, blank=True, help_text="When it is asked next, if that is oftener")
    token = models.TextField(
        blank=True, default="", db_default="", editable=False, help_text="That was fetched for it, encrypted"
    )
    token_ends_at = models.DateTimeField(null=True, blank=True, editable=False)
    token_turn_ends_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Until then one worker of all fetches the next one"
    )

    objects = SideStateQuerySet.as_manager()

    class Meta:
        verbose_name = "side"
        permissions = [("pause_sidestate", "Can pause a side, and let it go on")]

    def __str__(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        if self.name in Side.values:
            return str(Side(self.name).label)
        return Connection.objects.filter(slug=self.name).values_list("name", flat=True).first() or self.name

    @classmethod
    def follow(cls, instance: Connection, **_: object) -> None:
        """Each connection has one."""
        cls._default_manager.get_or_create(name=instance.slug)
