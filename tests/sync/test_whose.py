"""Whose order is it? Whatever way it comes in: a reused number or id, a copy of the shop, another shop on the CRM."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orders.models import OrderLink, StaffAction, StatusTransition
from orders.rules import current_lifecycle
from sync.alarms import open_alarms
from sync.backoffice import edited
from sync.backoffice.comparison import compare
from sync.clients import shop as shop_client
from sync.clients.crm.rest import RestCrm
from sync.clients.shop import Shop
from sync.clients.snapshots import CrmSnapshot
from sync.jobs import backfill as backfilling
from sync.jobs import bulk_replay, drift, engine, reconciliation, resync
from sync.jobs.selection import Selection
from sync.models import Intent, Run
from sync.monitoring import todo
from sync.pipeline import doubts, internal_events, origin, replays
from sync.pipeline.claim import Claim
from sync.pipeline.dry_run import run_dry
from sync.pipeline.plan import EventFacts
from sync.pipeline.whose import agrees, identity, is_same
from sync.sandbox import crm as sandbox_crm
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.orders import new_order
from tests import pipeline
from tests.deliveries import from_crm, post, signed_by_shop
from tests.factories import WebhookEventFactory
from tests.sync.conftest import NEW_YEAR, TwoSides
from tests.sync.test_backfill import run_it as backfill
from webhooks.configs import PREFIX
from webhooks.models import State, WebhookEvent

LATER = NEW_YEAR + timedelta(days=30)
STAGING = "https://staging.shop.example"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Of earlier tests' shops; and with secrets, so that deliveries are let in."""
    monkeypatch.setattr(origin, "_said", {})
    settings.RECONCILE_DAYS = 3650
    settings.WOO_WEBHOOK_SECRETS = ["lab-webhook-secret"]
    settings.CRM_WEBHOOK_SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]


@pytest.fixture
def others(two_sides: TwoSides) -> list[int]:
    """Linked orders that nothing happens to: they show that it is the same shop."""
    ids = two_sides.orders(3, first=101)
    backfill()
    return ids


def work_off() -> None:
    while True:
        WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now())
        if not pipeline.work_once():
            return


def told(woo_id: int, body: Any = None, topic: str = "order.updated", **headers: str) -> WebhookEvent:
    raw = json.dumps({"id": woo_id} if body is None else body).encode()
    answer = post("/webhooks/woocommerce/", raw, signed_by_shop(raw, topic) | headers)
    assert answer.status_code == 200, answer.content
    return WebhookEvent.objects.get(pk=answer.json()["event"])


def result(event: WebhookEvent) -> str:
    event.refresh_from_db()
    return event.outcome or event.state


def alarms() -> list[str]:
    return sorted(alarm.key for alarm in open_alarms())


# --- the ways in ---------------------------------------------------------------------------------------------------


def by_delivery(sides: TwoSides, woo_id: int) -> None:
    told(woo_id, sides.shop.orders.get(woo_id))
    work_off()


def by_a_delivery_of_the_number_alone(sides: TwoSides, woo_id: int) -> None:
    told(woo_id, topic="order.restored")
    work_off()


def by_backfill(sides: TwoSides, woo_id: int) -> None:
    run = runs_to_the_end(lambda: backfilling.start(actor="anna"))
    assert run.state == Run.State.DONE, run.error


def by_reconcile(sides: TwoSides, woo_id: int) -> None:
    runs_to_the_end(lambda: reconciliation.start(deep=True))
    work_off()


def by_replay(sides: TwoSides, woo_id: int) -> None:
    event = WebhookEventFactory(order_ref=str(woo_id), state=State.DEAD, next_attempt_at=None)
    replays.replay(event.pk, by="ada", as_seen=replays.condition(event))
    work_off()


def by_an_edited_copy(sides: TwoSides, woo_id: int) -> None:
    event = WebhookEventFactory(order_ref=str(woo_id), state=State.DEAD, next_attempt_at=None)
    order = sides.shop.orders.get(woo_id) or new_order(woo_id, LATER, sides.shop.url, {})
    content, signal = edited.read_edited(event, json.dumps(order), exact=True)
    edited.post_copy(event, content, signal, by="ada", once="1")
    work_off()


def by_bulk(sides: TwoSides, woo_id: int) -> None:
    WebhookEventFactory(order_ref=str(woo_id), state=State.DEAD, next_attempt_at=None)
    User.objects.get_or_create(username="ada", is_superuser=True, is_staff=True)
    chosen = Selection(events=WebhookEvent.objects.filter(state=State.DEAD), query="state__exact=dead")
    runs_to_the_end(lambda: bulk_replay.start(chosen, actor="ada", reason="mended"))
    work_off()


FROM_SHOP = (
    by_delivery,
    by_a_delivery_of_the_number_alone,
    by_backfill,
    by_reconcile,
    by_replay,
    by_an_edited_copy,
    by_bulk,
)
Way = Callable[[TwoSides, int], None]


def by_event(sides: TwoSides, woo_id: int) -> None:
    from_crm({"event_id": "evt_1", "crm_order_id": crm_id(woo_id)})
    work_off()


