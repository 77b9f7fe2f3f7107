"""The field maps of the bridges: one that is being made, and all that were switched on."""

from typing import Any

from django.db import models
from django.utils import timezone

from webhooks.connections import HANGS_ON_A_BRIDGE, Bridge


class FieldMapVersion(models.Model):
    """A map as it was switched on, which never changes again; or the draft of a bridge (version 0)."""

    DRAFT = 0

    id = models.BigAutoField(primary_key=True)
    bridge = models.ForeignKey(Bridge, **HANGS_ON_A_BRIDGE, editable=False)
    version = models.PositiveIntegerField(default=DRAFT, help_text="0: the draft")
    rows = models.JSONField(default=list, blank=True, null=True, help_text="Null: no draft is being made")
    listed = models.JSONField(default=dict, blank=True, help_text="Beside the draft: the CRM's fields, and since when")
    actor = models.CharField(max_length=150, blank=True, help_text="Who switched it on, or edited the draft last")
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-version"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["bridge", "version"], name="field_map_version_once")]

    def __str__(self) -> str:
        return f"field map {self.version}" if self.version else "draft of a field map"

    @classmethod
    def draft_of(cls, bridge: int) -> "FieldMapVersion | None":
        return cls._default_manager.filter(bridge=bridge, version=cls.DRAFT).first()

    @classmethod
    def newest_of(cls, bridge: int) -> "FieldMapVersion | None":
        """That was switched on."""
        return cls._default_manager.filter(bridge=bridge, version__gt=cls.DRAFT).order_by("-version").first()

    @property
    def targets(self) -> list[Any]:
        return [row.get("target") for row in self.rows or ()]
