"""Which order here is which order there, what may happen to it, and everything that did."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NoReturn, Self

from django.db import models, transaction
from django.utils import timezone
from simple_history.models import HistoricalRecords

from orders.keys import is_signed, sign
from webhooks.connections import DEFAULT_BRIDGE, HANGS_ON_A_BRIDGE, Bridge
from webhooks.models import WebhookEvent
from webhooks.texts import is_number

STAFF, SEALS = 0, -1
"""The chains that are not an order's."""


class OrderLinkQuerySet(models.QuerySet["OrderLink"]):
    def named(self, term: str) -> Self:
        """By the id at either side, or by the number on the invoice, exactly: so that each index serves."""
        wanted = models.Q(crm_order_id=term) | models.Q(number=term, number__gt="")
        if is_number(term):
            wanted |= models.Q(woo_id=int(term))
        return self.filter(wanted)

    def of_row(self) -> Self:
        """For a subquery: that of the row's order, in the row's bridge, as other shops have the same numbers."""
        return self.filter(bridge=models.OuterRef("bridge"), woo_id=models.OuterRef("woo_id"))

    def by_woo_id(self, ids: Iterable[int]) -> dict[int, "OrderLink"]:
        """Of one bridge."""
        return {link.woo_id: link for link in self.filter(woo_id__in=list(ids))}

    def by_crm_order_id(self, ids: Iterable[str]) -> dict[str, "OrderLink"]:
        """Of one bridge."""
        return {link.crm_order_id: link for link in self.filter(crm_order_id__in=list(ids))}


class PairSignature(models.CharField):
    """Made with the row, and never again: a pair that somebody changed must not be signed by the next who saves it."""

    def pre_save(self, model_instance: "OrderLink", add: bool) -> Any:  # type: ignore[override]
        if add:
            model_instance.sign()
        return super().pre_save(model_instance, add)


class OrderLink(models.Model):
    """One order, known on both sides."""

    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    woo_id = models.BigIntegerField("shop order")
    number = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="On the invoice, where a plugin of the shop gives orders numbers of their own",
    )
    crm_order_id = models.CharField("CRM order", max_length=64)
    crm_status = models.CharField(
        "CRM status", max_length=64, blank=True, help_text="The CRM's status when we last saw it; empty: never compared"
    )
    crm_version = models.BigIntegerField("CRM version", null=True, blank=True)
    crm_updated_at = models.DateTimeField("changed in the CRM", null=True, blank=True)
    woo_status = models.CharField(
        "shop status", max_length=64, blank=True, help_text="The shop's status when we last saw it"
    )
    woo_fingerprint = models.CharField(
        max_length=64, blank=True, help_text="Hash of the fields we carry, as last read or written"
    )
    written_by_us = models.BooleanField(default=False, help_text="The fingerprint is that of our own write")
    identity = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="What makes the shop's order this one and no other: hash of its key, creation time",
    )
    external_id = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="By which the CRM knew the shop's order when we last saw it",
    )
    totals = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="The CRM's total, the shop's and the currency, if they differed when they were compared last",
    )
    totals_accepted = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="The difference that a person has accepted"
    )
    verified_at = models.DateTimeField(null=True, blank=True, help_text="When either side was last read")
    compared_in = models.BigIntegerField(null=True, blank=True, help_text="The run of drift that compared it last")
    created_at = models.DateTimeField(default=timezone.now)
    mac = PairSignature(
        max_length=64, blank=True, editable=False, db_default="", help_text="Of the pair of ids, with AUDIT_KEYS"
    )

    objects = OrderLinkQuerySet.as_manager()

    class Meta:
        verbose_name = "order"
        constraints = [
            models.UniqueConstraint(fields=["woo_id", "bridge"], name="link_of_shop_order"),
            models.UniqueConstraint(fields=["crm_order_id", "bridge"], name="link_of_crm_order"),
        ]
        indexes = [models.Index(fields=["number"], name="link_number", condition=models.Q(number__gt=""))]
        permissions = [
            ("check_orderlink", "Can compare an order on both sides, and repair it"),
            ("force_orderlink", "Can force a move that the lifecycle refuses"),
        ]

    def __str__(self) -> str:
        return f"{self.woo_id}{f' (no. {self.number})' if self.number else ''} ↔ {self.crm_order_id}"

    def sign(self) -> None:
        """Whoever gives an order another id on either side, for a reason, signs the pair anew."""
        self.mac = sign(*self._pair)

    @property
    def is_ours(self) -> bool:
        return is_signed(self.mac, *self._pair)

    @property
    def _pair(self) -> tuple[object, ...]:
        """Pairs of the default bridge were signed before there were others."""
        of = () if self.bridge_id == DEFAULT_BRIDGE else (self.bridge_id,)
        return ("order", *of, self.woo_id, self.crm_order_id)


