"""A CRM is connected, and bridged with a shop; what is refused, and that nothing secret is shown, kept or told."""

import json
from typing import Any

import pytest
from django.test import Client

from orders.models import AllowedMove, OrderLink, StaffAction, StatusRule
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.people import signed_in
from tests.sync.connecting import CRM_VALUES, crm, manager, page, shop
from webhooks.credentials import decrypt, encrypt
from webhooks.models import Bridge, Connection, WebhookEvent

__all__ = ["crm", "manager", "shop"]

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def add_crm(client: Client, crm: SandboxCrm, **changed: str) -> Any:
    values = {**CRM_VALUES, "name": "CRM B", "url": crm.url, "webhook_secrets": SECRET, **changed}
    return client.post(page("connection_add_crm", "rest"), values, follow=True)


@pytest.fixture
def pair(manager: Client, shop: SandboxShop, crm: SandboxCrm) -> tuple[Connection, Connection]:
    keys = {"name": "Shop B", "url": shop.url, "consumer_key": "ck_test", "consumer_secret": "cs_test"}
    manager.post(page("connection_type_keys"), keys)
    add_crm(manager, crm)
    return Connection.objects.get(slug="shop-b"), Connection.objects.get(slug="crm-b")


def bridge(client: Client, pair: tuple[Connection, Connection], **changed: str) -> Any:
    values = {"name": "B", "shop": str(pair[0].pk), "crm": str(pair[1].pk), "external_id_prefix": "b-", **changed}
    return client.post(page("bridge_new"), values, follow=True)


def test_a_crm_is_tried_before_it_is_stored_and_its_secrets_are_never_shown(manager: Client, crm: SandboxCrm) -> None:
    wrong = add_crm(manager, crm, token="wrong-token-of-somebody")
    assert b"wrong-token-of-somebody" not in wrong.content and not Connection.objects.filter(slug="crm-b").exists()
    done = add_crm(manager, crm)
    assert b"CRM B is connected" in done.content
    made = Connection.objects.get(slug="crm-b")
    assert decrypt(made.credentials) == {"token": CRM_VALUES["token"], "webhook_secrets": SECRET}
    assert made.settings["url"] == crm.url and "token" not in made.settings
    pages = (page("connection_changelist"), page("connection_change", made.pk), page("connection_keys", made.pk))
    seen = [done.content.decode(), *(manager.get(url).content.decode() for url in pages)]
    seen.append(json.dumps(list(StaffAction.objects.values("action", "result", "reason", "details"))))
    assert not [one for one in seen if CRM_VALUES["token"] in one or SECRET in one or made.credentials in one]


def test_an_edit_keeps_what_is_left_empty_and_is_in_the_audit_without_values(
    manager: Client, pair: tuple[Connection, Connection], crm: SandboxCrm
) -> None:
    crm.token = "the-new-token-of-the-crm"
    edit = {"url": crm.url, "token": crm.token, "signature": "hmac-sha256-hex", "reason": "It was renewed"}
    assert b"Stored. The CRM answers" in manager.post(page("connection_keys", pair[1].pk), edit, follow=True).content
    row = Connection.objects.get(pk=pair[1].pk)
    assert decrypt(row.credentials) == {"token": crm.token, "webhook_secrets": SECRET}
    told = StaffAction.objects.get(action="connection: edit")
    assert (told.actor, told.details["fields"]) == ("manager", ["signature", "token"])
    assert crm.token not in json.dumps(told.details)


def test_what_is_stored_goes_to_no_other_server(manager: Client, pair: tuple[Connection, Connection]) -> None:
    """Who may enter keys may not see those of others."""
    other = SandboxCrm(token=CRM_VALUES["token"])
    other.start()
    try:
        edit = {"url": other.url, "signature": "standard-webhooks", "reason": "It moved"}
        answer = manager.post(page("connection_keys", pair[1].pk), edit, follow=True)
        assert b"leads to another server" in answer.content
        assert other.requests == []
        assert Connection.objects.get(pk=pair[1].pk).settings["url"] == pair[1].settings["url"]
        edit["token"] = other.token
        assert (
            b"Stored. The CRM answers" in manager.post(page("connection_keys", pair[1].pk), edit, follow=True).content
        )
    finally:
        other.stop()


