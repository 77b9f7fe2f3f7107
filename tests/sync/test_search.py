"""What the search of events finds, for whom, and what it says when it finds nothing."""

import hashlib
import json
from typing import Any

import pytest
from django.test import Client

from sync.backoffice import search as searching
from sync.backoffice.search import search
from tests.deliveries import WOO_SECRET, recorded, signed_by_shop
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.people import signed_in
from webhooks import customers
from webhooks.customers import hashed
from webhooks.models import Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"


def found(term: str, *, may_reveal: bool = False) -> list[int]:
    seen = search(WebhookEvent.objects.order_by("id"), term, may_reveal=may_reveal)
    return list(seen.events.values_list("pk", flat=True))


def from_shop(email: str = "", **fields: Any) -> WebhookEvent:
    order = {"id": 14, "billing": {"email": email, "last_name": "Müller"}, "sku": "Hand-made/3", "note_id": "größe"}
    body = json.dumps(order).replace("/", "\\/").encode()
    event: WebhookEvent = WebhookEventFactory(**{"body": body, "customer": hashed(email) or None, **fields})
    return event


def from_crm(order: str, **fields: Any) -> WebhookEvent:
    event: WebhookEvent = WebhookEventFactory(side=Side.CRM, source="crm", order_ref=order, body=b"{}", **fields)
    return event


# --- ids -----------------------------------------------------------------------------------------------------------


def test_an_event_is_found_by_its_id() -> None:
    event = WebhookEventFactory()
    WebhookEventFactory()
    assert found(f" {event.pk} ") == [event.pk]


def test_an_order_is_found_on_both_sides_by_either_id() -> None:
    OrderLinkFactory(woo_id=5001, crm_order_id="C-77")
    shop, crm = WebhookEventFactory(order_ref="5001"), from_crm("C-77")
    from_crm("C-777"), WebhookEventFactory(order_ref="50010")
    assert found("5001") == found("C-77") == [shop.pk, crm.pk]


def test_an_order_without_a_link_is_found_where_it_is_known() -> None:
    shop, crm = WebhookEventFactory(order_ref="5001"), from_crm("C-77")
    assert (found("5001"), found("C-77")) == ([shop.pk], [crm.pk])


def test_a_delivery_is_found_by_its_label() -> None:
    event = WebhookEventFactory(delivery_id="d-88")
    WebhookEventFactory(delivery_id="d-888")
    assert found("d-88") == [event.pk]


def test_a_search_stays_within_the_filters() -> None:
    WebhookEventFactory(order_ref="5001", state=State.DONE)
    dead = WebhookEventFactory(order_ref="5001", state=State.DEAD)
    seen = search(WebhookEvent.objects.filter(state=State.DEAD), "5001", may_reveal=False)
    assert list(seen.events) == [dead]


# --- customers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["anna@example.test", " Anna@Example.TEST "])
def test_a_customer_is_found_with_the_events_of_both_sides(term: str) -> None:
    OrderLinkFactory(woo_id=5001, crm_order_id="C-77")
    one, two, crm = (
        from_shop("anna@example.test", order_ref="5001"),
        WebhookEventFactory(order_ref="5001"),
        from_crm("C-77"),
    )
    from_shop("hanna@example.test", order_ref="5002")
    assert found(term) == [one.pk, two.pk, crm.pk]


def test_a_part_of_an_address_finds_no_customer() -> None:
    from_shop("anna@example.test")
    for term in ("anna@example", "nna@example.test", "anna@"):
        assert found(term) == []


def test_an_event_from_before_the_hash_is_found_by_the_address_in_its_body() -> None:
    event = from_shop("anna@example.test", customer=None)
    assert found("anna@example.test") == [event.pk]


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["Hand-made", "Hand-made/3", "größe", "text:Hand-made", "text: größe"])
def test_text_is_found_however_php_writes_it(term: str) -> None:
    event = from_shop()
    WebhookEventFactory()
    assert found(term, may_reveal=True) == [event.pk]


@pytest.mark.parametrize("may_reveal", [True, False])
def test_who_may_not_reveal_learns_nothing_personal_by_searching(may_reveal: bool) -> None:
    event = from_shop("anna@example.test")
    for term in ("Müller", "Mül", "anna@exam", "anna@example.te", '"last_name": "M', "Hand-made"):
        assert found(f"text:{term}", may_reveal=may_reveal) == ([event.pk] if may_reveal else [])