def by_resync(sides: TwoSides, woo_id: int) -> None:
    runs_to_the_end(lambda: resync.start(actor="anna", reason="asked", orders=[str(woo_id)]))


def by_repair(sides: TwoSides, woo_id: int) -> None:
    internal_events.resync(OrderLink.objects.get(woo_id=woo_id), by="ada", reason="asked")
    work_off()


FROM_CRM = (by_event, by_resync, by_repair, by_reconcile)


def crm_id(woo_id: int) -> str:
    return OrderLink.objects.get(woo_id=woo_id).crm_order_id


def runs_to_the_end(start: Callable[[], Run]) -> Run:
    run = start()
    assert engine.carry_out(run), run.error
    return run


def crm_has(sides: TwoSides, order: dict[str, Any]) -> dict[str, Any]:
    return sides.crm.add_order(str(order["id"]), "paid", **{name: order[name] for name in order.keys() - {"status"}})


def link_14(sides: TwoSides, **fields: Any) -> str:
    """The shop's order 14 stands in the CRM; its id there."""
    sides.order(14, **fields)
    backfill()
    sides.forget_calls()
    return crm_id(14)


# --- an order that the shop does not know --------------------------------------------------------------------------


@pytest.mark.parametrize("way", [by_delivery, by_replay, by_an_edited_copy, by_bulk])
def test_an_order_that_the_shop_does_not_know_is_never_created(two_sides: TwoSides, way: Way) -> None:
    """Whatever the body says of it: the order of a copy, or one that was created and deleted at once."""
    way(two_sides, 14)
    event = WebhookEvent.objects.latest("pk")
    assert (event.outcome, "does not know this order (404)" in event.reason) == ("no_change", True)
    assert (two_sides.crm.orders, two_sides.writes()) == ({}, Counter())
    assert not OrderLink.objects.exists()


@pytest.mark.parametrize("topic", ["order.created", "order.updated", "order.deleted", "order.restored", ""])
def test_not_even_from_a_whole_body(two_sides: TwoSides, topic: str) -> None:
    event = told(14, new_order(14, LATER, two_sides.shop.url, {"status": "processing"}), topic)
    work_off()
    assert result(event) in ("no_change", "parked")
    assert two_sides.crm.orders == {}


def test_what_the_crm_has_under_that_number_is_left_alone(two_sides: TwoSides) -> None:
    """It was linked by nobody, and may be another shop's."""
    two_sides.crm.add_order("14", "paid")
    event = told(14)
    work_off()
    assert (result(event), two_sides.writes()) == ("no_change", Counter())


def test_a_creation_in_doubt_of_an_order_that_is_gone_is_still_cleared_up(two_sides: TwoSides) -> None:
    """It was ours: the CRM is told that the order is gone."""
    [made] = [two_sides.crm.add_order("14")]
    Intent.objects.create(woo_id=14, kind=Intent.Kind.CREATE, at=timezone.now() - timedelta(minutes=1))
    event = told(14)
    work_off()
    assert result(event) == "created"
    assert crm_id(14) == made["id"]
    assert two_sides.crm.orders[made["id"]]["order"] == {"id": 14, "status": "trash"}


def test_a_linked_order_that_is_gone_is_told_as_gone_whatever_the_body_says(two_sides: TwoSides) -> None:
    crm = link_14(two_sides)
    order = two_sides.shop.orders[14]
    two_sides.shop.delete(14)
    event = told(14, {**order, "status": "completed", "customer_note": "news"})
    work_off()
    assert result(event) == "updated"
    assert two_sides.crm.orders[crm]["order"]["status"] == "trash"


@pytest.mark.parametrize(
    "body",
    [
        {"id": 14, "amount": "5.00", "reason": "", "refunded_by": 1},
        {"id": 14, "name": "T-shirt", "price": "10.00"},
        {"id": 14, "status": None},
        {"id": 14, "status": ["completed"]},
        {"id": 14, "status": ""},
        {"id": 14, "email": "ann@example.test"},
    ],
)
def test_a_body_is_an_order_only_if_it_looks_like_one(two_sides: TwoSides, body: dict[str, Any]) -> None:
    two_sides.order(14)
    event = told(14, body)
    work_off()
    assert result(event) == "parked"
    assert re.search("no order|refund", event.reason), event.reason
    assert two_sides.crm.orders == {}


# --- a copy of the shop --------------------------------------------------------------------------------------------


def of_staging(order: dict[str, Any], url: str = STAGING) -> dict[str, Any]:
    path = f"{url}/wp-json/wc/v3/orders"
    return {**order, "_links": {"self": [{"href": f"{path}/{order['id']}"}], "collection": [{"href": path}]}}


