"""The lifecycle's rows as staff type them, checked before they are saved."""

from typing import Any

from django import forms

from orders.defaults import LONGEST_STATUS
from orders.models import AllowedMove, StatusRule
from webhooks.connections import Bridge


def slug(status: str) -> str:
    """As the REST API writes it; wp-admin shows the same status with wc- before it."""
    status = status.strip().removeprefix("wc-")
    if len(status) > LONGEST_STATUS:
        raise forms.ValidationError(
            f"A WooCommerce status has at most {LONGEST_STATUS} letters after wc-. WooCommerce cuts off longer ones."
        )
    return status


class LifecycleForm(forms.ModelForm):
    bridge: Bridge | None = None
    "Of a row that is new."

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.bridge is not None and self.instance._state.adding:
            self.instance.bridge = self.bridge

    def _get_validation_exclusions(self) -> set[str]:
        """A row is unique within its bridge, whether or not the form shows that."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"bridge"}


class StatusRuleForm(LifecycleForm):
    class Meta:
        model = StatusRule
        fields = ("crm_status", "woo_status", "critical")

    def clean_woo_status(self) -> str:
        return slug(self.cleaned_data["woo_status"])


class AllowedMoveForm(LifecycleForm):
    class Meta:
        model = AllowedMove
        fields = ("from_status", "to_status")

    def clean_from_status(self) -> str:
        return slug(self.cleaned_data["from_status"])

    def clean_to_status(self) -> str:
        status = slug(self.cleaned_data["to_status"])
        if status == self.cleaned_data.get("from_status"):
            raise forms.ValidationError("A move cannot lead to the status where it starts.")
        return status
