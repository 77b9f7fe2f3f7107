"""What the conductor remembers: attempts, calls, leases, intents, how each side is doing, runs, findings, alarms."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from sync import registry
from sync.choice_models import OpenChoice as OpenChoice
from sync.choice_models import RememberedChoice as RememberedChoice
from sync.field_map_models import FieldMapVersion as FieldMapVersion
from sync.month_end_models import MonthEndOrder as MonthEndOrder
from sync.notification_models import Notification as Notification
from sync.notification_models import Recipient as Recipient
from sync.notification_models import Severity as Severity
from sync.side_models import SideState as SideState
from webhooks.connections import HANGS_ON_A_BRIDGE, MAY_HANG_ON_A_BRIDGE, Bridge
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
    compared = models.JSONField(
        default=dict,
        blank=True,
        help_text="What the decision compared: by whom it was said, then status, version, time",
    )
    decided_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it failed before it could decide")
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
    is_shared = models.BooleanField(
        default=False, db_default=False, help_text="It read several orders, and is counted with the first of them"
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.method} {self.url} → {self.status or self.error}"


class Installation(models.Model):
    """Whose database this is: the address of the only installation that may call the two sides."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    public_url = models.CharField(max_length=500)
    since = models.DateTimeField(auto_now=True)

    class Meta:
        default_permissions = ()
        permissions = [("confirm_installation", "Can say that this installation is the one that its database is of")]

    def __str__(self) -> str:
        return self.public_url


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

    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    woo_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    from_status = models.CharField(max_length=64, blank=True)
    to_status = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(default=timezone.now)
    may_come_until = models.DateTimeField(
        null=True, blank=True, help_text="Nobody answered: so long the shop may still be at it"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["woo_id", "kind", "bridge"], name="one_intent_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.woo_id}"


class Heartbeat(models.Model):
    """The proof that a worker works: written by the task itself, not by the cluster's guard."""

    worker = models.CharField(primary_key=True, max_length=100)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.worker} at {self.at:%H:%M:%S}"


class Counted(models.Model):
    """How many rows a table had up to one of them: what /metrics tells without reading the whole table each time."""

    table = models.CharField(primary_key=True, max_length=64)
    up_to = models.BigIntegerField(default=0, help_text="The id of the last row that is in the counts")
    counts = models.JSONField(default=list)
    next_up_to = models.BigIntegerField(help_text="Up to where they go next, once no older row can be on its way")
    next_at = models.DateTimeField(default=timezone.now, help_text="Since when that row was the newest")

    def __str__(self) -> str:
        return f"{self.table} up to {self.up_to}"


class HourlyFigure(models.Model):
    """The attempts or calls of an hour, added up. They stay when the rows go (ROWS_RETENTION_DAYS)."""

    class What(models.TextChoices):
        ATTEMPT = "attempt", "Attempts"
        CALL = "call", "Calls"

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    hour = models.DateTimeField(help_text="When it began")
    what = models.CharField(max_length=8, choices=What.choices)
    side = models.CharField(max_length=8, choices=SideName.choices, help_text="That was called, or sent the event")
    result = models.CharField(max_length=32, help_text="Of an attempt; the status of a call, 0: no answer came")
    count = models.PositiveBigIntegerField(default=0)
    milliseconds = models.PositiveBigIntegerField(default=0, help_text="All of them together")
    slowest = models.PositiveIntegerField("slowest (ms)", default=0)

    class Meta:
        verbose_name = "hourly figure"
        constraints = [
            models.UniqueConstraint(fields=["hour", "what", "side", "result", "bridge"], name="figure_once_an_hour")
        ]

    def __str__(self) -> str:
        return f"{self.count} × {self.what} {self.side} {self.result}, {self.hour:%Y-%m-%d %H}:00"


