"""The CRM's total is the shop's, or a person looks at the order, with both figures before her."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from orders.models import OrderLink, StaffAction
from sync.clients.crm.rest import RestCrm
from sync.clients.snapshots import CrmSnapshot
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from webhooks.models import WebhookEvent


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """The CRM shows this total from now on."""

    def shown(total: str | None) -> None:
        for verb in ("create", "update"):
            real = getattr(RestCrm, verb, None)
            real = getattr(real, "real", real)

            def wrapped(crm: RestCrm, *args: Any, real: Any = real) -> Any:
                answer = real(crm, *args)
                one = answer if isinstance(answer, CrmSnapshot) else answer[0]
                one = replace(one, total=Decimal(total) if total else None)
                return one if isinstance(answer, CrmSnapshot) else (one, answer[1])

            wrapped.real = real  # type: ignore[attr-defined]
            monkeypatch.setattr(RestCrm, verb, wrapped)

    return shown


def deliver(order: dict[str, Any]) -> WebhookEvent:
    event = WebhookEventFactory(order_ref=str(order["id"]))
    assert pipeline.work_once()
    event.refresh_from_db()
    return event


@pytest.mark.parametrize("total", [None, "34.39", "34.3900"])
def test_the_same_total_is_fine_however_it_is_written(
    two_sides: TwoSides, says: Callable[[str | None], None], total: str | None
) -> None:
    says(total)
    event = deliver(two_sides.shop.create_order(total="34.39"))
    assert (event.state, event.outcome) == ("done", "created")


def test_a_cent_off_at_the_creation_parks_with_both_figures_and_the_pair_is_known(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("34.40")
    order = two_sides.shop.create_order(total="34.39")
    event = deliver(order)
    assert event.state == "parked"
    assert "34.40" in event.reason
    assert "34.39" in event.reason
    assert OrderLink.objects.get().woo_id == order["id"], "it is there, and must not be made again"
    two_sides.forget_calls()
    assert deliver(order).outcome == "no_change"
    assert not two_sides.writes()


def test_a_cent_off_after_an_update_parks_too(two_sides: TwoSides, says: Callable[[str | None], None]) -> None:
    says("34.39")
    order = two_sides.shop.create_order(total="34.39")
    deliver(order)
    two_sides.shop.orders[order["id"]]["total"] = "40.00"
    event = deliver(order)
    assert event.state == "parked"
    assert "40.00" in event.reason


def test_a_cent_off_in_what_is_found_after_a_creation_that_nobody_answered_parks_too(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("34.40")
    two_sides.crm.faults.add("timeout-after-effect", times=1, method="POST")
    event = deliver(two_sides.shop.create_order(total="34.39"))
    assert event.state == "retrying"
    while not event.is_finished:
        pipeline.work_once()
        event.refresh_from_db()
    assert event.state == "parked"
    assert "34.40" in event.reason and "34.39" in event.reason
    assert len(two_sides.crm.creates) == 1
    assert OrderLink.objects.count() == 1


def test_a_cent_off_in_what_a_move_brought_with_it_parks_too(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("34.39")
    order = two_sides.shop.create_order(total="34.39")
    deliver(order)
    says("34.40")
    link = OrderLink.objects.get()
    two_sides.crm.set_status(link.crm_order_id, "paid")
    event = WebhookEventFactory(side="crm", source="crm", order_ref=link.crm_order_id)
    assert pipeline.work_once()
    event.refresh_from_db()
    assert two_sides.shop.orders[order["id"]]["status"] == "processing"
    assert event.state == "parked"
    assert "34.40" in event.reason and "34.39" in event.reason
    link.refresh_from_db()
    assert link.woo_status == "processing", "it is known what was written"


# --- a person accepts a difference ---------------------------------------------------------------------------------


def resolved(event: WebhookEvent, role: str = "support") -> str:
    url = reverse("admin:webhooks_webhookevent_resolve", args=[event.pk])
    client = signed_in(role)
    asked = client.get(url).content.decode()
    return unescape(asked + client.post(url, {"reason": "Rounded by line there"}, follow=True).content.decode())


def changed(two_sides: TwoSides, order: dict[str, Any], **fields: Any) -> WebhookEvent:
    two_sides.shop.orders[order["id"]].update(fields)
    return deliver(order)


def test_a_difference_that_a_person_accepted_is_not_asked_again_while_both_totals_stay(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("34.40")
    order = two_sides.shop.create_order(total="34.39")
    shown = resolved(deliver(order))
    assert "nobody is asked again while both stay" in shown and "34.40, and the shop's is 34.39 EUR" in shown
    action = StaffAction.objects.get(action="resolve")
    assert "Accepted: the CRM's total is 34.40, and the shop's is 34.39 EUR" in action.result
    for note in ("ring", "ring twice"):
        event = changed(two_sides, order, customer_note=note)
        assert (event.state, event.outcome) == ("done", "updated")
        assert "A person has accepted that." in event.reason and "34.40" in event.reason


@pytest.mark.parametrize(("crm", "shop"), [("34.41", "34.39"), ("34.40", "34.38"), ("34.39", "34.40")])
def test_another_difference_is_asked_about_again(
    two_sides: TwoSides, says: Callable[[str | None], None], crm: str, shop: str
) -> None:
    says("34.40")
    order = two_sides.shop.create_order(total="34.39")
    resolved(deliver(order))
    says(crm)
    assert changed(two_sides, order, total=shop, customer_note="ring").state == "parked"


def test_only_who_resolves_that_question_accepts(two_sides: TwoSides, says: Callable[[str | None], None]) -> None:
    """Not who resolves another of the order, nor one whose figures are others by now, nor who replays it."""
    says("34.40")
    order = two_sides.shop.create_order(total="34.39")
    first = deliver(order)
    other = WebhookEventFactory(order_ref=str(order["id"]), state="parked", reason="something else")
    assert "nobody is asked again" not in resolved(other)
    says("34.50")
    second = changed(two_sides, order, customer_note="ring")
    assert second.state == "parked"
    assert "nobody is asked again" not in resolved(first)
    assert OrderLink.objects.get().totals_accepted == ""
    assert "34.50, and the shop's" in resolved(second)
    assert changed(two_sides, order, customer_note="ring twice").state == "done"


def test_totals_that_agree_again_leave_nothing_to_accept(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("34.40")
    order = two_sides.shop.create_order(total="34.39")
    event = deliver(order)
    says("34.39")
    assert changed(two_sides, order, customer_note="ring").state == "done"
    assert "nobody is asked again" not in resolved(event)


def test_figures_of_any_length_park_and_are_kept_nowhere(
    two_sides: TwoSides, says: Callable[[str | None], None]
) -> None:
    says("1" * 70)
    event = deliver(two_sides.shop.create_order(total="34.39"))
    assert event.state == "parked" and "nobody is asked again" not in resolved(event)
