"""Every address of the back office, as it is registered, walked by everybody: new ones without being named here."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from orders import audit
from orders.models import AllowedMove, StatusRule
from sync.models import (
    Alarm,
    DriftFinding,
    FieldMapVersion,
    Heartbeat,
    HourlyFigure,
    Installation,
    Notification,
    OpenChoice,
    Recipient,
    RememberedChoice,
    Run,
    TodoItem,
)
from sync.roles import ROLES
from tests.factories import AttemptFactory, CallFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.credentials import encrypt
from webhooks.models import Bridge, Connection, RefusedDelivery, State

OPEN_TO_ALL = {
    "login",
    "set_up",
    "account_login",
    "account_signup",
    "account_logout",
    "mfa_authenticate",
    "mfa_login_webauthn",
    "openid_connect_login",
    "openid_connect_callback",
}
ONES_OWN_ACCOUNT = {
    "account_reauthenticate",
    "mfa_index",
    "mfa_reauthenticate",
    "mfa_activate_totp",
    "mfa_deactivate_totp",
    "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes",
    "mfa_download_recovery_codes",
    "mfa_list_webauthn",
    "mfa_add_webauthn",
    "mfa_edit_webauthn",
    "mfa_remove_webauthn",
    "mfa_reauthenticate_webauthn",
    "usersessions_list",
    "socialaccount_connections",
}
OPEN_TO_STAFF = {"index", "logout", "password_change", "password_change_done", "jsi18n", "search", *ONES_OWN_ACCOUNT}
BESIDE_THE_ADMIN = OPEN_TO_ALL - {"login"} | ONES_OWN_ACCOUNT
"""Below /admin/, and not of Django's admin."""
NOT_PAGES = {"view_on_site", "autocomplete", "app_list"}
"""Django's own, which answer 404 or decide by what they are asked for."""
ARGUMENTS: dict[str, str] = {
    "kind": "reconcile",
    "name": "pause",
    "number": "1",
    "action": "repair",
    "app_label": "orders",
    "token": "x",
    "provider_id": "company",
    "pk": "1",
    "version": "1",
}
RETRYING = {"state": State.RETRYING}
ROWS = {
    "webhooks_webhookevent_retry": RETRYING,
    "webhooks_webhookevent_cancel": RETRYING,
    "webhooks_webhookevent_choose": {"state": State.PARKED},
}
"""Which row's page is walked, where not any will do."""
CONNECTING = ("add_shop", "type_keys", "approval", "choose_crm", "add_crm", "keys", "rotate", "addresses", "remove")
NEEDS = {
    "webhooks_webhookevent_body": "webhooks.reveal_webhookevent",
    "webhooks_webhookevent_reveal": "webhooks.reveal_webhookevent",
    "webhooks_webhookevent_order": "webhooks.view_webhookevent",
    "webhooks_webhookevent_choose": "sync.choose_customer",
    "sync_rememberedchoice_change_choice": "sync.choose_customer",
    "sync_rememberedchoice_forget": "sync.choose_customer",
    "webhooks_webhookevent_replay": "webhooks.replay_webhookevent",
    "webhooks_webhookevent_dry_run": "webhooks.replay_webhookevent",
    "webhooks_webhookevent_retry": "webhooks.replay_webhookevent",
    "webhooks_webhookevent_edit": "webhooks.edit_webhookevent",
    "webhooks_webhookevent_cancel": "webhooks.resolve_webhookevent",
    "webhooks_webhookevent_resolve": "webhooks.resolve_webhookevent",
    "webhooks_webhookevent_bulk": "webhooks.bulk_replay_webhookevent",
    "webhooks_webhookevent_bulk_sample": "webhooks.bulk_replay_webhookevent",
    "orders_orderlink_check": "orders.check_orderlink",
    "orders_orderlink_repair": "orders.check_orderlink",
    "orders_orderlink_force": "orders.force_orderlink",
    "orders_orderlink_anew": "orders.force_orderlink",
    "orders_orderlink_same": "orders.force_orderlink",
    "sync_driftfinding_order": "sync.view_driftfinding",
    "usersessions_usersession_end": "usersessions.change_usersession",
    **{f"sync_todoitem_{action}": "sync.handle_todoitem" for action in ("take", "give_back", "snooze")},
    "sync_driftfinding_ignore": "sync.ignore_driftfinding",
    **{f"sync_alarm_{action}": "sync.handle_alarm" for action in ("acknowledge", "mute", "unmute")},
    "sync_recipient_send_test": "sync.test_recipient",
    **{f"sync_todoitem_{action}": "sync.handle_todoitem" for action in ("take", "give_back", "snooze")},
    "sync_sidestate_pause": "sync.pause_sidestate",
    "sync_sidestate_go_on": "sync.pause_sidestate",
    "sync_sidestate_probe": "sync.pause_sidestate",
    "sync_webhooks": "sync.view_sidestate",
    "sync_doctor": "sync.view_sidestate",
    "sync_installation": "sync.confirm_installation",
    "sync_webhooks_act": "sync.start_run",
    "sync_run_start": "sync.start_run",
    **{f"sync_run_start_{kind}": "sync.start_run" for kind in ("reconcile", "backfill", "resync", "drift")},
    "orders_statustransition_verify": "orders.verify_statustransition",
    "orders_statustransition_export": "orders.export_statustransition",
    "orders_staffaction_export": "orders.export_statustransition",
    "sync_run_do": "sync.start_run",
    "sync_run_progress": "sync.view_run",
    **{f"webhooks_connection_{one}": "webhooks.edit_credentials" for one in CONNECTING},
    "webhooks_connection_examine": "orders.check_orderlink",
    **{
        f"webhooks_bridge_{one}": "webhooks.set_up_bridge"
        for one in ("new", "edit", "statuses", "sending", "dry_run", "archive")
    },
    **{
        f"webhooks_bridge_{one}": "webhooks.set_up_bridge"
        for one in (
            "fields_map",
            *(f"field_{page}" for page in ("row", "preview", "dry_run", "switch_on", "discard", "restore")),
        )
    },
    **{f"webhooks_bridge_{one}": "webhooks.pause_bridge" for one in ("switch_on", "pause")},
    "sync_run_month_end": "sync.view_run",
    "sync_run_month_end_csv": "sync.month_end_run",
    "sync_run_start_month_end": "sync.start_run",
}
"""Which permission opens which of our own pages. The others are Django's: view, add and delete of their model."""
TO_POST = {"sync_doctor": "orders.check_orderlink", "sync_webhooks": "orders.check_orderlink"}
"""Where sending asks for more than looking."""
ACTION_NEEDS = {"replay_selected": "webhooks.bulk_replay_webhookevent", "repair_selected": "orders.check_orderlink"}
FORBIDDEN = re.compile(
    r"<script(?![^>]*\ssrc=)(?![^>]*application/json)|<[^>]+\son[a-z]+=|javascript:|\ssrc=.?(https?:)?//"
)
"""By the Content-Security-Policy: scripts in the page, handlers in attributes, and what lies on other hosts."""
FILLED_IN = {
    "confirmed": "yes",
    "reason": "a person says so",
    "to_status": "completed",
    "until": "2099-01-01",
    "body": '{"id": 1}',
    "post": "yes",
    "choice": "0",
    "crm_id": "8",
    "woo_status": "cancelled",
    "from_status": "refunded",
    "crm_status": "brand_new",
    "form-0-woo_status": "cancelled",
    "form-0-to_status": "on-hold",
    "_save": "Save",
    "username": "a-new-name",
    "password1": "Long-enough-4711",
    "password2": "Long-enough-4711",
    "usable_password": "true",
    "is_superuser": "on",
    "do": "remove:x",
    "name": "a new name",
    "bridge": "default",
    "new_address": "jsons://hooks.example/a-new-one",
}
"""What a person would write; the rest of a form is sent as the page offers it."""
AUDIT = {"orders.StaffAction", "orders.ChainHead"}
EVENT = {*AUDIT, "webhooks.WebhookEvent"}
RUN = {*AUDIT, "sync.Run", "django_q.OrmQ"}
SIDE = {*AUDIT, "sync.SideState"}
BRIDGE = {*AUDIT, "webhooks.Bridge"}
MAP = {*AUDIT, "sync.FieldMapVersion"}
RULE = {*AUDIT, "orders.StatusRule", "orders.HistoricalStatusRule", "admin.LogEntry"}
MOVE = {*AUDIT, "orders.AllowedMove", "orders.HistoricalAllowedMove", "admin.LogEntry"}
USER = {*AUDIT, "auth.User", "auth.User_groups", "admin.LogEntry"}
GROUP = {*AUDIT, "auth.Group", "auth.Group_permissions", "auth.User_groups", "admin.LogEntry"}
RECIPIENT = {*AUDIT, "sync.Recipient", "sync.Notification", "admin.LogEntry"}
CHANGES = {
    "webhooks_webhookevent_reveal": AUDIT,
    "webhooks_webhookevent_body": AUDIT,
    "webhooks_connection_examine": AUDIT,
    "webhooks_connection_addresses": {*AUDIT, "webhooks.Connection"},
    "webhooks_connection_rotate": AUDIT,
    "webhooks_bridge_pause": BRIDGE,
    "webhooks_bridge_edit": BRIDGE,
    "webhooks_bridge_sending": BRIDGE,
    "webhooks_bridge_archive": {*BRIDGE, *MAP},
    "webhooks_webhookevent_choose": {*EVENT, "sync.RememberedChoice", "sync.OpenChoice"},
    "sync_rememberedchoice_change_choice": {*AUDIT, "sync.RememberedChoice"},
    "sync_rememberedchoice_forget": {*AUDIT, "sync.RememberedChoice"},
    "webhooks_bridge_fields_map": MAP,
    "webhooks_bridge_field_discard": MAP,
    "webhooks_bridge_field_restore": MAP,
    "webhooks_bridge_field_switch_on": {*MAP, *BRIDGE},
    "webhooks_bridge_field_dry_run": RUN,
    "webhooks_webhookevent_replay": EVENT,
    "webhooks_webhookevent_dry_run": AUDIT,
    "webhooks_webhookevent_retry": EVENT,
    "webhooks_webhookevent_edit": EVENT,
    "webhooks_webhookevent_cancel": EVENT,
    "webhooks_webhookevent_resolve": EVENT,
    "webhooks_webhookevent_bulk": {*RUN, "sync.RunPart"},
    "webhooks_webhookevent_bulk_sample": AUDIT,
    "orders_orderlink_check": AUDIT,
    "orders_orderlink_repair": EVENT,
    "orders_orderlink_force": EVENT,
    "orders_orderlink_anew": EVENT,
    "orders_orderlink_same": {*AUDIT, "orders.OrderLink"},
    "orders_statustransition_export": AUDIT,
    "orders_staffaction_export": AUDIT,
    "orders_statustransition_verify": RUN,
    **{f"sync_alarm_{action}": {*AUDIT, "sync.Alarm"} for action in ("acknowledge", "mute", "unmute")},
    **{f"sync_recipient_{page}": RECIPIENT for page in ("add", "change", "delete")},
    "sync_recipient_send_test": {*AUDIT, "sync.Notification", "django_q.OrmQ"},
    "sync_driftfinding_ignore": {*AUDIT, "sync.DriftFinding"},
    **{f"sync_todoitem_{action}": {*AUDIT, "sync.TodoItem"} for action in ("take", "give_back", "snooze")},
    **{f"sync_todoitem_{action}": {*AUDIT, "sync.TodoItem"} for action in ("take", "give_back", "snooze")},
    "sync_sidestate_pause": SIDE,
    "sync_sidestate_go_on": SIDE,
    "sync_sidestate_probe": SIDE,
    "sync_doctor": AUDIT,
    "usersessions_usersession_end": {*AUDIT, "usersessions.UserSession"},
    "sync_installation": {*AUDIT, "sync.Installation"},
    "sync_run_start": RUN,
    "sync_run_do": RUN,
    **{f"orders_statusrule_{page}": RULE for page in ("add", "change", "delete", "changelist")},
    **{f"orders_allowedmove_{page}": MOVE for page in ("add", "change", "delete", "changelist")},
    **{f"auth_user_{page}": USER for page in ("add", "change", "delete", "password_change")},
    **{f"auth_group_{page}": GROUP for page in ("add", "change", "delete")},
}
"""The tables that a POST to a page may change. All other pages change nothing, whoever sends what."""

