"""The form that asks for the options of a run, and its fields."""

from datetime import UTC, date, datetime, time
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
from webhooks.connections import Bridge

FASTEST = 60_000
SLUGS = RegexValidator(r"^[a-z0-9-]+(\s*,\s*[a-z0-9-]+)*$", "Write statuses like the shop does: processing, on-hold")


class RunForm(ReasonForm):
    """Each field but the reason is an option of the run: `name` is `--name` of `manage.py run`."""

    def chosen(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "reason"}


class BridgeRunForm(RunForm):
    """Of a run about one bridge. Nobody is asked for it where there is only one."""

    bridge = forms.ChoiceField(widget=UnfoldAdminSelectWidget, label="Bridge", help_text="Its short name")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        there = Bridge.objects.filter(archived_at=None, crm__isnull=False).order_by("pk")
        choices = list(there.values_list("slug", "name"))
        if len(choices) < 2:
            del self.fields["bridge"]
            return
        self.fields["bridge"].choices = [("", "Choose one"), *choices]  # type: ignore[attr-defined]
        self.fields["bridge"].help_text = "Of whose orders"
        self.order_fields(["bridge", *(self.field_order or ())])

    def chosen(self) -> dict[str, Any]:
        said = super().chosen()
        if slug := said.get("bridge"):
            said["bridge"] = Bridge.objects.get(slug=slug).pk
        return said


class DayWidget(UnfoldAdminTextInputWidget):
    """The browser's own calendar."""

    input_type = "date"


def flag(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(required=False, widget=UnfoldBooleanWidget, label=label, help_text=help_text)


def dry_run() -> forms.BooleanField:
    return flag("Dry run", "Only count the changes. Nothing is written, neither here nor on either side.")


def day(label: str, help_text: str) -> forms.DateField:
    return forms.DateField(required=False, widget=DayWidget, label=label, help_text=help_text, validators=[not_to_come])


def not_to_come(chosen: date) -> None:
    if chosen > timezone.now().date():
        raise forms.ValidationError("This day is in the future. Choose today or an earlier day.")


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


def listed(written: str) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(one.strip() for one in written.split(",") if one.strip()))
