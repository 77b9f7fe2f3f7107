"""What staff may start: each kind of run with the form that asks for its options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from orders.asking import ReasonForm
from sync.jobs import backfill, drift, reconciliation, resync
from sync.models import Run

FASTEST = 60_000
SLUGS = RegexValidator(r"^[a-z0-9-]+(\s*,\s*[a-z0-9-]+)*$", "Write statuses as the shop does: processing, on-hold")


class RunForm(ReasonForm):
    """Each field but the reason is an option of the run."""

    def chosen(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "reason"}


class DayWidget(UnfoldAdminTextInputWidget):
    """The browser's own calendar."""

    input_type = "date"


def flag(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(required=False, widget=UnfoldBooleanWidget, label=label, help_text=help_text)


def dry_run() -> forms.BooleanField:
    return flag("Dry run", "Only count what would be done. Nothing is written, here or at either side.")


def day(label: str, help_text: str) -> forms.DateField:
    return forms.DateField(required=False, widget=DayWidget, label=label, help_text=help_text, validators=[not_to_come])


def not_to_come(chosen: date) -> None:
    if chosen > timezone.now().date():
        raise forms.ValidationError("Nothing was changed on a day that is to come: choose today or before.")


def number(label: str, help_text: str, highest: int) -> forms.IntegerField:
    return forms.IntegerField(
        required=False,
        min_value=1,
        max_value=highest,
        widget=UnfoldAdminIntegerFieldWidget,
        label=label,
        help_text=help_text,
    )


def text(label: str, help_text: str, **kwargs: Any) -> forms.CharField:
    return forms.CharField(
        required=False, max_length=500, widget=UnfoldAdminTextInputWidget, label=label, help_text=help_text, **kwargs
    )


def midnight(chosen: date | None) -> datetime | None:
    return datetime.combine(chosen, time.min, tzinfo=UTC) if chosen else None


class ReconcileForm(RunForm):
    deep = flag("Deep", "The last days again, and orders that were deleted for good: as every night.")
    confirm_deleted = flag(
        "They are really gone",
        "Deep, and however many orders are gone from the shop, the CRM is told. For when more than a few were found "
        "gone at once and you know that it is so.",
    )
    dry_run = dry_run()
    field_order = ("deep", "confirm_deleted", "dry_run", "reason")


class BackfillForm(RunForm):
    since = day("Changed since", "Empty: from the shop's first order on.")
    until = day("Changed until", "This day included. Empty: up to now.")
    statuses = text("Statuses", "With commas between. Empty: all but drafts.", validators=[SLUGS])
    limit = number("At most", "Orders to look at. Empty: all.", 10_000_000)
    per_minute = number("Speed limit", "Orders a minute. Empty: as fast as both sides answer.", FASTEST)
    restart = flag("Begin anew", "Instead of going on where one with the same options was stopped.")
    dry_run = dry_run()
    field_order = ("since", "until", "statuses", "limit", "per_minute", "restart", "dry_run", "reason")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        since, until = said.get("since"), said.get("until")
        if since and until and since > until:
            self.add_error("until", "This is before the first day. Put it behind it, or leave it empty.")
        return said

    def chosen(self) -> dict[str, Any]:
        said = super().chosen()
        last = said["until"]
        return {
            **said,
            "since": midnight(said["since"]),
            "until": midnight(last + timedelta(days=1) if last else None),
            "statuses": _listed(said["statuses"]),
        }


class ResyncForm(RunForm):
    which = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget,
        choices=[
            ("drifted", "Those that drift found to differ"),
            ("orders", "The orders named below"),
            ("since", "Those that the CRM changed since the day below"),
            ("everything", "All linked orders"),
        ],
    )
    orders = text("Orders", "By either id, with commas between.")
    since = day("Changed since", "In the CRM.")
    per_minute = number("Speed limit", "Orders a minute. Empty: as fast as both sides answer.", FASTEST)
    restart = flag("Begin anew", "Instead of going on where one with the same options was stopped.")
    dry_run = dry_run()
    field_order = ("which", "orders", "since", "per_minute", "restart", "dry_run", "reason")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        which = said.get("which")
        if which in ("orders", "since") and which not in self.errors and not said.get(which):
            self.add_error(which, "Say which, or choose another way above.")
        return said

    def chosen(self) -> dict[str, Any]:
        said = super().chosen()
        which = said.pop("which")
        return {
            **said,
            "orders": _listed(said["orders"]) if which == "orders" else [],
            "since": midnight(said["since"]) if which == "since" else None,
            "everything": which == "everything",
            "drifted": which == "drifted",
        }


def _listed(written: str) -> list[str]:
    return [one.strip() for one in written.split(",") if one.strip()]


@dataclass(frozen=True, kw_only=True)
class Starter:
    """A kind of run that staff may start: what it does, what it has to be told, and how it begins."""

    words: str
    form: type[RunForm]
    start: Callable[..., Run]


STARTERS: Mapping[str, Starter] = {
    Run.Kind.RECONCILE: Starter(
        words="Both sides are asked what changed since the last time, and what no delivery told us of becomes an "
        "event. It also runs on a schedule.",
        form=ReconcileForm,
        start=reconciliation.start,
    ),
    Run.Kind.BACKFILL: Starter(
        words="The shop's orders are walked through; each is created or found in the CRM, and linked. An order that is "
        "linked already and as the CRM has it costs nothing.",
        form=BackfillForm,
        start=backfill.start,
    ),
    Run.Kind.RESYNC: Starter(
        words="The CRM's state of linked orders is read and the shop brought to it, by the same path as an event: what "
        "the lifecycle does not allow is refused here, too.",
        form=ResyncForm,
        start=resync.start,
    ),
    Run.Kind.DRIFT: Starter(
        words="Every link is compared on both sides. What differs stands in the list of drift, to be repaired or "
        "ignored. Nothing is written to either side.",
        form=RunForm,
        start=drift.start,
    ),
}