pytestmark = pytest.mark.django_db


def pages(resolver: URLResolver | None = None, route: str = "") -> Iterator[tuple[str, str, URLPattern]]:
    """Each address of the admin: its name, its route and its pattern."""
    for one in (resolver or get_resolver()).url_patterns:
        here = route + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from pages(one, here)
        elif here.startswith("admin/") and one.name and one.name not in NOT_PAGES:
            yield one.name, here, one


def model_of(name: str) -> type[Model] | None:
    """The longest that the name of the page begins with."""
    known = {f"{model._meta.app_label}_{model._meta.model_name}": model for model in admin.site._registry}
    fitting = [label for label in known if name.startswith(f"{label}_")]
    return known[max(fitting, key=len)] if fitting else None


def needed(name: str) -> str | None:
    """The permission that opens a page; None: it is not known here."""
    model = model_of(name)
    if name in NEEDS or model is None:
        return NEEDS.get(name)
    label, model_name = model._meta.app_label, model._meta.model_name
    action = name.removeprefix(f"{label}_{model_name}_")
    word = {"changelist": "view", "change": "view", "history": "view", "simple_history": "view"}.get(action, action)
    return f"{label}.{word}_{model_name}" if word in ("view", "add", "delete") else None


def address(name: str, pattern: URLPattern) -> str:
    if name in BESIDE_THE_ADMIN:
        [(_, arguments)], *_ = get_resolver().reverse_dict[name]
        return reverse(name, kwargs={one: ARGUMENTS[one] for one in arguments})
    names = list(pattern.pattern.regex.groupindex) or ["pk"] * pattern.pattern.regex.groups
    model = model_of(name)
    row = model._default_manager.filter(**ROWS.get(name, {})).order_by("pk").last() if model else None
    values = [str(row.pk) if row and one in ("pk", "object_id", "id") else ARGUMENTS[one] for one in names]
    if name.endswith("_simple_history"):
        values[1] = str(row.history.latest().pk)  # type: ignore[union-attr]
    if pattern.pattern.regex.groupindex:
        return reverse(f"admin:{name}", kwargs=dict(zip(names, values, strict=True)))
    return reverse(f"admin:{name}", args=values)