class StatusRule(models.Model):
    """A status of the CRM, and the WooCommerce status that shows it. A status without a rule parks its event."""

    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE)
    crm_status = models.CharField("CRM status", max_length=64)
    woo_status = models.CharField(
        "shop status", max_length=64, blank=True, help_text="Without the prefix wc-. Empty: it is not applied"
    )
    critical = models.BooleanField(default=False, help_text="Always read back from the CRM, whatever VERIFY says")
    history = HistoricalRecords()

    class Meta:
        ordering = ["crm_status"]
        constraints = [models.UniqueConstraint(fields=["crm_status", "bridge"], name="rule_once")]
        verbose_name = "status rule"

    def __str__(self) -> str:
        return f"{self.crm_status} → {self.woo_status or 'not applied'}"


class AllowedMove(models.Model):
    """One step of the lifecycle. A move is allowed if a chain of steps leads there."""

    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE)
    from_status = models.CharField(max_length=64)
    to_status = models.CharField(max_length=64)
    history = HistoricalRecords()

    class Meta:
        ordering = ["from_status", "to_status"]
        constraints = [models.UniqueConstraint(fields=["from_status", "to_status", "bridge"], name="move_once")]
        verbose_name = "allowed move"

    def __str__(self) -> str:
        return f"{self.from_status} → {self.to_status}"


class Decision(models.TextChoices):
    APPLIED = "applied", "Applied"
    REFUSED = "refused", "Refused"
    FORCED = "forced", "Forced"


class ChainHead(models.Model):
    """How long a chain of history is and how it ends: without it nobody could tell that its newest rows are gone."""

    id = models.BigIntegerField(primary_key=True, help_text="The link of the order; 0: staff actions; -1: checkpoints")
    length = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, blank=True, help_text="Of the newest row")
    mac = models.CharField(max_length=64, help_text="Signed with AUDIT_KEYS, which the database does not hold")

    def __str__(self) -> str:
        return f"chain {self.pk}: {self.length} rows"

    @classmethod
    def locked(cls, chain: int, rows: models.QuerySet[Any]) -> "ChainHead":
        """Where the next of the chain's rows goes. Nobody else adds one until the transaction ends."""
        head = cls._lock(chain)
        # Not the whole row: what somebody slipped in may be unreadable, and must not stop the chain.
        length, digest = rows.order_by("-sequence").values_list("sequence", "hash").first() or (0, "")
        if length and (head is None or not head.length):
            head = cls._lock(chain)  # the first row of all came between our two looks, and its head with it
        if head is None:
            return cls(pk=chain, length=length, hash=digest)
        # A row that somebody slipped in keeps its place, and is missed by the row that follows.
        head.length = max(head.length, length)
        return head

    @classmethod
    def _lock(cls, chain: int) -> "ChainHead | None":
        return cls._default_manager.select_for_update().filter(pk=chain).first()

    def move_to(self, digest: str) -> None:
        """One row longer. Rows whose head was removed get none again: that must stay visible. `migrate` made those of
        the chains that are not an order's."""
        is_lost = self._state.adding and (self.length > 0 or self.pk in (STAFF, SEALS))
        self.length, self.hash = self.length + 1, digest
        self.mac = sign(self.pk, self.length, self.hash)
        if not is_lost:
            self.save(force_insert=self._state.adding)

    @property
    def is_ours(self) -> bool:
        return is_signed(self.mac, self.pk, self.length, self.hash)


HASHED = 2
"""The version of what is hashed of a transition or a staff action. Each row keeps its own: those of version 1, before
Orderbridge 0.4, have none (NULL, so that no large table is written anew), and are verified as they were hashed."""


class StatusTransition(models.Model):
    """One decision about a status: applied, refused or forced. Rows are only ever added."""

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(OrderLink, on_delete=models.PROTECT, related_name="transitions")
    sequence = models.PositiveIntegerField(help_text="1, 2, 3 … within the order")
    from_status = models.CharField(max_length=64)
    to_status = models.CharField(max_length=64)
    decision = models.CharField(max_length=8, choices=Decision.choices)
    reason = models.TextField()
    crm_status = models.CharField("CRM status", max_length=64, blank=True)
    crm_version = models.BigIntegerField("CRM version", null=True, blank=True)
    crm_answer = models.JSONField(default=dict, blank=True, help_text="What the CRM said when we read the order")
    # NULL: see HASHED.
    schema = models.CharField(  # noqa: DJ001
        max_length=32, null=True, blank=True, help_text="The schema with which the event was read"
    )
    version = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of what is hashed")
    event = models.ForeignKey(WebhookEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="transitions")
    actor = models.CharField(max_length=150, blank=True, help_text="Empty: the worker")
    created_at = models.DateTimeField(default=timezone.now)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]
        verbose_name = "status transition"
        permissions = [
            ("verify_statustransition", "Can verify the audit"),
            ("export_statustransition", "Can export the audit"),
        ]
        constraints = [models.UniqueConstraint(fields=["link", "sequence"], name="transition_sequence")]

    def __str__(self) -> str:
        return f"{self.from_status} → {self.to_status} ({self.decision})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A transition is never changed; log another one.")
        self.crm_answer, self.version = as_kept(self.crm_answer), HASHED
        with transaction.atomic(savepoint=False):
            head = ChainHead.locked(self.link_id, StatusTransition.objects.filter(link=self.link_id))
            self.sequence, self.previous_hash = head.length + 1, head.hash
            self.hash = self.content_hash()
            super().save(*args, **kwargs)
            head.move_to(self.hash)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("A transition is never deleted.")

    def content_hash(self) -> str:
        """SHA-256 over everything this row says and the hash of the row before it."""
        said: dict[str, Any] = {
            "link": self.link_id,
            "sequence": self.sequence,
            "from": self.from_status,
            "to": self.to_status,
            "decision": str(self.decision),
            "reason": self.reason,
            "crm_status": self.crm_status,
            "crm_version": self.crm_version,
            "crm_answer": self.crm_answer,
            "event": self.event_id,
            "actor": self.actor,
            "at": self.created_at.isoformat(),
            "previous": self.previous_hash,
        }
        if self.version is not None or self.schema is not None:
            said |= {"version": self.version, "schema": self.schema}
        return digest(said)