@pytest.mark.parametrize("known_here", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_the_delivery_of_a_copy_is_parked_and_raises_one_alarm(
    two_sides: TwoSides, known_here: bool, linked: bool
) -> None:
    if linked:
        link_14(two_sides)
    elif known_here:
        two_sides.order(14)
    if linked and not known_here:
        two_sides.shop.delete(14)
    before = json.dumps(two_sides.crm.orders, sort_keys=True)
    copy = of_staging(new_order(14, LATER, STAGING, {"status": "completed"}))
    events = [told(14, copy, "order.updated"), told(14, {**copy, "status": "cancelled"}, "order.updated")]
    work_off()
    assert [result(event) for event in events if result(event) != "superseded"][-1] == "parked"
    assert "comes from another shop" in events[-1].reason
    assert "staging.shop.example" in events[-1].reason
    assert "WOO_OTHER_URLS" in events[-1].reason
    assert alarms() == ["whose:another_shop"]
    assert json.dumps(two_sides.crm.orders, sort_keys=True) == before


def test_the_source_header_is_heard_where_the_body_says_nothing(two_sides: TwoSides) -> None:
    link_14(two_sides)
    event = told(14, topic="order.deleted", **{"X-WC-Webhook-Source": f"{STAGING}/"})
    work_off()
    assert (result(event), alarms()) == ("parked", ["whose:another_shop"])


@pytest.mark.parametrize("again", [by_replay, by_bulk, by_an_edited_copy])
def test_it_stays_parked_when_it_is_asked_again(two_sides: TwoSides, again: Way) -> None:
    two_sides.order(14)
    event = told(14, of_staging(two_sides.shop.orders[14]))
    work_off()
    if again is by_an_edited_copy:
        content, signal = edited.read_edited(event, bytes(event.body).decode(), exact=True)
        event = edited.post_copy(event, content, signal, by="ada", once="1")
    else:
        event.refresh_from_db()
        assert run_dry(event).kind == "person"
        replays.replay(event.pk, by="ada", as_seen=replays.condition(event))
    work_off()
    assert (result(event), two_sides.crm.orders) == ("parked", {})


def test_what_our_shop_tells_at_the_same_time_is_not_parked_with_it(two_sides: TwoSides) -> None:
    order = two_sides.order(14)
    ours = [told(14, order), told(14, {**order, "customer_note": "x"})]
    copied = told(14, of_staging(order))
    last = told(14, {**order, "customer_note": "y"})
    work_off()
    assert [result(event) for event in (*ours, copied, last)] == ["superseded", "created", "parked", "no_change"]


@pytest.mark.parametrize("copy_first", [True, False])
def test_nor_is_what_we_found_ourselves(two_sides: TwoSides, copy_first: bool) -> None:
    """Found by the model: a find of the sweep was settled with the copy's delivery."""
    order = two_sides.order(14)
    copied = told(14, of_staging(order)) if copy_first else None
    ours = WebhookEventFactory(order_ref="14", source=internal_events.SWEEP, headers={})
    copied = copied or told(14, of_staging(order))
    work_off()
    assert (result(ours), result(copied)) == ("created", "parked")


def test_the_alarm_is_over_when_nobody_has_to_look_any_more(two_sides: TwoSides) -> None:
    event = told(14, of_staging(new_order(14, LATER, STAGING, {})))
    work_off()
    doubts.on_schedule()
    assert alarms() == ["whose:another_shop"]
    two_sides.order(14)
    by_delivery(two_sides, 14)
    todo.refresh()  # that our shop's order is well says nothing of the copy
    doubts.on_schedule()
    assert (result(event), alarms()) == ("parked", ["whose:another_shop"])
    replays.resolve(event.pk, by="ada", reason="The webhooks of the copy are removed.")
    doubts.on_schedule()
    assert alarms() == []


SAME = [
    ("https://shop.example", "https://shop.example/"),
    ("https://shop.example", "http://shop.example"),
    ("https://shop.example", "https://www.shop.example/"),
    ("https://www.shop.example", "https://SHOP.example/"),
    ("https://shop.example", "https://shop.example:443/"),
    ("http://shop.example:80", "https://shop.example/"),
    ("https://shop.example/store", "https://shop.example/store/"),
    ("https://shop.example/Store", "https://shop.example/store/"),
    ("https://bücher.example", "https://xn--bcher-kva.example/"),
    ("https://shop.example", "https://shop.example./"),
    ("https://shop.example:8443", "https://shop.example:8443"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
@pytest.mark.parametrize(
    "path", ["", "/wp-json/wc/v3/orders/14", "/index.php?rest_route=/wc/v3/orders/14", "/api/wc/v3/orders"]
)
def test_the_same_shop(one: str, other: str, path: str) -> None:
    assert origin.Address.of(one) == origin.Address.of(other.rstrip("/") + path)


@pytest.mark.parametrize(
    "url",
    [
        "https://staging.shop.example",
        "https://shop.example.test",
        "https://shop.example:8443",
        "https://shop.example/x",
    ],
)
def test_another_shop(url: str) -> None:
    assert origin.Address.of("https://shop.example") != origin.Address.of(url)


@pytest.mark.parametrize(
    "url", [None, 5, "", "nonsense", "//", "https://[", "https://x:99999999/", "https://\ud800.x/"]
)
def test_what_is_no_address_says_nothing(url: Any) -> None:
    assert origin.Address.of(url) is None


@pytest.mark.parametrize(
    "links", [None, 5, [], {"self": None}, {"self": [None, 5, {}]}, {"self": [{"href": 5}]}, {"collection": "x"}]
)
def test_links_that_say_nothing_park_nothing(two_sides: TwoSides, links: Any) -> None:
    event = told(14, {**two_sides.order(14), "_links": links})
    work_off()
    assert result(event) == "created"


def test_what_the_shop_calls_itself_is_our_shop(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """WOO_URL is an internal address, and the shop knows only its public one; it is asked once for many deliveries."""
    asked = []

    def named(shop: Shop) -> list[str]:
        asked.append(shop)
        return ["https://shop.example/wp", "https://shop.example"]

    monkeypatch.setattr(Shop, "addresses", named)
    events = [told(n, of_staging(two_sides.order(n), "https://www.shop.example")) for n in (14, 15)]
    work_off()
    assert [result(event) for event in events] == ["created", "created"]
    assert len(asked) == 1


def test_the_shop_is_asked_for_both_of_its_addresses(two_sides: TwoSides) -> None:
    assert shop_client.connect().addresses() == [two_sides.shop.url]


def test_an_address_that_staff_name_is_our_shop(two_sides: TwoSides, settings: Any) -> None:
    event = told(14, of_staging(two_sides.order(14)))
    work_off()
    assert result(event) == "parked"
    settings.WOO_OTHER_URLS = [f"{STAGING}/"]
    replays.replay(event.pk, by="ada", as_seen=replays.condition(event))
    work_off()
    assert result(event) == "created"


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:9", "http://127.0.0.1:9/staging"])
def test_on_the_shops_own_host_the_order_tells(two_sides: TwoSides, elsewhere: str) -> None:
    """Languages and proxies give one shop several ports and paths; a copy may have one as well."""
    ours, theirs = two_sides.order(14), new_order(15, LATER, elsewhere, {"order_key": "wc_order_other"})
    two_sides.order(15)
    events = [
        told(14, of_staging(ours, elsewhere)),
        told(15, of_staging(theirs, elsewhere)),
        told(16, of_staging({**theirs, "id": 16}, elsewhere)),
    ]
    work_off()
    assert [result(event) for event in events] == ["created", "parked", "parked"]


def test_what_we_read_from_the_shop_ourselves_needs_no_proof(two_sides: TwoSides) -> None:
    two_sides.shop.load(of_staging(two_sides.order(14)))
    by_reconcile(two_sides, 14)
    assert crm_id(14)


# --- a number that the shop gives again ----------------------------------------------------------------------------


def another_customer(woo_id: int = 14, **fields: Any) -> dict[str, Any]:
    return {"order_key": "wc_order_B", "billing": {"first_name": "Bea", "email": "bea@example.test"}, **fields}


@pytest.mark.cases_alike
@pytest.mark.parametrize("way", FROM_SHOP)
@pytest.mark.parametrize(
    "reused",
    [
        another_customer(),
        {"order_key": "wc_order_B"},
        {"order_key": "wc_order_sandbox14", "date_created_gmt": "2026-03-01T10:00:00"},
    ],
    ids=["all of it", "key", "creation time"],
)
def test_another_order_under_a_linked_number_is_not_sent(
    two_sides: TwoSides, others: list[int], way: Way, reused: dict[str, Any]
) -> None:
    crm = link_14(two_sides, status="processing")
    two_sides.order(14, LATER, **{"date_created_gmt": "2026-01-01T00:00:00", **reused, "customer_note": "news"})
    way(two_sides, 14)
    assert "PATCH" not in str(two_sides.writes())
    assert two_sides.crm.orders[crm]["order"]["billing"]["first_name"] == "Jürgen"
    [parked] = WebhookEvent.objects.filter(state=State.PARKED)
    assert "has given this number to another order" in parked.reason
    assert "Bea" not in parked.reason
    assert alarms() == ["whose:reused_number"]


@pytest.mark.parametrize("way", FROM_CRM)
def test_nor_does_it_get_the_status_of_the_order_before_it(two_sides: TwoSides, others: list[int], way: Way) -> None:
    crm = link_14(two_sides)
    two_sides.order(14, NEW_YEAR, **another_customer())
    two_sides.crm.set_status(crm, "paid")
    way(two_sides, 14)
    assert two_sides.shop.status_writes == []
    assert two_sides.shop.orders[14]["status"] == "pending"
    assert alarms() == ["whose:reused_number"]


def test_nor_is_it_forced(two_sides: TwoSides) -> None:
    link_14(two_sides)
    two_sides.order(14, NEW_YEAR, **another_customer())
    internal_events.force(OrderLink.objects.get(), to_status="completed", by="ada", reason="asked")
    work_off()
    assert two_sides.shop.status_writes == []
    assert not StatusTransition.objects.exists()
    assert alarms() == ["whose:reused_number"]


def test_a_shop_that_was_restored_is_still_the_same_shop(two_sides: TwoSides) -> None:
    """The latest orders are gone, or their numbers were given again: runs go on with all others."""
    two_sides.orders(40)
    backfill()
    for woo_id in range(15, 41):
        two_sides.shop.delete(woo_id)
    two_sides.order(15, LATER, **another_customer(15), status="completed")
    runs_to_the_end(reconciliation.start)
    work_off()
    assert alarms() == ["whose:reused_number"]


def test_what_a_copy_tells_does_not_make_our_shop_another_one(two_sides: TwoSides) -> None:
    link_14(two_sides)
    told(14, of_staging(new_order(14, LATER, STAGING, {})))
    work_off()
    runs_to_the_end(reconciliation.start)


def test_a_link_of_before_learns_it_at_the_next_read(two_sides: TwoSides, others: list[int]) -> None:
    link_14(two_sides)
    OrderLink.objects.update(identity={}, external_id="")
    by_delivery(two_sides, 14)
    link = OrderLink.objects.get(woo_id=14)
    assert link.identity == identity(two_sides.shop.orders[14])
    assert "wc_order" not in json.dumps(link.identity)
    OrderLink.objects.update(identity={}, external_id="")
    two_sides.crm.set_status(link.crm_order_id, "paid")
    by_event(two_sides, 14)
    link.refresh_from_db()
    assert (link.identity, link.external_id) == (identity(two_sides.shop.orders[14]), "14")


def test_a_draft_becomes_an_order_with_another_creation_time(two_sides: TwoSides) -> None:
    draft = two_sides.order(14, status="checkout-draft")
    two_sides.crm.add_order("14")
    by_delivery(two_sides, 14)
    two_sides.shop.load({**draft, "status": "processing", "date_created_gmt": "2026-03-01T10:00:00"})
    by_delivery(two_sides, 14)
    assert [event.outcome for event in WebhookEvent.objects.order_by("pk")] == ["created", "updated"]


ORDER = new_order(14, NEW_YEAR, "https://shop.example", {})


def without(order: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in order.items() if name not in names}


BARE = without(ORDER, "order_key", "date_created_gmt")
BEA = {"billing": {"email": "bea@example.test"}}


@pytest.mark.parametrize(
    ("known", "now", "same"),
    [
        (ORDER, {**ORDER, "total": "1.00", "status": "completed", **BEA}, True),
        (ORDER, {**ORDER, "order_key": "wc_order_B"}, False),
        (ORDER, {**ORDER, "date_created_gmt": "2026-02-01T00:00:00"}, False),
        (ORDER, without({**ORDER, "date_created_gmt": "2026-02-01T00:00:00"}, "order_key"), False),
        (ORDER, without({**ORDER, "order_key": "x"}, "date_created_gmt"), False),
        (ORDER, without(ORDER, "order_key"), True),
        (ORDER, {**ORDER, "order_key": None, "date_created_gmt": ""}, True),
        (ORDER, {**ORDER, "date_created_gmt": "2026-01-01T00:00:00Z"}, True),
        (BARE, {**BARE, **BEA, "total": "1.00"}, False),
        (BARE, {**BARE, "total": "1.00"}, True),
        (BARE, {**BARE, **BEA}, True),
        (BARE, ORDER, True),
        ({}, ORDER, True),
        ({}, {}, True),
    ],
)
def test_whether_it_is_the_same_order(known: dict[str, Any], now: dict[str, Any], same: bool) -> None:
    assert is_same(identity(known), identity(now)) is same


# --- an order that is found in the CRM -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "agreed"),
    [
        ({}, True),
        (ORDER, True),
        ({**ORDER, "total": "1.00"}, True),
        ({"order_key": "wc_order_B"}, False),
        ({"date_created_gmt": "2025-01-01T00:00:00"}, False),
        (BARE, True),
        ({"total": float(ORDER["total"])}, True),
        ({"total": "1.00"}, False),
        (BEA, False),
        ({"billing": {"email": ORDER["billing"]["email"].upper()}}, True),
        ({"total": None, "billing": None}, True),
        ({"total": "NaN"}, True),
    ],
)
def test_what_is_found_in_the_crm_has_to_agree(shown: dict[str, Any], agreed: bool) -> None:
    assert agrees(shown, ORDER) is agreed


@pytest.fixture
def showing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CRM that shows what it was sent."""
    monkeypatch.setattr(sandbox_crm, "SHOWN", (*sandbox_crm.SHOWN, "order"))


@pytest.mark.usefixtures("showing")
@pytest.mark.parametrize("way", [*FROM_SHOP, by_reconcile])
def test_another_order_that_is_found_is_neither_linked_nor_changed(two_sides: TwoSides, way: Way) -> None:
    two_sides.order(14)
    found = crm_has(two_sides, new_order(14, LATER, STAGING, another_customer()))
    way(two_sides, 14)
    assert not OrderLink.objects.exists()
    assert (two_sides.writes(), alarms()) == (Counter(), ["whose:found_another"])
    assert two_sides.crm.orders[found["id"]] == found


@pytest.mark.usefixtures("showing")
def test_nor_is_it_when_the_crm_tells_of_it(two_sides: TwoSides) -> None:
    two_sides.order(14)
    found = crm_has(two_sides, new_order(14, LATER, STAGING, another_customer()))
    from_crm({"event_id": "evt_1", "crm_order_id": found["id"]})
    work_off()
    assert (OrderLink.objects.count(), two_sides.shop.status_writes) == (0, [])
    assert alarms() == ["whose:found_another"]


@pytest.mark.usefixtures("showing")
@pytest.mark.parametrize("many", [False, True])
def test_nor_is_it_when_the_crm_answers_a_creation_with_it(
    two_sides: TwoSides, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list was late, so that we did not find it."""
    two_sides.orders(3 if many else 1, first=14)
    crm_has(two_sides, new_order(14, LATER, STAGING, another_customer()))
    monkeypatch.setattr("sync.clients.crm.rest.RestCrm.find", lambda crm, external_id: None)
    by_backfill(two_sides, 14)
    assert not OrderLink.objects.filter(woo_id=14).exists()
    [parked] = WebhookEvent.objects.filter(state=State.PARKED)
    assert "order of this number is another one" in parked.reason
    assert alarms() == ["whose:found_another"]


@pytest.mark.usefixtures("showing")
def test_our_own_order_is_found_and_linked(two_sides: TwoSides) -> None:
    order = two_sides.order(14)
    found = crm_has(two_sides, order)
    by_delivery(two_sides, 14)
    assert crm_id(14) == found["id"]


# --- an id that the CRM gives again --------------------------------------------------------------------------------


def give_again(crm: SandboxCrm, crm_order_id: str, name: str | None) -> None:
    crm.orders[crm_order_id] |= {"external_id": name, "version": 9}


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("way", "name"),
    [
        *((way, "15") for way in FROM_SHOP),
        *((FROM_SHOP[0], name) for name in ("99999", "shop-b-14", "SO-0001", "014-2")),
    ],
)
def test_another_order_under_a_linked_id_is_not_updated(
    two_sides: TwoSides, others: list[int], way: Way, name: str
) -> None:
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, name)
    two_sides.shop.edit(14, customer_note="news")
    way(two_sides, 14)
    assert "crm PATCH" not in two_sides.writes()
    assert alarms() == ["whose:reused_id"]


@pytest.mark.parametrize("way", FROM_CRM)
def test_nor_does_the_shop_get_its_status(two_sides: TwoSides, others: list[int], way: Way) -> None:
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, "15")
    two_sides.crm.set_status(crm, "paid")
    way(two_sides, 14)
    assert two_sides.shop.status_writes == []
    assert alarms() == ["whose:reused_id"]
    link = OrderLink.objects.get(woo_id=14)
    assert (link.crm_status, link.external_id) == ("new", "14")