def test_an_address_of_our_own_network_is_refused(manager: Client, crm: SandboxCrm, settings: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    for url in (crm.url, crm.url.replace("http:", "https:")):
        assert b"ALLOW_PRIVATE_ADDRESSES" in add_crm(manager, crm, url=url).content
    assert crm.requests == []


def test_a_bridge_begins_as_a_draft_with_the_usual_rules(manager: Client, pair: tuple[Connection, Connection]) -> None:
    shown = bridge(manager, pair)
    made = Bridge.objects.get(slug="b")
    assert (made.state, made.shop, made.crm, made.external_id_prefix) == ("draft", *pair, "b-")
    assert shown.redirect_chain[-1][0] == page("bridge_statuses", made.pk)
    assert b"The shop knows" in shown.content
    rules = dict(StatusRule.objects.filter(bridge=made).values_list("crm_status", "woo_status"))
    assert rules["shipped"] == "completed" and _moves(made.pk) == _moves(1)
    assert StatusRule.objects.filter(bridge=1).count() == len(rules)


def _moves(bridge: int) -> list[tuple[str, str]]:
    return sorted(AllowedMove.objects.filter(bridge=bridge).values_list("from_status", "to_status"))


def test_the_map_is_changed_for_this_bridge_alone(manager: Client, pair: tuple[Connection, Connection]) -> None:
    bridge(manager, pair)
    made = Bridge.objects.get(slug="b")
    rules = dict(StatusRule.objects.filter(bridge=made).values_list("crm_status", "woo_status"))
    names = manager.get(page("bridge_statuses", made.pk)).context["form"].names
    chosen = {place: rules.get(crm_status, "") for place, crm_status in names.items()}
    places = {crm_status: place for place, crm_status in names.items()}
    chosen |= {places["shipped"]: "on-hold", places["failed"]: ""}
    done = manager.post(page("bridge_statuses", made.pk), chosen, follow=True)
    assert b"2 status rules were changed" in done.content
    after = dict(StatusRule.objects.filter(bridge=made).values_list("crm_status", "woo_status"))
    assert after["shipped"] == "on-hold" and "failed" not in after
    assert StatusRule.objects.get(bridge=1, crm_status="shipped").woo_status == "completed"


def test_two_bridges_that_would_share_names_in_one_crm_are_refused_with_the_reason(
    manager: Client, pair: tuple[Connection, Connection], settings: Any
) -> None:
    settings.CRM_URL = pair[1].settings["url"]
    shown = bridge(manager, pair, external_id_prefix="")
    assert b"Give this bridge a prefix of its own" in shown.content and not Bridge.objects.filter(slug="b").exists()
    bridge(manager, pair)
    assert Bridge.objects.get(slug="b").external_id_prefix == "b-"


def test_a_dry_run_writes_nothing(
    manager: Client, pair: tuple[Connection, Connection], shop: SandboxShop, crm: SandboxCrm
) -> None:
    for _ in range(3):
        shop.create_order()
    shop.settle()
    WebhookEvent.objects.all().delete()
    bridge(manager, pair)
    made = Bridge.objects.get(slug="b")
    shown = manager.post(page("bridge_dry_run", made.pk), {"orders": "2"})
    assert b"What would be done with 2 orders" in shown.content
    assert crm.orders == {} and not OrderLink.objects.exists() and not WebhookEvent.objects.exists()
    assert manager.post(page("bridge_dry_run", made.pk), {"orders": "1000"}).context["rows"] == []


def test_on_paused_and_archived_and_each_is_in_the_audit(manager: Client, pair: tuple[Connection, Connection]) -> None:
    bridge(manager, pair)
    made = Bridge.objects.get(slug="b")
    for name, state in (("switch_on", "on"), ("pause", "paused"), ("switch_on", "on")):
        manager.post(page(f"bridge_{name}", made.pk), {"reason": "A person says so", "confirmed": "yes"})
        made.refresh_from_db()
        assert made.state == state
    assert Bridge.objects.get(pk=1).state == "on"
    OrderLink.objects.create(bridge=made, woo_id=1, crm_order_id="C-1")
    manager.post(page("bridge_archive", made.pk), {"reason": "Closed", "confirmed": "yes"})
    made.refresh_from_db()
    assert made.archived_at and not made.is_on
    actions = list(
        StaffAction.objects.filter(action__startswith="bridge").order_by("pk").values_list("action", flat=True)
    )
    assert actions == ["bridge: add", "bridge: switch on", "bridge: pause", "bridge: switch on", "bridge: archive"]


def test_what_orders_hang_on_is_archived_and_the_rest_deleted(
    manager: Client, pair: tuple[Connection, Connection]
) -> None:
    bridge(manager, pair)
    made, reason = Bridge.objects.get(slug="b"), {"reason": "No more", "confirmed": "yes"}
    refused = manager.post(page("connection_remove", pair[0].pk), reason, follow=True)
    assert b"is part of B. Archive that bridge first" in refused.content
    OrderLink.objects.create(bridge=made, woo_id=1, crm_order_id="C-1")
    manager.post(page("bridge_archive", made.pk), reason)
    for one in pair:
        manager.post(page("connection_remove", one.pk), reason)
        one.refresh_from_db()
        assert one.archived_at and one.credentials == ""
    OrderLink.objects.all().delete()
    manager.post(page("bridge_archive", made.pk), reason)
    assert not Bridge.objects.filter(slug="b").exists()


def test_what_was_removed_comes_back_with_new_keys_and_signs_with_a_secret_that_we_know(
    manager: Client, pair: tuple[Connection, Connection], shop: SandboxShop
) -> None:
    bridge(manager, pair)
    made, reason = Bridge.objects.get(slug="b"), {"reason": "By mistake", "confirmed": "yes"}
    OrderLink.objects.create(bridge=made, woo_id=1, crm_order_id="C-1")
    for where in (page("bridge_archive", made.pk), *(page("connection_remove", one.pk) for one in pair)):
        manager.post(where, reason)
    again = manager.post(page("bridge_switch_on", made.pk), reason, follow=True).content.decode()
    assert "Removed: Shop B, CRM B." in again and not Bridge.objects.get(pk=made.pk).is_on
    told = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url}).content.decode()
    assert "there already, and archived: Shop B" in told and "New keys bring it back" in told
    shop.webhooks.popitem()
    keys = {"consumer_key": "ck_test", "consumer_secret": "cs_test", "reason": "By mistake"}
    manager.post(page("connection_keys", pair[0].pk), keys)
    manager.post(page("connection_keys", pair[1].pk), {**CRM_VALUES, "url": pair[1].settings["url"], "reason": "r"})
    manager.post(page("bridge_switch_on", made.pk), reason)
    assert list(Bridge.objects.on().filter(pk=made.pk)) == [made]
    [secret] = Connection.objects.get(pk=pair[0].pk).shop_config.webhook_secrets
    assert [hook["secret"] for hook in shop.webhooks.values()] == [secret] * 4


