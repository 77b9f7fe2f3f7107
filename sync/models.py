"""What the conductor remembers: attempts and their calls, leases, intents, and how each side is doing."""

from django.db import models
from django.utils import timezone

from webhooks.models import Outcome, WebhookEvent
from webhooks.models import Side as SideName


class Attempt(models.Model):
    """One try at an event. Append-only: no replay ever overwrites the error of an earlier try."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(WebhookEvent, on_delete=models.PROTECT, related_name="tries")
    trigger = models.CharField(max_length=16, help_text="delivery, retry, replay, sweep or command")
    actor = models.CharField(max_length=150, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    milliseconds = models.PositiveIntegerField(default=0)
    result = models.CharField(
        max_length=32, help_text="An outcome; or the class of the error; or waiting, when it was not the event's fault"
    )
    reasons = models.JSONField(default=list, blank=True, help_text="The trace of the decision: [code, words] pairs")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"attempt {self.pk}: {self.result}"

    @property
    def succeeded(self) -> bool:
        return self.result in Outcome.values


class Call(models.Model):
    """One outgoing HTTP call of an attempt, with secrets redacted."""

    id = models.BigAutoField(primary_key=True)
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="calls")
    side = models.CharField(max_length=8, choices=SideName.choices)
    method = models.CharField(max_length=8)
    url = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty: no answer came")
    milliseconds = models.PositiveIntegerField(default=0)
    request_body = models.TextField(blank=True)
    response_body = models.TextField(blank=True)
    error = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.method} {self.url} → {self.status or self.error}"


class SideState(models.Model):
    """How one side is doing, shared by all workers of all hosts."""

    name = models.CharField(primary_key=True, max_length=8, choices=SideName.choices)
    failures = models.PositiveIntegerField(default=0, help_text="Outage-like failures in a row")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Since when its circuit breaker is open")
    probe_at = models.DateTimeField(null=True, blank=True, help_text="When the next probe may test the way")
    wait_until = models.DateTimeField(null=True, blank=True, help_text="It asked us to slow down (429, Retry-After)")
    paused = models.BooleanField(default=False, help_text="Paused by staff")
    last_heard_at = models.DateTimeField(null=True, blank=True, help_text="Its last good answer")
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = "side"

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """A right to work on one order, until a time: a dead worker blocks nobody for long."""

    key = models.CharField(primary_key=True, max_length=80)
    token = models.UUIDField()
    holder = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key} held by {self.holder}"


class Intent(models.Model):
    """A write that was about to be made: what the next attempt must check before it repeats it."""

    class Kind(models.TextChoices):
        CREATE = "create", "Create the order in the CRM"
        STATUS = "status", "Set the status in the shop"

    woo_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    from_status = models.CharField(max_length=64, blank=True)
    to_status = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["woo_id", "kind"], name="one_intent_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.woo_id}"


class Heartbeat(models.Model):
    """The proof that a worker works: written by the task itself, not by the cluster's guard."""

    worker = models.CharField(primary_key=True, max_length=100)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.worker} at {self.at:%H:%M:%S}"