def test_ours_is_made_anew_beside_it(two_sides: TwoSides) -> None:
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, "15")
    two_sides.shop.edit(14, customer_note="news")
    by_delivery(two_sides, 14)
    internal_events.make_anew(OrderLink.objects.get(), by="ada", reason="it was deleted there")
    work_off()
    [made] = two_sides.crm.by_external("14")
    link = OrderLink.objects.get()
    assert (link.crm_order_id, link.external_id) == (made["id"], "14")
    assert (made["order"]["customer_note"], made["id"] != crm) == ("news", True)
    assert "news" not in str(two_sides.crm.orders[crm])
    todo.refresh()
    doubts.on_schedule()
    assert alarms() == []


@pytest.mark.parametrize("way", ["forced", "taken from the event"])
def test_nor_is_it_told_of_a_move_before_which_it_was_not_read(two_sides: TwoSides, settings: Any, way: str) -> None:
    settings.VERIFY = "critical"
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, "15")
    if way == "forced":
        internal_events.force(OrderLink.objects.get(), to_status="on-hold", by="ada", reason="asked")
    else:
        from_crm({"event_id": "evt_1", "crm_order_id": crm, "status": "on_hold", "version": 10})
    work_off()
    assert two_sides.shop.orders[14]["status"] == "on-hold"
    assert two_sides.writes() == Counter({"shop PUT": 1})
    two_sides.shop.edit(14, customer_note="news")
    by_delivery(two_sides, 14)
    assert two_sides.writes() == Counter({"shop PUT": 1})
    assert alarms() == ["whose:reused_id"]