def test_a_webhook_secret_changes_without_a_moment_in_which_none_fits(
    manager: Client, pair: tuple[Connection, Connection], shop: SandboxShop
) -> None:
    [old] = Connection.objects.get(pk=pair[0].pk).shop_config.webhook_secrets
    reason = {"reason": "It may be known", "confirmed": "yes"}
    shop.faults.add(name="500", method="PUT", times=1)
    assert b"Nothing is lost" in manager.post(page("connection_rotate", pair[0].pk), reason, follow=True).content
    secrets = Connection.objects.get(pk=pair[0].pk).shop_config.webhook_secrets
    assert secrets[-1] == old and {hook["secret"] for hook in shop.webhooks.values()} <= set(secrets)
    shop.faults.add(name="500", method="PUT", times=1)
    manager.post(page("connection_rotate", pair[0].pk), reason)
    assert Connection.objects.get(pk=pair[0].pk).shop_config.webhook_secrets == secrets
    manager.post(page("connection_rotate", pair[0].pk), reason)
    [new] = Connection.objects.get(pk=pair[0].pk).shop_config.webhook_secrets
    assert new != old and {hook["secret"] for hook in shop.webhooks.values()} == {new}
    told = StaffAction.objects.filter(action__startswith="webhooks: ").order_by("pk").values_list("action", flat=True)
    assert list(told) == [
        "webhooks: ensure",
        "webhooks: rotate secret",
        "webhooks: forget secret",
        "webhooks: forget secret",
    ]


def test_the_connections_of_the_environment_are_locked(manager: Client) -> None:
    for slug in ("shop", "crm"):
        pk = Connection.objects.get(slug=slug).pk
        assert b"Locked here" in manager.get(page("connection_change", pk)).content
        for name in ("keys", "remove"):
            assert manager.get(page(f"connection_{name}", pk)).status_code == 403
            assert manager.post(page(f"connection_{name}", pk), {"reason": "r"}).status_code == 403


def test_a_check_tells_each_thing_that_was_looked_at(manager: Client, pair: tuple[Connection, Connection]) -> None:
    shown = manager.post(page("connection_examine", pair[0].pk)).content.decode()
    for words in ("The key may read orders", "The key may write orders", "order.created: it is active"):
        assert words in shown
    assert b"the key may read orders" in manager.post(page("connection_examine", pair[1].pk)).content


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_whoever_may_look_sees_no_secret(role: str) -> None:
    kept = encrypt({"token": "a-marked-token-of-a-row"})
    row = Connection.objects.create(slug="x", name="X", kind="rest", settings={"url": "https://x"}, credentials=kept)
    shown = signed_in(role).get(page("connection_change", row.pk)).content.decode()
    assert "a-marked-token" not in shown and kept not in shown and "token" in shown


@pytest.mark.parametrize("role", ["manager", "viewer"])
def test_with_nothing_configured_home_leads_to_the_first_bridge(role: str, settings: Any) -> None:
    settings.WOO_URL = settings.CRM_URL = ""
    home = signed_in(role).get("/admin/").content.decode()
    assert "Three steps to the first bridge" in home
    assert (page("connection_add_shop") in home) == (role == "manager")
    settings.WOO_URL, settings.CRM_URL = "https://shop.example", "https://crm.example"
    assert "Three steps to the first bridge" not in signed_in(role).get("/admin/").content.decode()
