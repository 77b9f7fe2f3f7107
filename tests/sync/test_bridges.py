"""Two shops and two CRMs, or two shops on one CRM, in one deployment, with the same order numbers: nothing crosses."""

import json
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.models import Field
from django.test import Client
from django.utils import timezone

from orders.models import AllowedMove, OrderLink, StatusRule, StatusTransition
from orders.rules import current_lifecycle
from orders.verification import Checkup
from sync.clients.bridged import crm_of, shop_of
from sync.clients.crm import environment, told
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import NotConfigured
from sync.jobs import backfill, drift, engine, erasure, polling
from sync.models import (
    Attempt,
    Call,
    DriftFinding,
    Intent,
    Lease,
    SideState,
)
from sync.pipeline import replays
from sync.pipeline.process import Turns, process_due
from sync.sandbox.signing import hmac_base64, standard_webhooks
from tests.sync.conftest import SECRET, WHSEC, Two
from webhooks.connections import Bridge, Connection, default_bridge
from webhooks.credentials import encrypt
from webhooks.models import RefusalCount, State, WebhookEvent
from webhooks.refusals import refusals


def sold(two: Two, count: int) -> None:
    """Orders with the same numbers in both shops, of which nothing else is the same."""
    for pk, sides in two.sides.items():
        for woo_id in range(1, count + 1):
            order = sides.order(woo_id, timezone.now() - timedelta(hours=1))
            sides.shop.orders[woo_id] = {**order, "order_key": f"wc_{pk}_{woo_id}", "customer_note": f"of bridge {pk}"}


def nothing_crossed(two: Two, count: int) -> None:
    for pk, sides in two.sides.items():
        links = OrderLink.objects.filter(bridge=pk).order_by("woo_id")
        assert [link.woo_id for link in links] == list(range(1, count + 1))
        for link in links:
            assert link.is_ours
            assert two.crm_order(link)["order"]["customer_note"] == f"of bridge {pk}"
            assert two.crm_order(link)["external_id"].removeprefix("b-") == str(link.woo_id)
            assert sides.shop.orders[link.woo_id]["customer_note"] == f"of bridge {pk}"
    ids = [(id(two.sides[link.bridge_id].crm), link.crm_order_id) for link in OrderLink.objects.all()]
    assert (
        len(set(ids))
        == 2 * count
        == sum(len(crm.orders) for crm in {id(s.crm): s.crm for s in two.sides.values()}.values())
    )
    for transition in StatusTransition.objects.select_related("link", "event"):
        assert transition.event is None or transition.event.bridge_id == transition.link.bridge_id
    assert not Lease.objects.exists() and not Intent.objects.exists()
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    assert checkup.findings == []


def test_the_same_numbers_in_two_shops_are_two_orders(two: Two) -> None:
    sold(two, 3)
    two.reconcile()
    nothing_crossed(two, 3)
    for pk, status in zip(two.sides, ("cancelled", "refunded"), strict=True):
        for link in OrderLink.objects.filter(bridge=pk):
            two.sides[pk].crm.set_status(link.crm_order_id, "paid")
            two.sides[pk].crm.set_status(link.crm_order_id, status)
    two.reconcile()
    shown = {pk: {order["status"] for order in sides.shop.orders.values()} for pk, sides in two.sides.items()}
    assert shown == {1: {"cancelled"}, two.bridge.pk: {"refunded"}}
    nothing_crossed(two, 3)
    for pk in two.sides:
        assert engine.carry_out(drift.start(actor="command", bridge=pk))
        run = drift.Run.objects.filter(kind="drift", bridge=pk).latest("pk")
        assert (run.state, run.counts["seen"]) == ("done", 3)
    assert not DriftFinding.objects.exists()
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {State.DONE}


def test_a_backfill_walks_its_own_shop_alone(two: Two) -> None:
    sold(two, 2)
    assert engine.carry_out(backfill.start(actor="command", bridge=two.bridge.pk))
    assert set(OrderLink.objects.values_list("bridge", flat=True)) == {two.bridge.pk}
    assert not two.sides[1].shop.requests
    assert engine.carry_out(backfill.start(actor="command"))
    nothing_crossed(two, 2)


def test_each_bridge_has_a_lifecycle_of_its_own(two: Two) -> None:
    StatusRule.objects.filter(bridge=two.bridge, crm_status="paid").update(woo_status="on-hold")
    AllowedMove.objects.filter(bridge=1, from_status="pending", to_status="processing").delete()
    one, other = current_lifecycle(1), current_lifecycle(two.bridge.pk)
    assert (one.shop_status("paid"), other.shop_status("paid")) == ("processing", "on-hold")
    assert "processing" not in one.moves["pending"] and "processing" in other.moves["pending"]


