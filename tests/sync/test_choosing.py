"""The page on which a customer is chosen, and the list of what was chosen."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from orders.models import OrderLink, StaffAction
from sync.models import OpenChoice, RememberedChoice, TodoItem
from sync.monitoring import todo
from tests import pipeline
from tests.sync.conftest import TwoSides
from tests.sync.directory import ANN, CrmWithCustomers, directory, order_of, remember, two_anns
from webhooks.models import State, WebhookEvent

__all__ = ["directory"]
LIST = reverse("admin:sync_rememberedchoice_changelist")
SignIn = Callable[..., Client]


@pytest.fixture
def signed_in(db: None) -> SignIn:
    def as_member(*groups: str) -> Client:
        person = User.objects.create_user(f"u{User.objects.count()}", is_staff=True)
        person.groups.set(Group.objects.filter(name__in=groups))
        client = Client()
        client.force_login(person)
        return client

    return as_member


def settle() -> None:
    while pipeline.work_once():
        pass


def parked(sides: TwoSides, number: int = 1, **billing: str) -> list[WebhookEvent]:
    two_anns()
    events = [order_of(sides, **billing) for _ in range(number)]
    settle()
    for event in events:
        event.refresh_from_db()
        assert event.state == State.PARKED
    return events


def page_of(event: WebhookEvent) -> str:
    return reverse("admin:webhooks_webhookevent_choose", args=[event.pk])


def choose(client: Client, event: WebhookEvent, choice: str, **fields: str) -> Any:
    shown = client.get(page_of(event)).content.decode()
    [seen] = re.findall(r'name="as_seen" value="([^"]+)"', shown)
    said = {"choice": choice, "reason": "she called", "as_seen": seen, "confirmed": "yes", **fields}
    return client.post(page_of(event), said, follow=True).content.decode()


def test_the_candidates_stand_beside_the_order_while_the_crm_is_away(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory, phone="(0049) 30 1")
    directory.crm.stop()
    directory.shop.stop()
    client = signed_in("support", "auditor")
    masked = client.get(page_of(event)).content.decode()
    assert "Customer 7" in masked and "Customer 12" in masked
    assert masked.count("as in the order") == 3, "both have the e-mail address, one has the name"
    for secret in (ANN, "Ann Lee", "Lee GmbH", "+49 30 1"):
        assert secret not in masked
    reveal = reverse("admin:webhooks_webhookevent_reveal", args=[event.pk])
    assert f"{reveal}?to=choose" in masked
    answer = client.post(f"{reveal}?to=choose", {"reason": "to tell them apart"})
    assert answer.headers["Location"] == page_of(event)
    shown = client.get(page_of(event)).content.decode()
    for said in (ANN, "Ann Lee", "Lee GmbH", "+49 30 1", "+49 30 2", "(0049) 30 1"):
        assert said in shown
    directory.shop.start()
    directory.crm.start()


def test_whoever_may_not_reveal_chooses_by_what_agrees(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory)
    page = signed_in("support").get(page_of(event)).content.decode()
    assert "Reveal personal data" not in page
    assert "as in the order" in page


def test_a_choice_is_remembered_and_all_orders_that_wait_for_it_go_on(directory: TwoSides, signed_in: SignIn) -> None:
    event, other = parked(directory, 2)
    client = signed_in("support")
    assert "2 orders that waited" in choose(client, event, "1")
    settle()
    assert [*CrmWithCustomers.taken.values()] == ["12", "12"]
    assert OrderLink.objects.count() == 2
    assert not OpenChoice.objects.exists()
    kept = RememberedChoice.objects.get()
    assert (kept.crm_id, kept.event, kept.connection.slug) == ("12", event, "crm")
    did = StaffAction.objects.get(action="choose customer")
    assert (did.event, did.reason) == (event, "she called")
    assert "customer 12" in did.result and ANN not in did.result
    assert WebhookEvent.objects.get(pk=other.pk).requested_by == kept.chosen_by


def test_none_of_them_makes_a_new_one(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory)
    choose(signed_in("support"), event, "new")
    settle()
    assert [*CrmWithCustomers.taken.values()] == [f"woo-{ANN}"]


def test_a_new_one_is_not_offered_where_the_crm_cannot(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory)
    OpenChoice.objects.update(may_create=False)
    client = signed_in("support")
    assert "None of them" not in client.get(page_of(event)).content.decode()
    assert "new is not one of the available choices" in choose(client, event, "new")
    assert not RememberedChoice.objects.exists()


@pytest.mark.parametrize(("choice", "words"), [("", "Choose one of the customers."), ("9", "not one of")])
def test_a_choice_that_is_none_is_refused(directory: TwoSides, signed_in: SignIn, choice: str, words: str) -> None:
    [event] = parked(directory)
    assert words in choose(signed_in("support"), event, choice)
    assert not RememberedChoice.objects.exists()


def test_who_saw_older_candidates_looks_again(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory)
    asked = OpenChoice.objects.get()
    before = (asked.asked_at - timedelta(seconds=9)).isoformat()
    assert "Look at the page again" in choose(signed_in("support"), event, "0", as_seen=before)
    assert not RememberedChoice.objects.exists()


def test_an_event_that_went_on_needs_no_choice_any_more(directory: TwoSides, signed_in: SignIn) -> None:
    [event] = parked(directory)
    WebhookEvent.objects.filter(pk=event.pk).update(state=State.DONE, outcome="resolved")
    page = signed_in("support").get(page_of(event), follow=True).content.decode()
    assert "does not wait for a choice any more" in page
    assert "Choose the customer" not in page


def test_it_is_on_the_to_do_list_and_on_the_home_page_until_it_is_chosen(
    directory: TwoSides, signed_in: SignIn
) -> None:
    [event] = parked(directory)
    todo.refresh()
    item = TodoItem.objects.get()
    assert (item.cause, item.event) == (TodoItem.Cause.CHOICE, event)
    client = signed_in("support")
    listed = client.get(reverse("admin:sync_todoitem_changelist")).content.decode()
    assert page_of(event) in listed
    assert "Customers to choose" in client.get("/admin/").content.decode()
    assert page_of(event) in client.get(reverse("admin:webhooks_webhookevent_change", args=[event.pk])).content.decode()
    choose(client, event, "0")
    settle()
    todo.refresh()
    item.refresh_from_db()
    assert item.closed_at
    assert "Customers to choose" not in client.get("/admin/").content.decode()


def test_an_item_follows_what_its_order_waits_for(directory: TwoSides) -> None:
    [event] = parked(directory)
    todo.refresh()
    OpenChoice.objects.all().delete()
    todo.refresh()
    standing = TodoItem.objects.filter(closed_at=None).values_list("cause", flat=True)
    assert [*standing] == [TodoItem.Cause.PARKED]
    remake = {"connection_id": event.bridge.crm_id, "what": "customer", "key": "k"}
    OpenChoice.objects.create(event=event, **remake)
    todo.refresh()
    assert [*standing.all()] == [TodoItem.Cause.CHOICE]


def test_choices_are_listed_and_found_by_the_address_that_is_not_kept(directory: TwoSides, signed_in: SignIn) -> None:
    mine = remember("12")
    remember("13", "bob@example.org")
    remember("JÜRGEN MÜLLER", "+49 30 7")
    client = signed_in("viewer")
    page = client.get(LIST).content.decode()
    assert ">12<" in page and ">13<" in page and "JÜRGEN" not in page
    assert f"order {mine.event.order_ref}" in page
    for asked, found, not_found in (("Ann@Example.org", "12", "13"), ("13", "13", "12"), ("+49307", "•••", "12")):
        page = client.get(LIST, {"q": asked}).content.decode()
        assert f">{found}<" in page and f">{not_found}<" not in page


def test_a_choice_is_changed_and_forgotten(directory: TwoSides, signed_in: SignIn) -> None:
    two_anns()
    kept = remember("12")
    client = signed_in("support")
    change = reverse("admin:sync_rememberedchoice_change_choice", args=[kept.pk])
    client.post(change, {"crm_id": "7", "reason": "mistaken", "confirmed": "yes"})
    order_of(directory)
    settle()
    assert [*CrmWithCustomers.taken.values()] == ["7"]
    forget = reverse("admin:sync_rememberedchoice_forget", args=[kept.pk])
    answer = client.post(forget, {"reason": "merged", "confirmed": "yes"})
    assert answer.headers["Location"] == LIST
    order_of(directory)
    settle()
    assert OpenChoice.objects.count() == 1
    did = StaffAction.objects.order_by("pk").values_list("action", "result")
    assert [*did] == [
        ("change chosen customer", "customer 12 → customer 7 of CRM"),
        ("forget chosen customer", "customer 7 of CRM"),
    ]
