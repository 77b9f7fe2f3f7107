"""The inbox: every delivery that was accepted, and a bounded memory of those that were refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.expressions import Combinable
from django.utils import timezone

from webhooks import clock
from webhooks.approvals import ShopApproval as ShopApproval
from webhooks.connections import HANGS_ON_A_BRIDGE
from webhooks.connections import Bridge as Bridge
from webhooks.connections import Connection as Connection
from webhooks.connections import Side as Side
from webhooks.masking import masked_topic


class State(models.TextChoices):
    """Where an event stands. `next_attempt_at` says when it is due; it is empty once nothing more is to be done."""

    PENDING = "pending", "Pending"
    PROCESSING = "processing", "Processing"
    RETRYING = "retrying", "Retrying"
    DONE = "done", "Done"
    PARKED = "parked", "Parked"
    DEAD = "dead", "Dead"


class Outcome(models.TextChoices):
    """What became of an event that is done. The words are those of the public contract, section 5."""

    CREATED = "created", "Created in the CRM"
    UPDATED = "updated", "Update sent to the CRM"
    APPLIED = "applied", "Status applied to the shop"
    NO_CHANGE = "no_change", "No change"
    STALE = "stale", "Stale: older than known"
    REFUSED = "refused", "Refused: move not allowed"
    ECHO = "echo", "Echo of our own write"
    SUPERSEDED = "superseded", "Superseded by a later event"
    NOT_OURS = "not_ours", "Not an order of this shop"
    FILTERED = "filtered", "Left out by the bridge's rule"
    RESOLVED = "resolved", "Resolved by staff"


EFFECTS = (Outcome.CREATED, Outcome.UPDATED, Outcome.APPLIED)
"""Outcomes of events that changed something on the other side."""
SENDERS = {Side.SHOP: "woocommerce", Side.CRM: "crm"}
DELIVERED = tuple(SENDERS.values())
"""The sources of deliveries. Events from any other source were made here."""


@dataclass(frozen=True)
class Change:
    """What becomes of one event. `WebhookEventQuerySet.record` saves many of them; what is None stays as it is."""

    event: int
    state: State
    outcome: str = ""
    reason: str | None = None
    due: datetime | None = None
    "None: nothing more is to be done."
    attempts: int | Combinable | None = None
    trigger: str | None = None
    customer: str = ""
    "As the shop's order names them. Not kept where the body is past its retention: the hash went with it."

    @classmethod
    def done(cls, event: "WebhookEvent", outcome: str, reason: str, *, customer: str = "") -> Self:
        return cls(event.pk, State.DONE, outcome, reason, customer=customer)

    @classmethod
    def superseded(cls, event: "WebhookEvent", by: "WebhookEvent") -> Self:
        return cls(event.pk, State.DONE, Outcome.SUPERSEDED, f"Answered by the same read as event {by.pk}.")

    @classmethod
    def parked(cls, event: "WebhookEvent", reason: str, *, attempts: int | None = None, customer: str = "") -> Self:
        """A person has to look at it. `attempts`: those that it took to find that out, if they failed."""
        return cls(event.pk, State.PARKED, reason=reason, attempts=attempts, customer=customer)

    @classmethod
    def dead(cls, event: "WebhookEvent", reason: str, *, attempts: int, customer: str = "") -> Self:
        return cls(event.pk, State.DEAD, reason=reason, attempts=attempts, customer=customer)

    @classmethod
    def retry(cls, event: "WebhookEvent", reason: str, *, at: datetime, failed: bool) -> Self:
        """Due again then. Unless it failed, no attempt is used up: what happened was not the event's fault."""
        attempts = F("attempts") + 1 if failed else None
        return cls(event.pk, State.RETRYING, reason=reason, due=at, attempts=attempts, trigger="retry")

    @classmethod
    def released(cls, event: "WebhookEvent") -> Self:
        """As if it had not been claimed. `event`: as it was read before that."""
        return cls(event.pk, State(event.state), due=event.next_attempt_at)

    def columns(self, now: datetime) -> dict[str, Any]:
        kept = {"reason": self.reason, "attempts": self.attempts, "trigger": self.trigger}
        if self.customer:
            kept["customer"] = Case(When(body=b"", then=F("customer")), default=Value(self.customer))
        return {
            "state": self.state,
            "outcome": self.outcome,
            "next_attempt_at": self.due,
            "finished_at": None if self.due else now,
            **{name: value for name, value in kept.items() if value is not None},
        }


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Here, in `Change` and in the model's own methods is all that moves an event from state to state."""

    def unfinished(self) -> Self:
        return self.filter(next_attempt_at__isnull=False)

    def due(self, now: datetime, bridge: int | None = None) -> Self:
        """Of one bridge, or of all that are on: what the others get waits."""
        of = Q(bridge=bridge) if bridge else Q(bridge__in=Bridge.objects.on().values("pk"))
        return self.filter(of, next_attempt_at__lte=now)

    def claim(self, until: datetime) -> int:
        """The number of those that are the caller's now, until that time. If they are fewer than were read, then
        somebody has set one aside meanwhile."""
        return self.unfinished()._change(state=State.PROCESSING, next_attempt_at=until)

    def count_attempt(self) -> int:
        """That of a worker which ended before it recorded anything."""
        return self._change(attempts=F("attempts") + 1)

    def supersede(self, reason: str) -> int:
        """Something else has answered them."""
        return self._change(**_finished(State.DONE, Outcome.SUPERSEDED, reason))

    def record(self, changes: Sequence[Change]) -> int:
        """What became of many events, in one statement. Returns how many there were."""
        now, columns = clock.now(), defaultdict[str, defaultdict[Any, list[int]]](lambda: defaultdict(list))
        for one in changes:
            for name, value in one.columns(now).items():
                columns[name][value].append(one.event)
        if not changes:
            return 0
        values = {name: _by_event(name, events, len(changes)) for name, events in columns.items()}
        return self.filter(pk__in=[one.event for one in changes])._change(**values)

    def _change(self, **values: Any) -> int:
        """Locked in the order in which a delivery of them does it, by their keys, and changed, in one statement: in
        another order the two may wait for each other on PostgreSQL. Those that do not fit any more once the lock is
        there are left out."""
        mine = self.select_for_update().order_by("dedupe_key").values("pk")
        with transaction.atomic(savepoint=False):
            return self.model._default_manager.filter(pk__in=mine).update(**values)