def test_a_side_that_is_closed_stops_its_own_bridges_alone(two: Two) -> None:
    """A shop is in one bridge only."""
    sold(two, 1)
    SideState.objects.filter(name="shop-2").update(paused=True)
    said = {"side": "shop", "source": "sweep", "order_ref": "1", "dedupe_key": "x", "topic": "order.created"}
    WebhookEvent.objects.create(**said)
    event = WebhookEvent.objects.create(**said, bridge=two.bridge)
    turns = Turns()
    while process_due(turns):
        pass
    assert set(OrderLink.objects.values_list("bridge", flat=True)) == {1}
    event.refresh_from_db()
    assert (event.state, event.attempts) == (State.PENDING, 0)
    SideState.objects.filter(name="shop-2").update(paused=False)
    two.settle()
    nothing_crossed(two, 1)


@pytest.mark.parametrize("side", ["shop", "crm"])
def test_an_outage_opens_the_breaker_of_its_own_connection(two: Two, settings: Any, side: str) -> None:
    settings.BREAKER_THRESHOLD = 1
    sold(two, 1)
    connection, nowhere = getattr(two.bridge, side), "http://127.0.0.1:9"
    if connection.is_environment:
        settings.CRM_URL = nowhere
    else:
        connection.settings["url"] = nowhere
        connection.save()
    said = {"side": "shop", "source": "sweep", "order_ref": "1", "dedupe_key": "x", "topic": "order.created"}
    event = WebhookEvent.objects.create(**said, bridge=two.bridge)
    turns = Turns()
    while process_due(turns):
        pass
    event.refresh_from_db()
    assert (event.state, event.attempts) == (State.RETRYING, 0)
    assert set(SideState.objects.exclude(opened_at=None).values_list("name", flat=True)) == {connection.slug}


def test_a_client_belongs_to_its_connection(two: Two, settings: Any) -> None:
    """What is kept for it, as ids of a CRM's records, is kept by its slug; and it calls no network of ours."""
    config = two.bridge.crm_config
    assert (told(RestCrm, config).slug, environment(RestCrm).slug) == (config.slug, "crm")
    settings.ALLOW_PRIVATE_ADDRESSES = False
    bridge = Bridge.objects.with_connections().get(pk=two.bridge.pk)
    with pytest.raises(NotConfigured, match="ALLOW_PRIVATE_ADDRESSES"):
        shop_of(bridge).ping()
    if two.is_shared:
        crm_of(bridge).ping()  # that of the environment may be anywhere
    else:
        with pytest.raises(NotConfigured, match="ALLOW_PRIVATE_ADDRESSES"):
            crm_of(bridge).ping()


@pytest.mark.parametrize("state", [Bridge.State.DRAFT, Bridge.State.PAUSED])
def test_what_comes_for_a_bridge_that_is_not_on_is_kept_and_waits(two: Two, client: Client, state: str) -> None:
    sold(two, 1)
    Bridge.objects.filter(pk=two.bridge.pk).update(state=state)
    body = json.dumps(two.sides[two.bridge.pk].shop.orders[1]).encode()
    assert from_second_shop(client, body).status_code == 200
    assert not process_due(Turns())
    Bridge.objects.filter(pk=two.bridge.pk).update(state=Bridge.State.ON)
    two.settle()
    assert set(OrderLink.objects.values_list("bridge", "woo_id")) == {(two.bridge.pk, 1)}


def test_a_backlog_of_one_bridge_keeps_the_other_waiting_for_one_batch(two: Two) -> None:
    sold(two, 1)
    now = timezone.now()
    WebhookEvent.objects.bulk_create(
        WebhookEvent(side="shop", source="sweep", order_ref=str(n), dedupe_key=str(n), topic="order.updated")
        for n in range(1, 300)
    )
    WebhookEvent.objects.update(received_at=now, next_attempt_at=now)
    turns = Turns()
    assert process_due(turns)
    mine = WebhookEvent.objects.create(
        bridge=two.bridge, side="shop", source="sweep", order_ref="1", dedupe_key="x", topic="order.created"
    )
    assert process_due(turns)
    mine.refresh_from_db()
    assert mine.state == State.DONE
    assert WebhookEvent.objects.filter(bridge=1).unfinished().exists()


# --- deliveries ----------------------------------------------------------------------------------------------------


def from_second_shop(client: Client, body: bytes, secret: str = SECRET, slug: str = "shop-2", slash: str = "/") -> Any:
    headers = {"X-WC-Webhook-Signature": hmac_base64(body, secret), "X-WC-Webhook-Topic": "order.updated"}
    url = f"/webhooks/woocommerce/{slug}{slash}"
    return client.post(url, body, content_type="application/json", headers=headers)