@pytest.fixture(autouse=True)
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Each of thousands of refusals would be logged with its traceback."""
    caplog.set_level(logging.CRITICAL, "django.request")


@pytest.fixture
def rows(db: None) -> None:
    """One row at least of all that has a page."""
    link = StatusTransitionFactory().link
    asks = WebhookEventFactory(state=State.PARKED, next_attempt_at=None)
    about = {"connection": Connection.objects.get(slug="crm"), "what": "customer", "key": "k1"}
    OpenChoice.objects.create(event=asks, candidates=[{"id": "7", "name": "Ann", "details": {}}], **about)
    RememberedChoice.objects.create(event=asks, crm_id="7", chosen_by="somebody", **about)
    WebhookEventFactory(order_ref=str(link.woo_id), state=State.RETRYING, attempts=1)
    event = WebhookEventFactory(order_ref=str(link.woo_id), state=State.DEAD, next_attempt_at=None, reason="no luck")
    CallFactory(attempt=AttemptFactory(event=event))
    RefusedDelivery.objects.create(source="crm", reason="bad_signature")
    DriftFinding.objects.create(kind="status", woo_id=link.woo_id, crm_order_id=link.crm_order_id)
    TodoItem.objects.create(cause=TodoItem.Cause.PARKED, order="woo:14", words="look", owner="somebody")
    Heartbeat.objects.create(worker="host/1", at=timezone.now())
    Run.objects.create(kind="backfill")
    alarm = Alarm.objects.create(key="silence:shop", words="silent", advice="look")
    recipient = Recipient.objects.create(name="the pager", address=encrypt({"url": "slack://a/b/c"}))
    Notification.objects.create(recipient=recipient, to=recipient.name, alarm=alarm, kind="raised")
    Installation.objects.create(public_url="https://elsewhere.example")
    HourlyFigure.objects.create(hour=timezone.now(), what="call", side="shop", result="200", count=1)
    audit.record("check", actor="somebody", link=link)
    for model in (StatusRule, AllowedMove):
        model.objects.order_by("pk").last().save()  # type: ignore[union-attr]  # has a history now
    sign_somebody_in()
    connected = [
        Connection.objects.create(slug=slug, name=slug, kind=kind, settings={"url": "https://other.example"})
        for slug, kind in (("crm-b", "rest"), ("shop-b", "woocommerce"))
    ]
    bridge = Bridge.objects.create(slug="b", name="B", shop=connected[1], crm=connected[0], external_id_prefix="b-")
    for version in (0, 1):
        FieldMapVersion.objects.create(bridge=bridge, version=version, rows=[{"target": "x", "constant": "web"}])
    missing = [model for model in admin.site._registry if not model._default_manager.exists()]
    assert not missing, f"make a row of {missing} here, so that its pages are walked"


def sign_somebody_in() -> None:
    session = SessionStore()
    session.create()
    UserSession.objects.create(
        user=User.objects.create_user("some-user"), ip="192.0.2.1", user_agent="x", session_key=session.session_key
    )


def client_of(*groups: str, **user: Any) -> Client:
    person = User.objects.create_user(f"walker{User.objects.count()}", is_staff=True, **user)
    person.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(person)
    return client


def everything(tables: set[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The whole database, but for sessions; or these tables of it."""
    models = (model for model in apps.get_models(include_auto_created=True) if model is not Session)
    models = (model for model in models if tables is None or model._meta.db_table in tables)
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


