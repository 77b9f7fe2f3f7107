"""Which orders a bridge sends: the form of its rule, tried on the shop's latest orders before it is saved."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.validators import RegexValidator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from orders import audit
from orders.asking import ReasonForm
from sync.admin.connection_pages import BRIDGES, form_page, guarded, told
from sync.clients import shop as shop_client
from sync.clients.errors import SideError
from sync.jobs.forms import listed, text
from sync.pipeline.sending import NAMES_AT_ONCE, SENDS, SUB_ORDERS, SendingRule, sends
from webhooks.backoffice.pages import page_of
from webhooks.connections import Bridge
from webhooks.masking import masked_text

TRIED_ON = 50
"""Of the shop's latest orders: one page of its list."""
NAMED = 20
SLUGS = RegexValidator(r"^[\w-]+(\s*,\s*[\w-]+)*$", "Write short names with commas: processing, completed.")
COUNTRIES = RegexValidator(r"^[A-Za-z]{2}(\s*,\s*[A-Za-z]{2})*$", "Write two letters each, with commas: DE, AT.")


class SendingForm(ReasonForm):
    statuses = text("Statuses", "Of the shop, separated by commas. Empty: any.", validators=[SLUGS])
    minimum_total = forms.DecimalField(
        label="Minimum total",
        help_text="In the currency of the order. Empty: any.",
        required=False,
        min_value=Decimal("0.01"),
        max_digits=12,
        decimal_places=2,
        widget=UnfoldAdminTextInputWidget,
    )
    payment_methods = text(
        "Payment methods", "Their ids in WooCommerce, as bacs, paypal. Empty: any.", validators=[SLUGS]
    )
    countries = text(
        "Countries", "Of the delivery, or else of the invoice, as DE, AT. Empty: any.", validators=[COUNTRIES]
    )
    meta_key = text("Meta field", "An order has to have it. Empty: none is asked for.")
    meta_value = text("Its value", "Empty: any value will do.")
    sub_orders = forms.ChoiceField(
        label="Sub-orders",
        help_text="That a plugin for marketplaces makes of another order.",
        choices=list(SUB_ORDERS.items()),
        widget=UnfoldAdminSelectWidget,
    )
    names_at_once = forms.BooleanField(
        label="Tell the shop the CRM's id at once",
        help_text="Otherwise the first status that is written brings it, and costs no call.",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )
    field_order = ("statuses", "minimum_total", "payment_methods", "countries", "meta_key", "meta_value", "sub_orders")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        if said.get("meta_value") and not said.get("meta_key"):
            self.add_error("meta_key", "Name the meta field that has to have this value.")
        return said

    @property
    def rule(self) -> SendingRule:
        said = self.cleaned_data
        return SendingRule(
            statuses=tuple(listed(said["statuses"])),
            minimum_total=said["minimum_total"],
            payment_methods=tuple(listed(said["payment_methods"])),
            countries=tuple(listed(said["countries"].upper())),
            meta_key=said["meta_key"],
            meta_value=said["meta_value"],
            sub_orders=said["sub_orders"],
        )


def _as_it_is(bridge: Bridge) -> dict[str, Any]:
    said = SendingRule.of(bridge.options.get(SENDS, {})).as_json()
    words = {name: ", ".join(value) if isinstance(value, list) else value for name, value in said.items()}
    return {"sub_orders": "send", **words, "names_at_once": bool(bridge.options.get(NAMES_AT_ONCE))}


@guarded(BRIDGES)
def sending_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """A rule is saved once it was tried; where the shop cannot be asked, a person may save it all the same."""
    form = SendingForm(request.POST or None, initial=_as_it_is(row))
    told_of: list[str] = []
    if form.is_valid():
        try:
            told_of = _try(row, form.rule)
        except SideError as error:
            messages.warning(request, f"The rule could not be tried: {told(error)}")
            told_of = ["The rule could not be tried on the shop's latest orders."]
        tried = form.rule.as_json()
        if "try" not in request.POST and (told_of[0].startswith("The rule") or request.POST.get("tried") == str(tried)):
            _save(request, row, form)
            messages.success(request, "The rule is saved. A backfill sends what it let in of the orders of before.")
            return HttpResponseRedirect(page_of(row))
    return form_page(
        owner,
        request,
        title=f"Which orders are sent: {row}",
        words="An order has to fulfil all that is filled in. Orders that are linked go on whatever stands here. The "
        "rule is tried on the shop's latest orders first; then it can be saved.",
        listed=told_of,
        form=form,
        button="Save" if told_of else "Try it",
        back=page_of(row),
        extra_button=("try", "Try it again") if told_of else None,
        hidden=[("tried", str(form.rule.as_json()))] if told_of else [],
    )


def _try(bridge: Bridge, rule: SendingRule) -> list[str]:
    """Which of the shop's latest orders it leaves out, and why. Raises SideError."""
    query = {"per_page": str(TRIED_ON), "orderby": "date", "order": "desc", "status": "any"}
    orders = shop_client.connect_to(bridge.shop_config).orders(query).orders
    why = {order.woo_id: sends(rule, order.order)[1] for order in orders}
    out = [f"Order {woo_id}: {masked_text(words)}" for woo_id, words in why.items() if words]
    more = [f"And {len(out) - NAMED} more."] if len(out) > NAMED else []
    return [f"Of the latest {len(orders)} orders, {len(out)} would be left out.", *out[:NAMED], *more]


def _save(request: HttpRequest, bridge: Bridge, form: SendingForm) -> None:
    after = {SENDS: form.rule.as_json(), NAMES_AT_ONCE: form.cleaned_data["names_at_once"]}
    with transaction.atomic():
        row = Bridge.objects.select_for_update().get(pk=bridge.pk)
        before = {name: row.options.get(name) for name in after}
        row.options = {**row.options, **after}
        row.save(update_fields=["options"])
        audit.record(
            "bridge: which orders are sent",
            actor=request.user.get_username(),
            reason=form.cleaned_data["reason"],
            result=f"{row}: {after[SENDS] or 'all orders'}",
            bridge=row.slug,
            before=before,
            after=after,
        )