class Run(models.Model):
    """A long job. It goes on from its checkpoint after a crash, tells how far it is, can be paused and cancelled."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **MAY_HANG_ON_A_BRIDGE, editable=False)
    kind = models.CharField(max_length=registry.LONGEST_KIND, choices=registry.kinds)
    state = models.CharField(max_length=12, choices=State.choices, default=State.RUNNING)
    options = models.JSONField(default=dict, blank=True)
    checkpoint = models.JSONField(default=dict, blank=True, help_text="Where the next step goes on")
    version = models.PositiveSmallIntegerField(default=1, db_default=1, help_text="Of the checkpoint, by its job")
    note = models.TextField(
        blank=True, default="", db_default="", help_text="What became of it, if not all is as usual"
    )
    counts = models.JSONField(default=dict, blank=True, help_text="What was done so far")
    total = models.PositiveBigIntegerField(null=True, blank=True, help_text="How many there are to do, if it is known")
    per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="The speed limit; empty: none")
    actor = models.CharField(max_length=150, blank=True, help_text="Empty: the schedule")
    reason = models.TextField(blank=True)
    holder = models.CharField(max_length=100, blank=True, help_text="The process that works on it")
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now, help_text="The last sign of life of its holder")
    worked = models.FloatField(default=0.0, help_text="Seconds of work so far, pauses left out")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("start_run", "Can start runs, pause and cancel them"),
            ("month_end_run", "Can export month-end proofs"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "bridge"],
                condition=Q(state="running") & ~Q(kind="replay") & Q(bridge__isnull=False),
                name="one_running_of_a_kind",
            ),
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(state="running") & ~Q(kind="replay") & Q(bridge__isnull=True),
                name="one_running_about_no_bridge",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def kept(self) -> registry.Checkpoint:
        """Its checkpoint as this release has them; empty where it cannot be read."""
        job = registry.JOBS.get(self.kind)
        return (job.read(self.checkpoint, self.version) if job else None) or {}


class RunPart(models.Model):
    """Some of the events that a replay of many is about, by their ids, as they were when it was started."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="parts")
    last = models.BigIntegerField(help_text="The highest of the ids")
    ids = models.JSONField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["run", "last"], name="part_of_run_once")]

    def __str__(self) -> str:
        return f"{self.run}, up to {self.last}"


class DriftFindingQuerySet(models.QuerySet["DriftFinding"]):
    def open(self, now: datetime) -> Self:
        """Those that are for somebody to look at: neither gone, nor ignored for now, nor expected."""
        return self.filter(gone_at=None, expected=False).exclude(ignored_until__gt=now)


class DriftFinding(models.Model):
    """An order that differs between the two sides, as `drift` saw it."""

    class Kind(models.TextChoices):
        STATUS = "status", "Status differs"
        AHEAD = "ahead", "The shop is ahead"
        MISSING_IN_CRM = "missing_in_crm", "Missing in the CRM"
        MISSING_IN_SHOP = "missing_in_shop", "Missing in the shop"
        DELETED = "deleted", "Deleted"
        CONTENT = "content", "Other content"

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    woo_id = models.BigIntegerField()
    crm_order_id = models.CharField("CRM order", max_length=64, blank=True)
    shop = models.CharField(max_length=64, blank=True, help_text="The shop's status")
    crm = models.CharField("CRM", max_length=64, blank=True, help_text="The CRM's status")
    found_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="When drift last saw it")
    ignored_until = models.DateTimeField(null=True, blank=True)
    ignored_by = models.CharField(max_length=150, blank=True)
    ignored_because = models.TextField(blank=True)
    gone_at = models.DateTimeField(null=True, blank=True, help_text="When drift no longer found it")
    expected = models.BooleanField(
        default=False, help_text="Ahead as every sold order is, while the CRM has the status with which it began"
    )

    objects = DriftFindingQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "drift finding"
        permissions = [("ignore_driftfinding", "Can ignore a finding until a date")]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "woo_id", "crm_order_id", "bridge"],
                condition=Q(gone_at__isnull=True),
                name="open_finding_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.woo_id} ↔ {self.crm_order_id or '–'}"