def test_whoever_has_not_signed_in_is_asked_to(rows: None, client: Client) -> None:
    walked = 0
    before = everything()
    for name, _, pattern in pages():
        if name in {"logout", *OPEN_TO_ALL}:
            continue
        url = address(name, pattern)
        assert refused("nobody", client.get(url)), url
        if name in OPEN_TO_STAFF:  # what is sent to the others stands below, for nobody and for each role
            assert refused("nobody", client.post(url, FILLED_IN)), url
        walked += 1
    assert walked > 80
    assert everything() == before


def test_staff_without_a_role_open_nothing(rows: None) -> None:
    client = client_of()
    before = everything()
    for name, _, pattern in pages():
        if name not in OPEN_TO_ALL | OPEN_TO_STAFF:
            url = address(name, pattern)
            assert client.get(url).status_code == 403, url
    assert everything() == before


@pytest.mark.cases_alike
@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_opens_what_its_permissions_say(rows: None, role: str) -> None:
    client = client_of(role)
    for name, _, pattern in pages():
        permission = needed(name)
        if permission is None:
            continue
        url, may = address(name, pattern), permission in ROLES[role]
        status = client.get(url).status_code
        assert (status != 403) == may, f"{role} {url}: {status}, needs {permission}"


class Offered(HTMLParser):
    """The fields of a page's forms, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = dict(attributes)
        name, value = has.get("name") or "", has.get("value") or ""
        if tag in ("select", "textarea"):
            self.inside = name
        elif tag == "option" and "selected" in has:
            self.fields.setdefault(self.inside, []).append(value)
        elif tag == "input" and name and (has.get("type") not in ("checkbox", "radio") or "checked" in has):
            self.fields.setdefault(name, []).append(value)

    def handle_data(self, data: str) -> None:
        if self.inside and self.lasttag == "textarea":
            self.fields.setdefault(self.inside, []).append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self.inside = ""


@contextmanager
def undone(before: dict[str, list[dict[str, Any]]]) -> Iterator[set[str]]:
    """What is written is rolled back; which tables it changed stands in the set afterwards."""
    changed: set[str] = set()
    wrote: set[str] = set()

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if re.match(r"\s*(INSERT|UPDATE|DELETE|REPLACE)", sql):
            table = re.match(r'\s*(?:\w+(?: OR \w+)? INTO|UPDATE|DELETE FROM) "?(\w+)', sql)
            assert table, sql
            wrote.add(table[1])
        return execute(sql, *rest)

    with transaction.atomic():
        with connection.execute_wrapper(watch):
            yield changed
        if wrote:
            after = everything(wrote)
            changed |= {table for table in after if after[table] != before[table]}
        transaction.set_rollback(True)


def offered() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each page, its address, and valid data for it: what it offers to one who may do everything, filled in."""
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    for name, _, pattern in pages():
        if name not in OPEN_TO_ALL | OPEN_TO_STAFF:
            url = address(name, pattern)
            page = root.get(url).getvalue().decode(errors="replace")
            yield name, url, {**Offered(page).fields, **FILLED_IN}
    kind = ContentType.objects.get_for_model(StatusRule).pk
    for url in (
        f"/admin/r/{kind}/1/",
        "/admin/autocomplete/",
        "/admin/orders/",
        "/admin/nothing/",
        "/admin/auth/user/1/",
    ):
        yield "", url, FILLED_IN