@pytest.mark.parametrize("name", [None, "", "14", "0014"])
def test_no_name_proves_nothing(two_sides: TwoSides, others: list[int], name: str | None) -> None:
    crm = link_14(two_sides)
    two_sides.shop.edit(14, customer_note="news")
    give_again(two_sides.crm, crm, name)
    by_delivery(two_sides, 14)
    two_sides.crm.set_status(crm, "paid")
    by_event(two_sides, 14)
    assert two_sides.crm.orders[crm]["order"]["customer_note"] == "news"
    assert two_sides.shop.orders[14]["status"] == "processing"


def test_it_is_noticed_although_nothing_else_changed(two_sides: TwoSides, others: list[int]) -> None:
    """A sweep sees it, and says so once; drift says that the order is missing there."""
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, "15")
    by_reconcile(two_sides, 14)
    by_reconcile(two_sides, 14)
    assert WebhookEvent.objects.filter(state=State.PARKED).count() == 1
    assert alarms() == ["whose:reused_id"]
    run = runs_to_the_end(lambda: drift.start(actor="anna"))
    assert (run.counts["missing_in_crm"], run.counts["status"]) == (1, 0)


def test_the_page_that_compares_says_so(two_sides: TwoSides) -> None:
    crm = link_14(two_sides)
    give_again(two_sides.crm, crm, "15")
    found = compare(OrderLink.objects.get(), current_lifecycle())
    assert (found.agree, "given this id to another order" in found.verdict) == (False, True)


