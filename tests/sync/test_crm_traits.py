"""How a CRM behaves changes what is decided: whole seconds, ids that are reused, hooks that come early or unsigned."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.models import OrderLink
from sync.clients.crm.base import Traits
from sync.clients.crm.rest import RestCrm
from sync.pipeline import internal_events
from sync.pipeline.plan import EventFacts, Plan, ReadAgain
from tests import pipeline
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from tests.sync.test_decision_table import NOW, crm, link, moved, seconds
from webhooks.models import Side, WebhookEvent


def facts(seconds_ago: float = 0, **said: Any) -> EventFacts:
    return EventFacts(told_ago=seconds(seconds_ago), **said)


# --- a hook that is sent before the change is stored ---------------------------------------------------------------


@pytest.mark.parametrize("known", ["new", ""])
@pytest.mark.parametrize(
    ("event", "waits"),
    [
        (facts(0), True),
        (facts(2.9), True),
        (facts(3), False),
        (facts(0, waited=seconds(3600)), True),
        (facts(10, occurred_at=NOW + seconds(1)), True),
        (facts(60, occurred_at=NOW + seconds(1)), False),
        (facts(0, occurred_at=NOW), False),
        (facts(0, resync=True), True),
        (EventFacts(), False),
    ],
)
def test_the_state_of_before_is_not_believed_for_a_moment(event: EventFacts, waits: bool, known: str) -> None:
    decision = moved(event=event, link=link(crm_status=known, crm_version=None), crm=crm("new", None, 0))
    assert isinstance(decision, ReadAgain if waits else Plan)


def test_a_version_says_more_than_any_time() -> None:
    event = facts(version=2)
    assert isinstance(moved(event=event, link=link(), crm=crm("new", 2, 0)), Plan)


@pytest.fixture
def traits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Traits], None]:
    return lambda some: monkeypatch.setattr(RestCrm, "traits", some)


def told(two_sides: TwoSides, **said: Any) -> tuple[WebhookEvent, OrderLink]:
    """A delivery of the CRM about an order whose last change both sides know."""
    order = two_sides.shop.create_order(status="pending")
    made = two_sides.crm.add_order(str(order["id"]))
    known = {"crm_status": "new", "woo_status": "pending", "external_id": str(order["id"])}
    row = OrderLinkFactory(woo_id=order["id"], crm_order_id=made["id"], **known)
    event = WebhookEventFactory(side=Side.CRM, source="crm", order_ref=made["id"], signed_by="secret 1", **said)
    return event, row


def test_what_is_stored_a_moment_later_is_applied(two_sides: TwoSides, traits: Callable[[Traits], None]) -> None:
    traits(Traits(hooks="hints", hook_before_commit=True))
    event, row = told(two_sides, version=None, occurred_at=None)
    for one in two_sides.crm.orders.values():
        one["version"] = None
    pipeline.work_once()
    event.refresh_from_db()
    assert (event.state, event.attempts) == ("retrying", 0)
    two_sides.crm.orders[row.crm_order_id].update(status="paid", updated_at="2099-01-01T00:00:00Z")
    WebhookEvent.objects.update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
    WebhookEvent.objects.update(received_at=datetime.now(UTC) - timedelta(seconds=4))
    pipeline.work_once()
    event.refresh_from_db()
    assert event.outcome == "applied", event.reason
    assert two_sides.shop.orders[row.woo_id]["status"] == "processing"


@pytest.mark.parametrize("meanwhile", ["an older word", "staff compare"])
def test_the_last_word_is_what_is_waited_for(
    two_sides: TwoSides, traits: Callable[[Traits], None], meanwhile: str
) -> None:
    """The CRM tells of a move that it has not stored yet, and something else of that order has waited for an hour."""
    traits(Traits(hooks="hints", hook_before_commit=True))
    event, row = told(two_sides, version=None, occurred_at=None)
    other = {"source": internal_events.RESYNC} if meanwhile == "staff compare" else {"source": "crm"}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    WebhookEventFactory(side=Side.CRM, order_ref=event.order_ref, version=None, received_at=long_ago, **other)
    for one in two_sides.crm.orders.values():
        one["version"] = None
    pipeline.work_once()
    two_sides.crm.orders[row.crm_order_id].update(status="paid", updated_at="2099-01-01T00:00:00Z")
    WebhookEvent.objects.unfinished().update(received_at=long_ago, next_attempt_at=long_ago)
    pipeline.work_once()
    assert two_sides.shop.orders[row.woo_id]["status"] == "processing"


@pytest.mark.parametrize(
    ("some", "believed"),
    [
        (Traits(), True),
        (Traits(hooks="hints"), False),
        (Traits(hook_before_commit=True), False),
        (Traits(ids_reused=True), False),
    ],
)
def test_only_a_crm_that_speaks_truly_is_believed_unread(
    two_sides: TwoSides, traits: Callable[[Traits], None], settings: Any, some: Traits, believed: bool
) -> None:
    settings.VERIFY = "critical"
    traits(some)
    event, row = told(two_sides, version=9, status="on_hold")
    two_sides.forget_calls()
    pipeline.work_once()
    reads = [call for call in two_sides.crm.requests if call.method == "GET"]
    assert (not reads) == believed
    assert two_sides.shop.orders[row.woo_id]["status"] == ("on-hold" if believed else "pending")
    del event


# --- whole seconds -------------------------------------------------------------------------------------------------


def test_a_second_change_within_one_second_is_news() -> None:
    before = link(crm_version=None, crm_updated_at=NOW, crm_status="new")
    decision = moved(event=EventFacts(), link=before, crm=crm("paid", None, 0))
    assert isinstance(decision, Plan)
    assert decision.outcome == "applied"


def test_an_event_is_no_finer_than_the_crm(two_sides: TwoSides, traits: Callable[[Traits], None]) -> None:
    """Odoo names microseconds in its hook, and whole seconds to whoever reads."""
    traits(Traits(updated_at="seconds", hook_before_commit=True, hooks="hints"))
    event, row = told(two_sides, version=None)
    one = two_sides.crm.orders[row.crm_order_id]
    one.update(version=None, status="paid", updated_at="2026-11-27T22:37:08Z")
    event.occurred_at = datetime(2026, 11, 27, 22, 37, 8, 275250, tzinfo=UTC)
    event.save()
    OrderLink.objects.update(crm_version=None, crm_updated_at=None)
    pipeline.work_once()
    event.refresh_from_db()
    assert event.outcome == "applied", event.reason


# --- ids that are reused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [Side.CRM, Side.SHOP])
def test_an_id_that_was_given_to_another_order_parks_whoever_tells(two_sides: TwoSides, side: Side) -> None:
    event, row = told(two_sides, version=9)
    two_sides.crm.orders[row.crm_order_id].update(external_id="612", status="paid")
    if side == Side.SHOP:
        WebhookEvent.objects.all().delete()
        event = WebhookEventFactory(order_ref=str(row.woo_id))
    two_sides.forget_calls()
    pipeline.work_once()
    event.refresh_from_db()
    assert event.state == "parked"
    assert "612" in event.reason
    assert not two_sides.writes()