def from_crm(client: Client, event: dict[str, Any], secret: str, url: str) -> Any:
    body = json.dumps(event).encode()
    return client.post(url, body, content_type="application/json", headers=standard_webhooks(body, secret, "msg_1"))


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_delivery_is_verified_with_the_secrets_of_its_connection_alone(two: Two, client: Client, slash: str) -> None:
    sold(two, 1)
    body = json.dumps(two.sides[two.bridge.pk].shop.orders[1]).encode()
    assert from_second_shop(client, body, "lab-webhook-secret", slash=slash).status_code == 401
    headers = {"X-WC-Webhook-Signature": hmac_base64(body, SECRET)}
    first = client.post("/webhooks/woocommerce/", body, content_type="application/json", headers=headers)
    assert first.status_code == 401
    refusals.flush()
    assert set(RefusalCount.objects.values_list("connection", "reason", "count")) == {
        ("shop-2", "bad_signature", 1),
        ("shop", "bad_signature", 1),
    }
    assert from_second_shop(client, body, slash=slash).json()["status"] == "accepted"
    assert from_second_shop(client, body, slash=slash).json()["status"] == "duplicate"
    headers = {"X-WC-Webhook-Signature": hmac_base64(body, "lab-webhook-secret")}
    mine = client.post("/webhooks/woocommerce/", body, content_type="application/json", headers=headers)
    assert mine.json()["status"] == "accepted"  # the same bytes, of another shop
    assert Counter(WebhookEvent.objects.values_list("bridge", flat=True)) == {1: 1, two.bridge.pk: 1}


def test_a_copy_of_a_shop_that_is_a_row_is_parked_until_its_address_is_known(
    two: Two, client: Client, admin_client: Client
) -> None:
    sold(two, 1)
    order = two.sides[two.bridge.pk].shop.orders[1]
    link = {"href": "https://staging.shop-2.example/wp-json/wc/v3/orders/1"}
    body = json.dumps({**order, "_links": {"self": [link]}}).encode()
    assert from_second_shop(client, body).json()["status"] == "accepted"
    two.settle()
    event = WebhookEvent.objects.get()
    assert (event.state, "comes from another shop" in event.reason) == (State.PARKED, True)
    assert "staging.shop-2.example" in event.reason and "WOO_" not in event.reason
    assert not two.sides[two.bridge.pk].crm.orders
    url = f"/admin/webhooks/connection/{two.bridge.shop.pk}/addresses/"
    assert "no address" in admin_client.post(url, {"other_urls": "ftp://x", "reason": "ours"}).content.decode()
    admin_client.post(url, {"other_urls": "https://staging.shop-2.example/", "reason": "it moved"})
    replays.replay(event.pk, by="ann")
    two.settle()
    assert OrderLink.objects.get().bridge_id == two.bridge.pk


@pytest.mark.parametrize("slug", ["nobody", "crm", "shop-2"])
def test_what_is_no_connection_of_this_kind_is_not_found(two: Two, client: Client, slug: str) -> None:
    Connection.objects.filter(slug="shop-2").update(archived_at=timezone.now())
    answer = from_second_shop(client, b"{}", slug=slug)
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_connection")
    assert not WebhookEvent.objects.exists() and not RefusalCount.objects.exists()


def test_a_shop_without_a_bridge_is_not_configured(client: Client, db: None) -> None:
    told = encrypt({"webhook_secrets": SECRET})
    Connection.objects.create(slug="shop-2", name="Two", kind="woocommerce", credentials=told)
    answer = from_second_shop(client, b'{"id": 1}')
    assert (answer.status_code, answer.json()) == (503, {"error": "not_configured"})


def test_a_poll_asks_each_crm_once_for_all_its_bridges(two: Two, settings: Any) -> None:
    settings.CRM_POLL_SECONDS = 30
    Connection.objects.filter(slug="crm-2").update(settings={**two.bridge.crm.settings, "poll_seconds": "30"})
    sold(two, 2)
    two.reconcile()
    links = list(OrderLink.objects.filter(woo_id=1))
    for link in links:
        two.sides[link.bridge_id].crm.set_status(link.crm_order_id, "paid")
    for sides in two.sides.values():
        sides.forget_calls()
    polling.poll()
    for sides in two.sides.values():
        assert [call.method for call in sides.crm.requests] == ["GET"]
    two.settle()
    for link in links:
        assert two.sides[link.bridge_id].shop.orders[1]["status"] == "processing"
    nothing_crossed(two, 2)