# --- a person says that it is the same -----------------------------------------------------------------------------


@pytest.mark.parametrize("doubt", ["number", "id"])
def test_a_person_says_that_it_is_the_same_order(two_sides: TwoSides, admin_client: Client, doubt: str) -> None:
    """Its creation date was edited in the shop, or its external id in the CRM."""
    crm = link_14(two_sides)
    two_sides.shop.edit(14, customer_note="news")
    if doubt == "number":
        two_sides.shop.orders[14]["date_created_gmt"] = "2026-02-01T00:00:00"
    else:
        give_again(two_sides.crm, crm, "SO-14")
    by_delivery(two_sides, 14)
    parked = WebhookEvent.objects.get(state=State.PARKED)
    page = f"/admin/orders/orderlink/{OrderLink.objects.get().pk}/same/"
    assert "Nothing is written now" in admin_client.post(page).content.decode()
    assert run_dry(parked).kind == "person"
    admin_client.post(page, {"confirmed": "yes", "reason": ""})
    assert run_dry(parked).kind == "person"
    admin_client.post(page, {"confirmed": "yes", "reason": "I have looked at it"})
    replays.replay(parked.pk, by="ada", as_seen=replays.condition(parked))
    work_off()
    assert result(parked) == "updated"
    assert two_sides.crm.orders[crm]["order"]["customer_note"] == "news"
    done = StaffAction.objects.filter(action="same order").get()
    assert (done.reason, done.link) == ("I have looked at it", OrderLink.objects.get())
    doubts.on_schedule()
    assert alarms() == []


