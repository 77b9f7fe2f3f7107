"""Shops and CRMs: who we talk to, how each is doing, and the way to connect another."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import action

from orders import audit
from orders.asking import NotDone, ask_reason
from sync.admin import connect_crm, connect_shop, connection_checks
from sync.admin.connection_pages import BRIDGES, CREDENTIALS, guarded, told
from sync.clients import crm as crm_backends
from sync.clients.errors import SideError
from sync.monitoring import connecting
from sync.monitoring.connecting import delivery_url
from webhooks import clock, credentials
from webhooks.backoffice.display import badge, time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of, page_of, text_link
from webhooks.connections import Connection

CHECK = "orders.check_orderlink"
ROTATE = (
    "The shop's webhooks get a new secret of ours. Deliveries that are signed with the one before are still accepted, "
    "so none is lost. Once deliveries arrive with the new one, come back and forget the old."
)


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    list_display = ("name", "what", "address", "standing", "bridged")
    ordering = ("pk",)
    fields = ("name", "slug", "what", "address", "more", "secrets", "delivers_to", "standing", "bridged", "since")
    actions_list = ("add_shop", "choose_crm")
    actions_detail = ("examine", "keys", "rotate", "addresses", "remove")
    has_check_permission = may(CHECK)
    change_form_outer_before_template = "sync/connection/next.html"

    @admin.display(description="Kind")
    def what(self, one: Connection) -> str:
        if connect_shop.is_shop(one):
            return "WooCommerce shop"
        built_in = one.kind in crm_backends.BACKENDS
        return f"CRM: {crm_backends.backend(one.kind).title if built_in else one.kind}"

    @admin.display(description="Address")
    def address(self, one: Connection) -> str:
        return _config(one, "url") or "–"

    @admin.display(description="Settings")
    def more(self, one: Connection) -> str:
        if one.is_environment:
            return "From the environment (.env). Locked here; change them there and restart."
        shown = [f"{name}: {value}" for name, value in sorted(one.settings.items()) if name != "url" and value]
        return "; ".join(shown) or "–"

    @admin.display(description="Stored secrets")
    def secrets(self, one: Connection) -> str:
        """Their names only."""
        if one.is_environment:
            return "From the environment"
        try:
            return ", ".join(sorted(credentials.decrypt(one.credentials))) or "none"
        except credentials.WrongKey as error:
            return format_html("{} {} {}", badge("Unreadable", "danger"), error, error.advice)

    @admin.display(description="Delivers to")
    def delivers_to(self, one: Connection) -> str:
        return delivery_url(one)

    @admin.display(description="State")
    def standing(self, one: Connection) -> str:
        if one.archived_at:
            return badge("Archived")
        if one.is_environment and not _config(one, "url"):
            return badge("Not set in .env", "warning")
        return badge("From the environment", "info") if one.is_environment else badge("Connected", "success")

    @admin.display(description="Bridge")
    def bridged(self, one: Connection) -> str:
        bridges = connecting.bridges_of(one)
        return format_html_join(", ", "{}", ((text_link(page_of(one), one),) for one in bridges)) or "none"

    since = time_column("created_at", "Connected")

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        pages: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "type_keys": ("add-shop/keys/", connect_shop.type_keys_view),
            "approval": ("approval/<int:number>/", connect_shop.approval_view),
            "add_crm": ("add-crm/<slug:kind>/", connect_crm.add_crm_view),
        }
        return tuple((path, f"webhooks_connection_{name}", partial(view, self)) for name, (path, view) in pages.items())

    def page_context(self, request: HttpRequest, row: Connection) -> dict[str, Any]:
        """With the way on, for whoever is setting up a bridge."""
        return {"next_steps": _next(request, row)}

    # --- buttons ---------------------------------------------------------------------------------------------------

    def has_edit_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Those of the environment are locked."""
        return request.user.has_perm(CREDENTIALS) and (object_id is None or not _row(object_id).is_environment)

    def has_edit_shop_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_edit_permission(request, object_id) and connect_shop.is_shop(_row(object_id))

    @action(description="Add a shop", permissions=["edit"], url_path="add-shop", icon="add_business")
    def add_shop(self, request: HttpRequest) -> HttpResponse:
        return connect_shop.add_shop_view(self, request)

    @action(description="Add a CRM", permissions=["edit"], url_path="add-crm", icon="add_link")
    def choose_crm(self, request: HttpRequest) -> HttpResponse:
        return connect_crm.choose_crm_view(self, request)

    @action(description="Check", permissions=["check"], url_path="check", icon="stethoscope")
    def examine(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return connection_checks.check_view(self, request, pk=object_id)

    @action(description="Keys and settings", permissions=["edit"], url_path="keys", icon="key")
    @guarded(CREDENTIALS)
    def keys(self, request: HttpRequest, row: Connection) -> HttpResponse:
        edit = connect_shop.new_keys_of_shop if connect_shop.is_shop(row) else connect_crm.edit_crm
        return edit(self, request, row)

    @action(description="New webhook secret", permissions=["edit_shop"], url_path="rotate", icon="autorenew")
    @guarded(CREDENTIALS)
    def rotate(self, request: HttpRequest, row: Connection) -> HttpResponse:
        """With an old secret still accepted, this page forgets it; else it makes a new one."""
        old = len(row.shop_config.webhook_secrets) > 1

        def perform(said: dict[str, str]) -> str:
            did, by = f"webhooks: {'forget' if old else 'rotate'} secret", said["by"]
            try:
                (connecting.forget_old_secrets if old else connecting.rotate_webhook_secret)(row)
            except SideError as error:
                audit.record(did, actor=by, reason=said["reason"], result=f"{row}: {told(error)}")
                raise NotDone(f"{told(error)} Press the button again once that is mended. Nothing is lost.") from error
            audit.record(did, actor=by, reason=said["reason"], result=str(row))
            return "Only the newest secret is accepted now." if old else "The shop's webhooks sign with the new secret."

        return ask_reason(
            self,
            request,
            row,
            title=f"{'Forget the old webhook secret' if old else 'New webhook secret'}: {row}",
            words=_signed(row) if old else ROTATE,
            button="Forget the old one" if old else "Make a new one",
            perform=perform,
        )

    @action(description="Other addresses", permissions=["edit_shop"], url_path="addresses", icon="alternate_email")
    def addresses(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return connect_shop.other_addresses_view(self, request, pk=object_id)

    @action(description="Remove", permissions=["edit"], url_path="remove", icon="delete")
    @guarded(CREDENTIALS)
    def remove(self, request: HttpRequest, row: Connection) -> HttpResponse:
        """Deleted, if nothing hangs on it. Archived, if a bridge that is archived itself has its orders."""
        bridges = connecting.bridges_of(row)
        if using := [bridge for bridge in bridges if not bridge.archived_at]:
            names = ", ".join(map(str, using))
            messages.error(request, f"{row} is part of {names}. Archive that bridge first: its orders hang on it.")
            return HttpResponseRedirect(page_of(row))
        if row.archived_at:
            messages.info(request, f"{row} is archived already.")
            return HttpResponseRedirect(page_of(row))

        def perform(said: dict[str, str]) -> str:
            word = "archive" if bridges else "delete"
            result = f"{row} ({row.slug})"
            audit.record(f"connection: {word}", actor=said["by"], reason=said["reason"], result=result)
            if bridges:
                Connection.objects.filter(pk=row.pk).update(archived_at=clock.now(), credentials="")
                return f"{row} is archived, and its keys are forgotten. New keys would bring it back."
            row.delete()
            return f"{row} is deleted."

        words = "Its keys are forgotten, and its deliveries are refused. "
        words += "The row stays, as orders of an archived bridge hang on it." if bridges else "Nothing hangs on it."
        if connect_shop.is_shop(row):
            words += " Delete Orderbridge's webhooks and key in the shop as well."
        return ask_reason(
            self,
            request,
            row,
            words=words,
            button="Archive" if bridges else "Delete",
            back=page_of(row) if bridges else list_of(self),
            perform=perform,
        )


def _row(object_id: str | None) -> Connection:
    return get_object_or_404(Connection, pk=object_id)


def _next(request: HttpRequest, row: Connection) -> list[tuple[str, str]]:
    steps = []
    if request.user.has_perm(CHECK):
        steps.append(("See whether all is well", reverse("admin:webhooks_connection_examine", args=[row.pk])))
    if not connecting.bridges_of(row) and request.user.has_perm(BRIDGES):
        other = "choose_crm" if connect_shop.is_shop(row) else "add_shop"
        label = "Add a CRM" if connect_shop.is_shop(row) else "Add a shop"
        steps.append((label, reverse(f"admin:webhooks_connection_{other}")))
        steps.append(("Bridge it", reverse("admin:webhooks_bridge_new")))
    return steps


def _config(one: Connection, name: str) -> str:
    try:
        return str(getattr(one.config, name))
    except credentials.WrongKey:
        return str(one.settings.get(name, ""))


def _signed(row: Connection) -> str:
    """With which secret its latest delivery was signed."""
    latest = connecting.latest_delivery(row)
    if latest is None:
        said = "No delivery has come from this shop since."
    elif latest.signed_by.endswith(" key 1"):
        said = f"Its latest delivery, event {latest.pk}, was signed with the new secret."
    else:
        said = f"Its latest delivery, event {latest.pk}, was still signed with the old secret. Wait for the next."
    return f"An old webhook secret is still accepted. {said} When it is forgotten, only the newest is accepted."
