"""The forms with which a bridge is made, and its statuses are mapped."""

from typing import Any

from django import forms
from django.db.models import Q
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.asking import ReasonForm
from sync.clients.crm.base import Status
from sync.monitoring.bridging import LEFT_ALONE, is_linked
from sync.monitoring.connecting import free_slug
from webhooks.connections import WOOCOMMERCE, Bridge, Connection

PARK = "– none: such an order waits for a person –"
NOT_APPLIED = "– do not apply: the shop keeps its status –"
MOST_ORDERS = 25


class BridgeForm(forms.ModelForm):
    """`clean` of the model says whether two bridges would give one CRM account the same names."""

    class Meta:
        model = Bridge
        fields = ("name", "shop", "crm", "external_id_prefix")
        labels = {"crm": "CRM", "external_id_prefix": "Prefix of order numbers in the CRM"}
        help_texts = {
            "name": "What you call this pair here, as in Germany",
            "shop": "A shop can be in one bridge only",
            "crm": "Several shops may share one CRM",
            "external_id_prefix": "Goes before the shop's order number wherever the CRM is told it, as in shop-b-. "
            "Needed as soon as two shops share a CRM. It cannot be changed once orders are linked",
        }
        widgets = {
            "name": UnfoldAdminTextInputWidget,
            "external_id_prefix": UnfoldAdminTextInputWidget,
            "shop": UnfoldAdminSelectWidget,
            "crm": UnfoldAdminSelectWidget,
        }

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        there = Connection.objects.filter(archived_at=None).order_by("pk")
        self.fields["shop"].queryset = there.filter(kind=WOOCOMMERCE, bridge=None)  # type: ignore[attr-defined]
        self.fields["crm"].queryset = there.filter(~Q(kind=WOOCOMMERCE))  # type: ignore[attr-defined]
        self.fields["crm"].required = True

    def save(self, commit: bool = True) -> Bridge:
        bridge: Bridge = super().save(commit=False)
        bridge.slug = free_slug(Bridge, bridge.name)
        bridge.save()
        return bridge


class EditBridgeForm(ReasonForm, forms.ModelForm):
    """Its name; and its prefix as long as the CRM knows no order by it."""

    class Meta(BridgeForm.Meta):
        fields = ("name", "external_id_prefix")  # type: ignore[assignment]

    field_order = ("name", "external_id_prefix", "reason")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.instance.is_environment:
            del self.fields["external_id_prefix"]
        elif is_linked(self.instance):
            self.fields["external_id_prefix"].disabled = True
            self.fields["external_id_prefix"].help_text = "Orders are linked, so the CRM knows them by it. It stays"


class MappingForm(forms.Form):
    """One choice for each status of the CRM, from what the shop knows now."""

    def __init__(self, mapping: list[tuple[Status, str]], shop: tuple[str, ...], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.names = {f"status-{place}": one.name for place, (one, _) in enumerate(mapping)}
        for place, (one, chosen) in enumerate(mapping):
            known = sorted({*shop, chosen} - {"", LEFT_ALONE})
            choices = [("", PARK), (LEFT_ALONE, NOT_APPLIED), *((name, _worded(name, shop)) for name in known)]
            label = one.name if one.label == one.name else f"{one.label} ({one.name})"
            self.fields[f"status-{place}"] = forms.ChoiceField(
                label=label,
                choices=choices,
                initial=chosen,
                required=False,
                widget=UnfoldAdminSelectWidget(choices=choices),
            )

    def chosen(self) -> dict[str, str]:
        return {name: self.cleaned_data[field] for field, name in self.names.items()}


def _worded(name: str, shop: tuple[str, ...]) -> str:
    return name if not shop or name in shop else f"{name} (the shop does not know it)"


class DryRunForm(forms.Form):
    orders = forms.IntegerField(
        label="Latest orders",
        min_value=1,
        max_value=MOST_ORDERS,
        initial=10,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=f"How many of the shop's latest orders are looked at, at most {MOST_ORDERS}",
    )