def test_nothing_is_taken_for_the_same_while_a_side_is_away(two_sides: TwoSides, admin_client: Client) -> None:
    crm = link_14(two_sides)
    two_sides.crm.delete(crm)
    two_sides.shop.orders[14]["date_created_gmt"] = "2026-02-01T00:00:00"
    link = OrderLink.objects.get()
    admin_client.post(f"/admin/orders/orderlink/{link.pk}/same/", {"confirmed": "yes", "reason": "x"})
    link.refresh_from_db()
    assert link.identity["created"] == "2026-01-01T00:00:00"
    assert not StaffAction.objects.filter(action="same order").exists()


# --- two shops on one CRM ------------------------------------------------------------------------------------------


@pytest.fixture
def shop_b(settings: Any) -> None:
    settings.EXTERNAL_ID_PREFIX = "b-"


@pytest.mark.usefixtures("shop_b")
@pytest.mark.parametrize("way", FROM_SHOP)
def test_the_prefix_stands_wherever_the_crm_is_told_the_number(two_sides: TwoSides, way: Way) -> None:
    theirs = two_sides.crm.add_order("14", "paid")
    two_sides.order(14)
    way(two_sides, 14)
    [made] = two_sides.crm.creates
    assert (made.external_id, made.key) == ("b-14", "woo-b-14")
    assert {call.query.get("external_id") for call in two_sides.crm.requests} - {None} == {"b-14"}
    link = OrderLink.objects.get()
    assert (link.crm_order_id, link.external_id) == (made.crm_id, "b-14")
    assert two_sides.crm.orders[theirs["id"]] == theirs


@pytest.mark.cases_alike
@pytest.mark.usefixtures("shop_b")
@pytest.mark.parametrize("name", ["14", "a-14", "b-", "b-x", "B-14", "b-b-14", "woo-b-14", "b14", None])
def test_other_shops_orders_are_not_ours(two_sides: TwoSides, others: list[int], name: str | None) -> None:
    two_sides.order(14)
    backfill()
    theirs = two_sides.crm.add_order(name, "new")
    two_sides.crm.set_status(theirs["id"], "cancelled")
    from_crm({"event_id": "evt_1", "crm_order_id": theirs["id"]})
    work_off()
    assert WebhookEvent.objects.latest("pk").outcome == "not_ours"
    by_reconcile(two_sides, 14)
    assert two_sides.shop.status_writes == []


@pytest.mark.usefixtures("shop_b")
def test_an_order_of_ours_that_is_not_linked_is_known_by_its_prefix(two_sides: TwoSides) -> None:
    two_sides.order(14)
    ours = two_sides.crm.add_order("b-14", "paid")
    from_crm({"event_id": "evt_1", "crm_order_id": ours["id"]})
    work_off()
    assert crm_id(14) == ours["id"]
    assert two_sides.shop.orders[14]["status"] == "processing"