def _by_event(column: str, events: Mapping[Any, list[int]], of: int) -> Any:
    """For an UPDATE: the one value that all of them get, or a CASE of those that differ; the rest keep theirs."""
    first = next(iter(events))
    if len(events[first]) == of:
        return first
    field: Any = WebhookEvent._meta.get_field(column)
    each = [
        When(pk__in=ids, then=value if isinstance(value, Combinable) else Value(value, field))
        for value, ids in events.items()
    ]
    return Case(*each, default=F(column), output_field=field)


def _finished(state: State, outcome: str, reason: str) -> dict[str, Any]:
    return {"state": state, "outcome": outcome, "reason": reason, "next_attempt_at": None, "finished_at": clock.now()}


class WebhookEvent(models.Model):
    """One signal, as it came. The body is evidence of who said what, never the truth about the order."""

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    side = models.CharField(max_length=8, choices=Side.choices)
    source = models.CharField(
        max_length=32, help_text="woocommerce or crm; or who of us made it: sweep, backfill, resync or staff"
    )
    topic = models.CharField(max_length=100, blank=True)
    order_ref = models.CharField(
        max_length=64, blank=True, help_text="The order's id at the side that sent it; empty if it names none"
    )
    version = models.BigIntegerField(null=True, blank=True, help_text="The CRM's version, as the event claims it")
    status = models.CharField(max_length=64, blank=True, help_text="The CRM's status, as the event claims it")
    occurred_at = models.DateTimeField(null=True, blank=True, help_text="The sender's own time of the change")

    body = models.BinaryField(blank=True, help_text="The exact bytes; emptied after RETENTION_DAYS")
    # NULL, not empty: SQLite uses a partial index only for what is IS NOT NULL.
    customer = models.CharField(  # noqa: DJ001
        max_length=32,
        null=True,
        blank=True,
        help_text="Hash of the customer's e-mail address, to be found by; goes with the body",
    )
    # NULL, so that no large table is written anew: `webhooks.schemas.schema_of` knows those of before.
    schema = models.CharField(  # noqa: DJ001
        max_length=32, null=True, blank=True, help_text="In which the body is written, as woocommerce/wc-v3 or rest/1"
    )
    body_sha256 = models.CharField(max_length=64, blank=True)
    body_index = models.PositiveIntegerField(
        null=True, blank=True, help_text="The place in the array, where one delivery carried several events"
    )
    headers = models.JSONField(default=dict, blank=True, help_text="Secrets masked")
    delivery_id = models.CharField(max_length=128, blank=True, help_text="The sender's label; not unique")
    signed_by = models.CharField(max_length=64, blank=True, help_text="Which secret signed it; never the secret")
    dedupe_key = models.CharField(max_length=160)
    duplicates = models.PositiveIntegerField(default=0)
    received_at = models.DateTimeField(default=timezone.now)
    stored_at = models.DateTimeField(
        null=True,
        blank=True,
        default=timezone.now,
        help_text="When it was written; the sender's answer came after that",
    )

    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING)
    outcome = models.CharField(max_length=12, choices=Outcome.choices, blank=True)
    reason = models.TextField(blank=True, help_text="In words: what was done, or why a person is needed")
    attempts = models.PositiveIntegerField(default=0, help_text="Failed tries that count against RETRY_MAX_ATTEMPTS")
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, default=timezone.now, help_text="Due then; while processing, the end of the lease"
    )
    trigger = models.CharField(max_length=16, default="delivery", help_text="What caused the next attempt")
    requested_by = models.CharField(max_length=150, blank=True, help_text="The person who asked for the next attempt")
    copy_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="copies",
        help_text="The event that staff edited and replayed; it stays as it came",
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        verbose_name = "event"
        permissions = [
            ("replay_webhookevent", "Can replay an event, or see in a dry run what a replay would do"),
            ("edit_webhookevent", "Can replay an edited copy of an event"),
            ("resolve_webhookevent", "Can cancel the retries of an event, or mark it resolved"),
            ("bulk_replay_webhookevent", "Can replay many events"),
            ("reveal_webhookevent", "Can reveal personal data"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["source", "dedupe_key", "bridge"], name="event_once_per_source"),
        ]
        indexes = [
            models.Index(
                fields=["bridge", "next_attempt_at", "id"],
                name="event_due",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
            models.Index(fields=["side", "order_ref", "id"], name="event_of_order"),
            # The default bridge's are the most, or all.
            models.Index(fields=["bridge", "id"], name="event_bridge", condition=models.Q(bridge__gt=1)),
            models.Index(fields=["state", "id"], name="event_state"),
            models.Index(fields=["received_at"], name="event_received"),
            # Each filter of the list has one: over a big inbox a rare value would take a reading of all bodies.
            models.Index(fields=["source", "id"], name="event_source"),
            models.Index(fields=["topic", "id"], name="event_topic"),
            models.Index(fields=["signed_by", "id"], name="event_signed_by"),
            models.Index(fields=["outcome", "id"], name="event_outcome", condition=models.Q(outcome__gt="")),
            models.Index(fields=["attempts", "id"], name="event_attempts", condition=models.Q(attempts__gt=0)),
            models.Index(fields=["customer", "id"], name="event_customer", condition=models.Q(customer__isnull=False)),
            models.Index(
                fields=["source", "duplicates"],
                name="event_duplicates",
                condition=models.Q(duplicates__gt=0),
            ),
            models.Index(fields=["copy_of"], name="event_copy", condition=models.Q(copy_of__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"event {self.pk} ({masked_topic(self.topic) or self.source})"

    @property
    def is_finished(self) -> bool:
        return self.next_attempt_at is None

    def ask_again(self, *, trigger: str, by: str = "") -> None:
        """Make it due now. Earlier attempts stay as they are: the history is append-only."""
        self._save(
            state=State.PENDING,
            outcome="",
            reason="",
            attempts=0,
            finished_at=None,
            next_attempt_at=clock.now(),
            trigger=trigger,
            requested_by=by,
        )

    def retry_now(self, *, by: str) -> None:
        """Its next try is due at once; the attempts that it has used up stay counted."""
        self._save(next_attempt_at=clock.now(), trigger="retry", requested_by=by)

    def park(self, words: str) -> None:
        """A person stops it."""
        self._save(**_finished(State.PARKED, self.outcome, self._after(words)))

    def resolve(self, words: str) -> None:
        """A person saw to it in another way."""
        self._save(**_finished(State.DONE, Outcome.RESOLVED, self._after(words)))

    def _after(self, words: str) -> str:
        return f"{words}. Before that: {self.reason}" if self.reason else f"{words}."

    def _save(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.save(update_fields=[*values])


class RefusedDelivery(models.Model):
    """A delivery that was not let in. Only the latest are kept, without bodies: strangers must not fill a disk."""

    source = models.CharField(max_length=32)
    connection = models.SlugField(max_length=40, db_index=False, default="", db_default="")
    reason = models.CharField(max_length=32, help_text="The word that was answered, e.g. bad_signature")
    detail = models.CharField(max_length=200, blank=True)
    headers = models.JSONField(default=dict, blank=True, help_text="Secrets masked, bounded")
    body_sha256 = models.CharField("SHA-256 of the body", max_length=64, blank=True)
    body_bytes = models.PositiveIntegerField("bytes", default=0)
    remote_addr = models.CharField("from address", max_length=64, blank=True)
    received_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = "refused delivery"
        verbose_name_plural = "refused deliveries"

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class RefusalCount(models.Model):
    """How many deliveries were refused, ever, by connection and reason: the count outlives the kept rows."""

    source = models.CharField(max_length=32)
    connection = models.SlugField(max_length=40, db_index=False, default="", db_default="")
    reason = models.CharField(max_length=32)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "reason", "connection"], name="refusal_count_once")]

    def __str__(self) -> str:
        return f"{self.source}/{self.reason}: {self.count}"


class DeliveryDuration(models.Model):
    """A bucket of the histogram of how long deliveries took (`webhooks.durations`)."""

    source = models.CharField(max_length=32)
    connection = models.SlugField(max_length=40, db_index=False)
    bucket = models.PositiveSmallIntegerField()
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="Of all of them together")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["source", "connection", "bucket"], name="delivery_duration_once")
        ]

    def __str__(self) -> str:
        return f"{self.source}, bucket {self.bucket}: {self.count}"
