"""Who is told of alarms, and what was told to whom."""

import uuid
from datetime import time

from django.db import models
from django.db.models import Q
from django.utils import timezone

from webhooks.credentials import decrypt, encrypt

MORNING = time(8, 0)


class Severity(models.IntegerChoices):
    """How soon somebody is needed."""

    INFO = 10, "Info"
    WARNING = 20, "Warning"
    CRITICAL = 30, "Critical"


class Recipient(models.Model):
    """Where messages go: an e-mail address, or a service that apprise knows."""

    name = models.CharField(max_length=80, unique=True, help_text="As the pages and the log call it")
    address = models.TextField(blank=True, editable=False, help_text="Encrypted; empty: it stands in NOTIFY_URLS")
    environment = models.CharField(
        max_length=64, blank=True, editable=False, help_text="The keyed hash of its entry in NOTIFY_URLS"
    )
    enabled = models.BooleanField(default=True, help_text="Messages are sent to it")
    min_severity = models.PositiveSmallIntegerField(
        "from severity",
        choices=Severity.choices,
        default=Severity.WARNING,
        help_text="Milder ones are not sent to it",
    )
    time_zone = models.CharField(max_length=64, default="UTC", help_text="Of all times below, as in Europe/Berlin")
    quiet_from = models.TimeField(null=True, blank=True, help_text="Quiet hours begin. Messages wait until they end")
    quiet_until = models.TimeField(null=True, blank=True, help_text="Quiet hours end; may be on the next morning")
    quiet_but_critical = models.BooleanField(
        "critical alarms at any hour", default=True, help_text="Critical alarms are sent in the quiet hours, too"
    )
    daily_at = models.TimeField(
        "daily summary at", null=True, blank=True, default=MORNING, help_text="Says if all is well. Empty: none is sent"
    )
    summary_on = models.DateField(null=True, blank=True, editable=False, help_text="The day of its last summary")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        permissions = [("test_recipient", "Can send a test message")]
        constraints = [
            models.UniqueConstraint(fields=["environment"], condition=Q(environment__gt=""), name="environment_once")
        ]

    def __str__(self) -> str:
        return self.name

    def store_address(self, address: str) -> None:
        self.address = encrypt({"url": address})

    def stored_address(self) -> str:
        """Raises credentials.WrongKey."""
        return decrypt(self.address).get("url", "")


class Notification(models.Model):
    """One thing that one recipient is told. Several may go in one message."""

    class Kind(models.TextChoices):
        RAISED = "raised", "Raised"
        CLEARED = "cleared", "Cleared"
        STILL = "still", "Still open"
        SUMMARY = "summary", "Daily summary"
        TEST = "test", "Test"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        DROPPED = "dropped", "Not sent"

    id = models.BigAutoField(primary_key=True)
    recipient = models.ForeignKey(
        Recipient, on_delete=models.SET_NULL, null=True, blank=True, related_name="notifications"
    )
    to = models.CharField(max_length=80, help_text="The recipient's name at that time")
    alarm = models.ForeignKey(
        "sync.Alarm", on_delete=models.SET_NULL, null=True, blank=True, related_name="notifications"
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.WARNING)
    words = models.TextField(blank=True, help_text="What it is about")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    message = models.UUIDField(null=True, blank=True, default=None, help_text="What went together has the same")
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    tried_at = models.DateTimeField(null=True, blank=True, help_text="The last try")
    error = models.TextField(blank=True, help_text="Why the last try failed")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["recipient", "id"], name="notification_waiting", condition=Q(state="waiting")),
            models.Index(fields=["recipient", "tried_at"], name="notification_tried"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, to {self.to}"

    @staticmethod
    def new_message() -> uuid.UUID:
        return uuid.uuid4()