@pytest.mark.parametrize("remembered", [True, False])
def test_a_prefix_that_comes_later_parks_no_order_of_before(
    two_sides: TwoSides, settings: Any, others: list[int], remembered: bool
) -> None:
    """They keep their names in the CRM; new ones get the prefix."""
    crm = link_14(two_sides)
    if not remembered:
        OrderLink.objects.update(identity={}, external_id="")
    settings.EXTERNAL_ID_PREFIX = "a-"
    two_sides.crm.set_status(crm, "paid")
    by_event(two_sides, 14)
    two_sides.shop.edit(14, customer_note="news")
    by_delivery(two_sides, 14)
    assert two_sides.shop.orders[14]["status"] == "processing"
    assert two_sides.crm.orders[crm]["order"]["customer_note"] == "news"
    two_sides.order(15)
    by_delivery(two_sides, 15)
    assert OrderLink.objects.get(woo_id=15).external_id == "a-15"
    two_sides.crm.orders[crm]["external_id"] = "a-14"  # the CRM's people have renamed it
    by_resync(two_sides, 14)
    assert alarms() == []


# --- how long a lagging CRM is waited for --------------------------------------------------------------------------


def crm_at(version: int | None) -> CrmSnapshot:
    return CrmSnapshot(crm_order_id="C-1", external_id="14", status="new", version=version, updated_at=None, answer={})


def facts(read: CrmSnapshot | None, *waiting: tuple[int, int | None]) -> EventFacts:
    """Events that came so many seconds ago, with these versions."""
    now = timezone.now()
    events = [
        WebhookEventFactory.build(received_at=now - timedelta(seconds=ago), version=version) for ago, version in waiting
    ]
    return Claim(lease=None, events=events).facts(read)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_a_lag_lasts_since_the_first_event_that_is_ahead_however_many_follow() -> None:
    assert facts(crm_at(1), (70, 2), (40, 3), (10, 4)).waited >= timedelta(seconds=70)
    assert facts(None, (70, None), (10, None)).waited >= timedelta(seconds=70)
    assert timedelta(seconds=41) > facts(crm_at(2), (3600, 2), (40, 3), (10, 4)).waited >= timedelta(seconds=40)


def test_with_an_event_every_30_s_and_a_lagging_crm_an_order_is_settled_within_a_minute(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = link_14(two_sides)
    two_sides.crm.set_status(crm, "paid")
    for version in range(3, 6):
        from_crm({"event_id": f"evt_{version}", "crm_order_id": crm, "version": version, "status": "paid"})
    for ago, event in zip((61, 31, 1), WebhookEvent.objects.filter(side="crm").order_by("pk"), strict=True):
        moment = timezone.now() - timedelta(seconds=ago)
        WebhookEvent.objects.filter(pk=event.pk).update(received_at=moment, next_attempt_at=moment)
    work_off()
    assert two_sides.shop.orders[14]["status"] == "processing"
    assert not WebhookEvent.objects.unfinished().exists()


# --- the setting ---------------------------------------------------------------------------------------------------


def settings_with(prefix: str) -> subprocess.CompletedProcess[str]:
    code = "import integration_site.settings as s; print(s.EXTERNAL_ID_PREFIX)"
    env = {"PATH": os.environ["PATH"], "DEBUG": "true", "ORDERBRIDGE_ENV_FILE": "", "EXTERNAL_ID_PREFIX": prefix}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_a_prefix_after_which_the_number_can_not_be_told_is_refused_at_the_start() -> None:
    assert settings_with("shop-b:").stdout == "shop-b:\n"
    refused = settings_with("shop2").stderr.splitlines()[-1]
    assert "EXTERNAL_ID_PREFIX is 'shop2'" in refused
    assert "no digit at the end" in refused


@pytest.mark.parametrize("prefix", ["", "b-", "shop_2/", "x" * 20, "B"])
def test_a_good_prefix(prefix: str) -> None:
    assert re.fullmatch(PREFIX, prefix)


@pytest.mark.parametrize("prefix", ["2", "b-1", "b b", "b,", "x" * 21, "é-", "b-\n", "'", "%"])
def test_a_bad_prefix(prefix: str) -> None:
    assert not re.fullmatch(PREFIX, prefix)


def test_a_creation_that_is_answered_with_another_order_parks_whatever_the_backend(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again, it would be made and answered so again."""
    real = RestCrm.create

    def create(crm: RestCrm, external_id: str, order: Any) -> tuple[CrmSnapshot, bool]:
        made, is_new = real(crm, external_id, order)
        return replace(made, external_id="15"), is_new

    monkeypatch.setattr(RestCrm, "create", create)
    event = WebhookEventFactory(order_ref=str(two_sides.shop.create_order()["id"]))
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert event.state == State.PARKED
    assert "answered with the order of 15" in event.reason
    assert not OrderLink.objects.exists()
    assert two_sides.writes()["crm POST"] == 1