class StaffAction(models.Model):
    """What a person did, why, and what came of it. Rows are only ever added; one chain holds them all."""

    id = models.BigAutoField(primary_key=True)
    sequence = models.PositiveBigIntegerField(unique=True, help_text="1, 2, 3 …")
    action = models.CharField(max_length=32, help_text="replay, dry run, force, pause, reveal …")
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    result = models.TextField(blank=True, help_text="In words: what came of it")
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="staff_actions"
    )
    link = models.ForeignKey(OrderLink, on_delete=models.PROTECT, null=True, blank=True, related_name="staff_actions")
    details = models.JSONField(default=dict, blank=True)
    version = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of what is hashed")
    created_at = models.DateTimeField(default=timezone.now)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]
        verbose_name = "staff action"

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A staff action is never changed; record another one.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("A staff action is never deleted.")

    def content_hash(self) -> str:
        """SHA-256 over everything this row says and the hash of the row before it."""
        said: dict[str, Any] = {
            "sequence": self.sequence,
            "action": self.action,
            "actor": self.actor,
            "reason": self.reason,
            "result": self.result,
            "event": self.event_id,
            "link": self.link_id,
            "details": self.details,
            "at": self.created_at.isoformat(),
            "previous": self.previous_hash,
        }
        if self.version is not None:
            said["version"] = self.version
        return digest(said)


class AuditSeal(models.Model):
    """What there was of history at one moment, of all orders together: an order that vanished as a whole is missed."""

    id = models.BigAutoField(primary_key=True)
    sequence = models.PositiveBigIntegerField(unique=True, help_text="1, 2, 3 …")
    upto = models.BigIntegerField(help_text="The newest transition that it covers")
    rows = models.PositiveBigIntegerField(help_text="Transitions since the checkpoint before it")
    rows_digest = models.CharField(max_length=64, help_text="Over their ids and hashes, and over the digest before it")
    staff_length = models.PositiveBigIntegerField(help_text="Staff actions until then")
    staff_hash = models.CharField(max_length=64, blank=True)
    version = models.PositiveSmallIntegerField(default=1, help_text="1 covers no more than that")
    links_upto = models.BigIntegerField(default=0, help_text="The newest order that it covers")
    links = models.PositiveBigIntegerField(default=0, help_text="Orders since the checkpoint before it")
    links_digest = models.CharField(
        max_length=64, blank=True, help_text="Over their ids here and in the shop, and over the digest before it"
    )
    chains = models.PositiveBigIntegerField(default=0, help_text="Orders with transitions")
    lifecycle = models.JSONField(
        default=dict,
        help_text="By table of old versions: up to where it covers them, and the new ones",
    )
    created_at = models.DateTimeField(default=timezone.now)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    def content_hash(self) -> str:
        """SHA-256 over everything this row says and the hash of the row before it."""
        said: dict[str, Any] = {
            "sequence": self.sequence,
            "upto": self.upto,
            "rows": self.rows,
            "digest": self.rows_digest,
            "staff": [self.staff_length, self.staff_hash],
            "at": self.created_at.isoformat(),
            "previous": self.previous_hash,
        }
        if self.version > 1:
            said["version"] = self.version
            said["links"] = [self.links_upto, self.links, self.links_digest]
            said["chains"], said["lifecycle"] = self.chains, self.lifecycle
        return digest(said)


def digest(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def as_kept(value: Any) -> Any:
    """JSON as every database gives it back: PostgreSQL's jsonb makes 1e16 an integer and -0.0 a plain zero."""
    if isinstance(value, dict):
        return {name: as_kept(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_kept(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and (abs(value) >= LARGE or not value):
        return int(value)
    return value


LARGE = 1e16
"""From here on Python writes a float with an exponent."""