@pytest.mark.parametrize("term", ["Müll", "anna@example.te", "anna@example.test"])
def test_nor_by_how_far_a_search_comes_or_what_it_says(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked about somebody that there is, in part or as a whole, and about nobody."""
    monkeypatch.setattr(searching, "BODIES_SHOWN", 2)
    monkeypatch.setattr(searching, "WINDOW", 4)
    wrong = term.replace("nn", "xx").replace("ll", "xx")
    for _ in range(6):
        from_shop("anna@example.test")
    right, nobody = (search(WebhookEvent.objects.all(), f"text:{one}", may_reveal=False) for one in (term, wrong))
    if term.endswith(".test"):  # which is allowed, and documented
        assert (len(right.events), len(nobody.events)) == (2, 0)
        return
    assert [right.note.replace(term, "")] == [nobody.note.replace(wrong, "")]
    assert right.onward.replace(term, "") == nobody.onward.replace(wrong, "")
    assert not right.events and not nobody.events


def test_text_is_searched_a_stretch_at_a_time_and_can_be_searched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "WINDOW", 3)
    old = from_shop()
    WebhookEventFactory.create_batch(4)
    events = WebhookEvent.objects.all()
    first = search(events, "Hand-made", may_reveal=True)
    assert (list(first.events), "Of the newest 3 events" in first.note) == ([], True)
    second = search(events, first.onward, may_reveal=True)
    assert (list(second.events), second.onward) == ([old], "")


def test_many_hits_are_shown_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "BODIES_SHOWN", 2)
    ids = [from_shop().pk for _ in range(3)]
    first = search(WebhookEvent.objects.order_by("id"), "Hand-made", may_reveal=True)
    assert [event.pk for event in first.events] == ids[1:]
    assert found(first.onward, may_reveal=True) == ids[:1]


def test_the_list_says_how_far_it_searched_and_offers_to_search_on(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "WINDOW", 1)
    WebhookEventFactory.create_batch(2)
    page = admin_client.get(LIST, {"q": "nowhere", "state": "pending"}).content.decode()
    assert "Of the newest 1 events" in page and "Search older events" in page
    assert "q=text%3Anowhere+before%3A" in page and "state=pending" in page


# --- nonsense ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "words"),
    [("x" * 10_000, "at most 200 characters"), ("ab", "enter 3 or more characters"), ("\x00", "Null characters")],
)
def test_what_cannot_be_searched_is_said(admin_client: Client, term: str, words: str) -> None:
    WebhookEventFactory()
    assert words in admin_client.get(LIST, {"q": term}).content.decode()


@pytest.mark.parametrize("term", ["9" * 40, "9" * 18, "²", "'; --", "%", "\\", "text:", "before:9", "text: before:0"])
def test_a_strange_search_is_answered(admin_client: Client, term: str) -> None:
    WebhookEventFactory()
    assert admin_client.get(LIST, {"q": term}).status_code == 200
    assert isinstance(found(term), list)


def test_a_viewer_searches_too_and_sees_masks() -> None:
    from_shop("anna@example.test")
    page = signed_in("viewer").get(LIST, {"q": "anna@example.test"}).content.decode()
    assert "order.updated" in page and "Müller" not in page


# --- where the hash comes from -------------------------------------------------------------------------------------


def test_a_delivery_is_stored_with_its_customer(client: Client, settings: Any) -> None:
    settings.WOO_WEBHOOK_SECRETS = [WOO_SECRET]
    body, _ = recorded("00007")
    client.post("/webhooks/woocommerce/", body, content_type="application/json", headers=signed_by_shop(body))
    email = json.loads(body)["billing"]["email"]
    assert WebhookEvent.objects.get().customer == hashed(email.upper()) != ""


@pytest.mark.parametrize(
    ("email", "known"),
    [
        ("a@b.de", True),
        ("A@B.de ", True),
        ("", False),
        ("no address", False),
        ("a@b", False),
        ("x" * 300 + "@b.de", False),
    ],
)
def test_only_an_address_has_a_hash(email: str, known: bool) -> None:
    assert bool(hashed(email)) == known
    assert hashed("a@b.de") == hashed("A@B.de ") != hashed("a@c.de")


def test_the_hash_is_of_a_key_that_the_database_does_not_hold(settings: Any) -> None:
    settings.AUDIT_KEYS = []
    one = hashed("a@b.de")
    bare = hashlib.sha256(b"customer:a@b.de").hexdigest()
    settings.SECRET_KEY = "another"
    other = hashed("a@b.de")
    assert one != other and bare[:31] not in (one[:31], one[1:], other[:31], other[1:])


def test_a_customer_is_found_after_the_key_was_changed(settings: Any) -> None:
    settings.AUDIT_KEYS = ["old"]
    before = from_shop("anna@example.test")
    settings.AUDIT_KEYS = ["new", "old"]
    after = from_shop("anna@example.test")
    assert before.customer != after.customer
    assert found("anna@example.test") == [before.pk, after.pk]


def test_hashes_from_before_there_was_a_key_get_one_without_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "PAGE", 2)
    addresses = [f"anna{n}@example.test" for n in range(5)]
    bare = {one: hashlib.sha256(f"customer:{one}".encode()).hexdigest()[:32] for one in addresses}
    events = [from_shop(one, customer=bare[one]) for one in addresses * 2]
    keyed, nobody = from_shop("eve@example.test"), from_crm("C-1")
    assert found(addresses[0]) == [events[0].pk, events[5].pk]
    assert customers.rekey(WebhookEvent.objects.all()) == 10
    assert customers.rekey(WebhookEvent.objects.all()) == 0
    kept = dict(WebhookEvent.objects.values_list("pk", "customer"))
    assert [kept[one.pk] for one in events] == [hashed(one) for one in addresses * 2]
    assert (kept[keyed.pk], kept[nobody.pk]) == (hashed("eve@example.test"), None)