class Condition(models.Model):
    """Since when something is so: what is an alarm only if it lasts."""

    key = models.CharField(primary_key=True, max_length=64)
    since = models.DateTimeField()
    value = models.JSONField(default=dict, blank=True, help_text="What it was like then")

    def __str__(self) -> str:
        return f"{self.key} since {self.since:%Y-%m-%d %H:%M} UTC"


class Alarm(models.Model):
    """Something that needs a person, from when it was raised to when it was over."""

    bridge = models.ForeignKey(Bridge, **MAY_HANG_ON_A_BRIDGE, editable=False)
    key = models.CharField(max_length=64, help_text="silence:shop, webhook:order.updated, audit …")
    words = models.TextField(help_text="What is wrong")
    advice = models.TextField(help_text="What to do")
    severity = models.PositiveSmallIntegerField(
        choices=Severity.choices, default=Severity.WARNING, db_default=Severity.WARNING
    )
    raised_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    cleared_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    acknowledged_because = models.TextField(blank=True, default="", db_default="")
    muted_until = models.DateTimeField(null=True, blank=True, help_text="Until then nothing is sent about its key")
    told_at = models.DateTimeField(null=True, blank=True, help_text="When the recipients were last to hear that it is")
    told_cleared_at = models.DateTimeField(null=True, blank=True, help_text="When they were to hear that it is over")

    class Meta:
        ordering = ["-id"]
        permissions = [("handle_alarm", "Can acknowledge an alarm, and mute it")]
        constraints = [
            models.UniqueConstraint(
                fields=["key", "bridge"],
                condition=Q(cleared_at__isnull=True, bridge__isnull=False),
                name="open_alarm_once",
            ),
            models.UniqueConstraint(
                fields=["key"],
                condition=Q(cleared_at__isnull=True, bridge__isnull=True),
                name="open_alarm_about_no_bridge",
            ),
        ]

    def __str__(self) -> str:
        return self.words


class TodoItemQuerySet(models.QuerySet["TodoItem"]):
    def open(self, now: datetime) -> Self:
        """Those that are for somebody to look at: neither closed nor put off for now."""
        return self.filter(closed_at=None).exclude(snoozed_until__gt=now)


class TodoItem(models.Model):
    """What needs a person: one for each order and cause. It is made and closed by what is so
    (`sync.monitoring.todo`); staff only take it, or put it off."""

    class Cause(models.TextChoices):
        PARKED = "parked", "Parked"
        CHOICE = "choice", "Several customers fit"
        DEAD = "dead", "Given up"
        REFUSED = "refused", "Move refused"
        PAID = "paid", "Paid, and cancelled in the shop"
        LOST = "lost", "Lost in the CRM"

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    cause = models.CharField(max_length=8, choices=Cause.choices)
    order = models.CharField(max_length=80, help_text="woo:14, crm:C-9 while the pair is not known, or event:7")
    woo_id = models.BigIntegerField("shop order", null=True, blank=True)
    crm_order_id = models.CharField("CRM order", max_length=64, blank=True)
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="todo_items", help_text="The latest"
    )
    words = models.TextField(help_text="What is wrong")
    opened_at = models.DateTimeField(default=timezone.now)
    owner = models.CharField(max_length=150, blank=True, help_text="Who has taken it")
    snoozed_until = models.DateTimeField(null=True, blank=True)
    snoozed_because = models.TextField(blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_because = models.TextField(blank=True)

    objects = TodoItemQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "to-do item"
        permissions = [("handle_todoitem", "Can take what needs a person, or put it off until a date")]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "cause", "bridge"], condition=Q(closed_at__isnull=True), name="open_todo_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_cause_display()}: {f'order {self.woo_id}' if self.woo_id else self.order}"
