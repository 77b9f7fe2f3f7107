"""One story of an order, woven from six tables, whole or page by page."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orders import audit
from orders.models import Decision, OrderLink
from sync.backoffice.timeline import EntryKind, find_timeline, summary, timeline_of
from sync.models import DriftFinding
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.models import Outcome, Side, State

pytestmark = pytest.mark.django_db
START = timezone.now() - timedelta(hours=1)


def minute(n: int) -> datetime:
    return START + timedelta(minutes=n)


@pytest.fixture
def link() -> OrderLink:
    row: OrderLink = OrderLinkFactory(woo_id=5, crm_order_id="C-5")
    return row


def everything(link: OrderLink) -> None:
    """One thing of each kind, a minute apart, and the same of another order."""
    for of in (link, OrderLinkFactory(woo_id=6, crm_order_id="5")):
        WebhookEventFactory(order_ref=str(of.woo_id), received_at=minute(0))
        asked = WebhookEventFactory(side=Side.CRM, source="crm", order_ref=of.crm_order_id, received_at=minute(1))
        WebhookEventFactory(side=Side.CRM, source="resync", order_ref=of.crm_order_id, received_at=minute(1))
        CallFactory(attempt=AttemptFactory(event=asked, started_at=minute(2)))
        StatusTransitionFactory(link=of, created_at=minute(3), decision=Decision.REFUSED)
        DriftFinding.objects.create(
            kind=DriftFinding.Kind.STATUS, woo_id=of.woo_id, crm_order_id=of.crm_order_id, found_at=minute(4)
        )
        audit.record("check", actor="ann", reason="customer called", result="they agree", link=of)


def test_all_strands_are_told_in_order_of_time(link: OrderLink) -> None:
    everything(link)
    assert [entry.kind for entry in timeline_of(link).oldest_first()] == [
        EntryKind.SHOP,
        EntryKind.CRM,
        EntryKind.OWN,
        EntryKind.ATTEMPT,
        EntryKind.TRANSITION,
        EntryKind.FINDING,
        EntryKind.STAFF,
    ]
    assert timeline_of(link).newest() == list(timeline_of(link).oldest_first())[::-1]


def test_what_staff_did_to_an_event_of_the_order_belongs_to_it_once(link: OrderLink) -> None:
    event = WebhookEventFactory(order_ref="5")
    audit.record("replay", actor="ann", event=event, link=link)
    audit.record("replay", actor="ann", event=event)
    audit.record("replay", actor="ann", event=WebhookEventFactory(order_ref="7"))
    done = timeline_of(link).newest(kinds=[EntryKind.STAFF])
    assert [entry.words for entry in done] == [f"replay event {event.pk} by ann"] * 2


def test_things_of_the_same_moment_are_told_cause_first(link: OrderLink) -> None:
    event = WebhookEventFactory(order_ref="5", received_at=START)
    StatusTransitionFactory(link=link, created_at=START)
    AttemptFactory(event=event, started_at=START)
    told = [entry.group for entry in timeline_of(link).oldest_first()]
    assert told == ["event", "attempt", "transition"]


def test_a_long_story_is_cut_by_the_database(
    link: OrderLink, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(30):
        WebhookEventFactory(order_ref="5", received_at=minute(n))
    AttemptFactory(event=WebhookEventFactory(order_ref="5", received_at=minute(50)), started_at=minute(40))
    with django_assert_num_queries(4):  # the keys, the events, the attempts and their calls
        newest = timeline_of(link).newest(0, 10)
    assert [entry.at for entry in newest] == [minute(50), minute(40), *(minute(n) for n in range(29, 21, -1))]
    assert [entry.at for entry in timeline_of(link).newest(10, 12)] == [minute(21), minute(20)]
    assert len(list(timeline_of(link).oldest_first())) == 32


def test_one_strand_can_be_asked_for(link: OrderLink) -> None:
    everything(link)
    for kind in EntryKind:
        assert [entry.kind for entry in timeline_of(link).newest(kinds=[kind])] == [kind]


@pytest.mark.parametrize(
    ("fields", "tone"),
    [
        ({"outcome": Outcome.APPLIED}, "success"),
        ({"outcome": Outcome.NO_CHANGE}, ""),
        ({"outcome": Outcome.REFUSED}, "danger"),
        ({"state": State.DEAD}, "danger"),
        ({"state": State.PARKED}, "warning"),
        ({"state": State.PENDING}, "info"),
    ],
)
def test_an_event_has_the_tone_of_what_became_of_it(link: OrderLink, fields: dict[str, Any], tone: str) -> None:
    WebhookEventFactory(order_ref="5", **fields)
    assert [entry.tone for entry in timeline_of(link).newest()] == [tone]


def test_an_order_that_only_events_name_is_told_from_the_side_that_named_it() -> None:
    WebhookEventFactory(order_ref="5")
    WebhookEventFactory(side=Side.CRM, source="crm", order_ref="C-5")
    shop, crm = find_timeline("5"), find_timeline("C-5")
    assert shop and crm
    assert [(told.woo_id, told.crm_order_id, len(told.newest())) for told in (shop, crm)] == [
        (5, None, 1),
        (None, "C-5", 1),
    ]


def test_what_the_sweep_found_says_whether_it_is_over(link: OrderLink) -> None:
    finding = DriftFinding(kind=DriftFinding.Kind.AHEAD, woo_id=5, crm_order_id="C-5", shop="completed", crm="paid")
    finding.save()
    assert [(e.words, e.tone) for e in timeline_of(link).newest()] == [
        ("The shop is ahead: shop completed, CRM paid", "warning")
    ]
    finding.gone_at = minute(0)
    finding.save()
    assert "; gone at " in timeline_of(link).newest()[0].words


def test_a_call_is_told_without_what_only_serves_the_way() -> None:
    call = CallFactory.build(url="http://shop.test/wp-json/wc/v3/orders/5?_=3f&oauth_nonce=•&status=any", attempt=None)
    assert summary(call) == "GET /wp-json/wc/v3/orders/5?status=any → 200 (12 ms)"