def needed_to_post(name: str) -> str | None:
    model = model_of(name)
    if name in NEEDS or model is None:
        return TO_POST.get(name, NEEDS.get(name))
    label, model_name = model._meta.app_label, model._meta.model_name
    action = name.removeprefix(f"{label}_{model_name}_")
    return f"{label}.{'change' if action == 'changelist' else action}_{model_name}"


def test_valid_data_sent_to_every_address_changes_only_what_the_role_may_change(rows: None) -> None:
    forms = list(offered())
    clients = {"nobody": Client(), **{role: client_of(role) for role in ("staff", *ROLES)}}
    clients["superuser"] = client_of(is_superuser=True)
    before, wrong = everything(), []
    for role, client in clients.items():
        signed_in = client.cookies.output(header="")
        for name, url, data in forms:
            client.cookies.load(signed_in)
            may = role == "superuser" or needed_to_post(name) in ROLES.get(role, ())
            allowed = CHANGES.get(name, set()) if may else set()
            with undone(before) as changed:
                answer = client.post(url, data)
            barred = name and not may and is_barred(role, name)
            if not changed <= allowed or (allowed and not changed) or (barred and not refused(role, answer)):
                wrong.append((role, url, answer.status_code, changed))
    assert not wrong, "\n".join(map(str, wrong))