def test_a_crm_that_is_shared_tells_each_of_its_bridges(two: Two, client: Client) -> None:
    sold(two, 1)
    two.reconcile()
    link = OrderLink.objects.get(bridge=two.bridge)
    two.sides[two.bridge.pk].crm.set_status(link.crm_order_id, "paid")
    before = WebhookEvent.objects.count()
    event = {"event_id": "evt_1", "crm_order_id": link.crm_order_id, "status": "paid"}
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if two.is_shared else WHSEC
    url = "/webhooks/crm/" if two.is_shared else "/webhooks/crm/crm-2/"
    assert from_crm(client, event, secret, url).json()["status"] == "accepted"
    assert WebhookEvent.objects.count() == before + (2 if two.is_shared else 1)
    assert from_crm(client, event, secret, url).json()["status"] == "duplicate"
    two.settle()
    said = dict(WebhookEvent.objects.filter(delivery_id="msg_1").values_list("bridge", "outcome"))
    assert said.pop(two.bridge.pk) == "applied"
    assert said == ({1: "not_ours"} if two.is_shared else {})
    assert two.sides[two.bridge.pk].shop.orders[1]["status"] == "processing"
    assert two.sides[1].shop.orders[1]["status"] != "processing"


# --- every table ---------------------------------------------------------------------------------------------------


def with_a_bridge() -> list[type]:
    models = (model for app in ("webhooks", "orders", "sync") for model in apps.get_app_config(app).get_models())
    return [model for model in models if any(field.name == "bridge" for field in model._meta.concrete_fields)]


@pytest.mark.parametrize("model", with_a_bridge(), ids=lambda model: model.__name__)
def test_whatever_is_unique_is_so_within_its_bridge(model: Any) -> None:
    of_bridge: Field = model._meta.get_field("bridge")
    assert not of_bridge.db_constraint and (of_bridge.db_default is not None or of_bridge.null)
    if model.__name__.startswith("Historical"):
        return
    alone = [field.name for field in model._meta.concrete_fields if field.unique and not field.primary_key]
    assert alone == []
    for one in model._meta.total_unique_constraints or model._meta.constraints:
        about_none = one.condition is not None and ("bridge__isnull", True) in one.condition.children
        assert "bridge" in one.fields or about_none, one.name


def test_all_that_hangs_on_an_order_has_one() -> None:
    """What has none hangs on a row that has: an attempt on its event, a transition on its link."""
    named = {model.__name__ for model in with_a_bridge()}
    assert named >= {
        *("WebhookEvent", "OrderLink", "StatusRule", "AllowedMove", "HistoricalStatusRule", "HistoricalAllowedMove"),
        *("Intent", "DriftFinding", "TodoItem", "Run", "Alarm"),
    }
    assert {Attempt, StatusTransition}.isdisjoint(with_a_bridge())


def test_who_is_erased_in_one_shop_takes_nobody_of_the_other_along(two: Two) -> None:
    sold(two, 1)
    for pk, sides in two.sides.items():
        order = sides.shop.orders[1]
        sides.shop.orders[1] = {**order, "billing": {**order["billing"], "email": f"of-{pk}@customer.example"}}
    two.reconcile()
    customer = erasure.Customer(f"of-{two.bridge.pk}@customer.example")
    found = erasure.find(customer)
    assert found.of_bridges == [(two.bridge.pk, 1)]
    erasure.erase(customer, found, actor="ann", reason="asked")
    kept = Counter(WebhookEvent.objects.exclude(body=b"").values_list("bridge", flat=True))
    assert set(kept) == {1}
    assert erasure.find(customer).of_bridges == [(two.bridge.pk, 1)]


def test_of_a_customer_of_both_shops_one_is_erased_alone(two: Two) -> None:
    sold(two, 1)
    for sides in two.sides.values():
        order = sides.shop.orders[1]
        sides.shop.orders[1] = {**order, "billing": {**order["billing"], "email": "ann@customer.example"}}
    two.reconcile()
    WebhookEvent.objects.update(reason="Said by ann@customer.example")
    out = StringIO()
    call_command("erase_customer", "ann@customer.example", "--bridge", "two", "--reason", "asked", stdout=out)
    assert "on another than Two" in out.getvalue()
    customer = erasure.Customer("ann@customer.example")
    for bridge, is_there in ((default_bridge(), True), (two.bridge, False)):
        events = WebhookEvent.objects.filter(bridge=bridge)
        assert any("ann@" in event.reason for event in events) is is_there
        assert events.exclude(customer=None).exists() is is_there
        texts = Call.objects.filter(attempt__event__bridge=bridge).values_list("request_body", "response_body")
        assert any(customer.is_mentioned(*one) for one in texts) is is_there
    assert erasure.find(customer, only=1).of_bridges == [(1, 1)]