def is_barred(role: str, name: str) -> bool:
    """From looking already; only nobody and people without a role are, from what is not known here."""
    permission = needed(name)
    return role not in ROLES if permission is None else permission not in ROLES.get(role, ())


def refused(role: str, answer: Any) -> bool:
    if role == "nobody":
        return (answer.status_code, answer.headers.get("Location", "")[:13]) == (302, "/admin/login/")
    return bool(answer.status_code == 403)


def needed_by(action: str, model: type[Model]) -> str:
    by_itself = f"{model._meta.app_label}.delete_{model._meta.model_name}"
    return by_itself if action == "delete_selected" else ACTION_NEEDS[action]


@pytest.mark.cases_alike
@pytest.mark.parametrize("role", sorted(ROLES))
def test_an_action_of_a_list_is_offered_to_a_role_and_obeys_it_if_its_permissions_say_so(rows: None, role: str) -> None:
    client, tried = client_of(role), 0
    before = everything()
    for model, model_admin in admin.site._registry.items():
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        keys = list(model._default_manager.values_list("pk", flat=True)[:3])
        form = (client.get(url).context or {}).get("action_form")
        offered = {name for name, _ in form.fields["action"].choices if name} if form else set()
        for action in {*(getattr(one, "__name__", one) for one in model_admin.actions or ()), "delete_selected"}:
            may = needed_by(action, model) in ROLES[role]
            assert may == (action in offered), f"{action} at {url}, for {role}"
            if not may:
                client.post(url, {**FILLED_IN, "action": action, "_selected_action": keys, "index": 0})
                tried += 1
    assert tried > 10
    assert everything() == before


def test_looking_calls_nobody_changes_nothing_and_no_page_needs_what_the_policy_forbids(
    rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in a mail, which a person only follows, must not do an action: neither here nor at a side."""
    called = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: called.append(address))
    cache.clear()
    client = client_of(is_superuser=True)
    before = everything()
    for name, _, pattern in pages():
        if name not in {"logout", *OPEN_TO_ALL}:
            url = address(name, pattern)
            client.get(url, {**FILLED_IN, "action": "delete_selected", "_selected_action": "1"})
            answer = client.get(url)
            assert answer.status_code in (200, 302, 403, 404, 405), url
            if "html" in answer.headers.get("Content-Type", ""):
                assert not FORBIDDEN.search(answer.content.decode()), f"the browser will not run this of {url}"
            assert called == [], url
    assert everything() == before


def test_a_form_without_its_token_is_refused(rows: None) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    before = everything()
    for name, _, pattern in pages():
        assert strict.post(address(name, pattern), FILLED_IN).status_code == 403, name
    assert everything() == before


def test_every_page_of_the_table_is_there() -> None:
    assert set(NEEDS) | set(CHANGES) <= {name for name, _, _ in pages()}
    assert set(NEEDS.values()) <= {one for role in ROLES.values() for one in role}
