"""An edited copy is processed, the original stays as it came, and nobody sees more by it than before."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.models import StaffAction
from sync.backoffice import edited
from sync.pipeline import internal_events
from tests.deliveries import recorded
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.people import signed_in
from webhooks.masking import masked
from webhooks.models import Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.admin.actions.wake") as woken:
        yield woken


@pytest.fixture
def operator() -> Client:
    return signed_in("operator")


@pytest.fixture
def parked() -> WebhookEvent:
    body, headers = recorded("00007")
    event: WebhookEvent = WebhookEventFactory(
        body=body, headers=headers, order_ref="14", state=State.PARKED, next_attempt_at=None
    )
    return event


@pytest.fixture
def from_crm() -> WebhookEvent:
    said = {"event_id": "evt_1", "type": "order.status_changed", "crm_order_id": "C-1", "status": "new", "version": 3}
    event: WebhookEvent = WebhookEventFactory(
        side=Side.CRM, source="crm", topic="order.status_changed", order_ref="C-1", body=json.dumps(said).encode()
    )
    return event


def offered(client: Client, event: WebhookEvent) -> dict[str, Any]:
    """What the editor begins with."""
    body: dict[str, Any] = json.loads(client.get(f"{LIST}{event.pk}/edit/").context["form"]["body"].value())
    return body


def send(client: Client, event: WebhookEvent, body: Any, **more: str) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    said = {"body": text, "reason": "the shop sent rubbish", "confirmed": "yes", **more}
    answer = client.post(f"{LIST}{event.pk}/edit/", said, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def copies() -> list[WebhookEvent]:
    return list(WebhookEvent.objects.filter(copy_of__isnull=False).order_by("id"))


def test_the_copy_is_processed_and_the_original_stays_as_it_came(
    operator: Client, from_crm: WebhookEvent, wake: Mock
) -> None:
    before = WebhookEvent.objects.filter(pk=from_crm.pk).values().get()
    page = send(operator, from_crm, {**offered(operator, from_crm), "crm_order_id": "C-2", "version": 9})
    assert WebhookEvent.objects.filter(pk=from_crm.pk).values().get() == before
    [copy] = copies()
    assert (copy.source, copy.order_ref, copy.version, copy.state) == ("staff", "C-2", 9, State.PENDING)
    assert (copy.copy_of_id, copy.requested_by, copy.trigger) == (from_crm.pk, "operator", "edit")
    assert "These fields differ: crm_order_id, version." in page
    assert f"{LIST}{from_crm.pk}/change/" in page
    assert f"{LIST}{copy.pk}/change/" in operator.get(f"{LIST}{from_crm.pk}/change/").content.decode()
    wake.assert_called_once_with()


def test_it_is_recorded_with_the_names_of_the_fields_and_nothing_personal(
    operator: Client, parked: WebhookEvent
) -> None:
    body = offered(operator, parked)
    send(operator, parked, {**body, "billing": {**body["billing"], "city": "Potsdam"}})
    done = StaffAction.objects.get()
    assert (done.action, done.reason, done.event_id) == ("edit and replay", "the shop sent rubbish", parked.pk)
    assert done.result == f"Copied as event {copies()[0].pk}. Changed: billing.city."


def test_pressed_twice_it_is_one_copy(operator: Client, from_crm: WebhookEvent) -> None:
    once = str(operator.get(f"{LIST}{from_crm.pk}/edit/").context["form"]["once"].value())
    for _ in range(2):
        send(operator, from_crm, offered(operator, from_crm), once=once)
    assert len(copies()) == 1


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "not JSON"),
        ('{"id": NaN}', "not JSON"),
        ("[" * 5000, "nested too deeply"),
        ({"id": "14"}, "not an integer"),
        ({"id": 0}, "not an integer"),
        ({"crm_order_id": "C-1"}, "not an integer"),
        ([{"id": 14}], "not an object"),
        ("", "required"),
    ],
)
def test_what_no_order_of_the_shop_is_stays_in_the_editor(
    operator: Client, parked: WebhookEvent, body: Any, words: str
) -> None:
    assert words in send(operator, parked, body)
    assert copies() == []
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"id": 14}, "names no order"),
        ({"crm_order_id": ""}, "names no order"),
        ({"crm_order_id": "C-1", "version": "3"}, "not an integer"),
        ([], "The array is empty"),
        ([{"crm_order_id": "C-1"}], "not an array"),
    ],
)
def test_what_no_event_of_the_crm_is_stays_in_the_editor(
    operator: Client, from_crm: WebhookEvent, body: Any, words: str
) -> None:
    assert words in send(operator, from_crm, body)
    assert copies() == []


def test_a_body_that_is_too_long_is_refused(operator: Client, parked: WebhookEvent, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100
    assert "MAX_BODY_BYTES" in send(operator, parked, {"id": 14, "x": "y" * 100})
    assert copies() == []


# --- personal data -------------------------------------------------------------------------------------------------


def test_who_may_not_reveal_edits_around_the_masks(operator: Client, parked: WebhookEvent) -> None:
    body = offered(operator, parked)
    assert "Müller" not in json.dumps(body, ensure_ascii=False)
    send(operator, parked, {**body, "status": "completed"})
    sent, original = json.loads(bytes(copies()[0].body)), json.loads(bytes(parked.body))
    assert sent == {**original, "status": "completed"}


def test_a_masked_value_cannot_be_moved_to_where_it_would_show(operator: Client, parked: WebhookEvent) -> None:
    body = offered(operator, parked)
    for moved in (
        {**body, "status": body["billing"]["last_name"]},
        {**body, "info": body["billing"]},
        {**body, "line_items": [body["billing"]]},
    ):
        assert "and it was moved" in send(operator, parked, moved)
    assert copies() == []


def test_a_mask_is_not_lifted_by_taking_away_what_told_that_it_is_personal(operator: Client) -> None:
    event = WebhookEventFactory(body=b'{"id": 5, "meta_data": [{"key": "gate", "value": "4711"}]}')
    body = offered(operator, event)
    assert body["meta_data"] == [{"key": "gate", "value": "•••"}]
    send(operator, event, {"id": 5, "meta_data": [{"value": "•••"}]})
    assert json.loads(bytes(copies()[0].body)) == {"id": 5, "meta_data": [{"value": "4711"}]}
    assert offered(operator, copies()[0]) == {"id": 5, "meta_data": [{"value": "•••"}]}


def test_after_a_reveal_the_exact_body_is_edited(parked: WebhookEvent, admin_client: Client) -> None:
    admin_client.post(f"{LIST}{parked.pk}/reveal/", {"reason": "to correct the name", "confirmed": "yes"})
    body = offered(admin_client, parked)
    assert body == json.loads(bytes(parked.body))
    send(admin_client, parked, {**body, "billing": {**body["billing"], "last_name": "Meyer"}})
    assert json.loads(bytes(copies()[0].body))["billing"]["last_name"] == "Meyer"


def test_names_that_are_masked_alike_shift_no_value_to_where_it_shows(operator: Client) -> None:
    event = WebhookEventFactory(body=b'{"id": 5, "meta_data": [{"key": "gate", "value": "4711"}]}')
    alike = {"ab@x.example": 1, "ac@x.example": 2}
    for typed in (alike, {"id": 1, **alike}):
        send(operator, event, {"id": 5, "meta_data": [{**typed, "value": "•••"}]})
    assert [copy for copy in copies() if "4711" in json.dumps(masked(json.loads(bytes(copy.body))))] == []


NAMES = ("anna@x.example", "alf@x.example", "Ann Lee", "key", "value", "note", "billing", "status", "id")
ALIKE = NAMES[:2]
SECRETS = tuple(f"q{number}zx" for number in range(20))
TYPED = ("typed", "•••", "a•••@x.example", 7, None, {"key": "a", "value": "•••"}, {"note": "•••"})


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """Arbitrary JSON in which no secret occurs twice, so that whoever sees one did not type it."""
    left = list(SECRETS)

    def grow(depth: int) -> Any:
        kind = draw(st.sampled_from("ppsndl" if depth else "ppsn"))
        if kind == "d":
            return {name: grow(depth - 1) for name in draw(st.lists(st.sampled_from(NAMES), max_size=4))}
        if kind == "l":
            return [grow(depth - 1) for _ in range(draw(st.integers(0, 3)))]
        if not left or kind == "n":
            return draw(st.sampled_from([None, True, 7, 4.5]))
        return {"key": "gate", "value": left.pop()} if kind == "p" else left.pop()

    return {"a": grow(2), "billing": grow(1)}


@st.composite
def edits(draw: st.DrawFn, shown: Any, anywhere: list[Any]) -> Any:
    """What an editor can do with what he sees: take away, rename, move, copy, and write."""
    action = draw(st.sampled_from(["in"] * 9 + ["type", "move"]))
    if action == "in" and not isinstance(shown, dict | list):
        return shown
    if action == "type":
        return draw(st.sampled_from(TYPED))
    if action == "move":
        return draw(st.sampled_from(anywhere))
    if isinstance(shown, list):
        return [draw(edits(one, anywhere)) for one in shown[draw(st.integers(0, 1)) :]]
    names = st.sampled_from(NAMES)
    before, renamed = draw(st.sampled_from([(), ALIKE, NAMES[2:4]])), draw(st.integers(0, 4)) == 0
    kept = [(name, inner) for name, inner in shown.items() if draw(st.integers(0, 2))]
    changed = {draw(names) if renamed else name: draw(edits(inner, anywhere)) for name, inner in kept}
    return {**dict.fromkeys(before, "typed"), **changed}


def all_of(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(one for each in inner for one in all_of(each))]


@settings(max_examples=200)
@given(documents(), st.data())
def test_no_edit_shows_what_was_masked(document: Any, data: st.DataObject) -> None:
    shown = masked(document)
    told = data.draw(edits(shown, all_of(shown)))
    event = WebhookEvent(side=Side.CRM, body=json.dumps({"crm_order_id": "C-1", "x": document}).encode())
    try:
        content, _ = edited.read_edited(event, json.dumps({"crm_order_id": "C-1", "x": told}), exact=False)
    except edited.NotUsable:
        return
    visible = json.dumps(masked(content))
    assert not [secret for secret in SECRETS if secret in visible and secret not in json.dumps(shown)]


def test_the_names_of_changed_fields_tell_no_person(operator: Client, admin_client: Client) -> None:
    event = WebhookEventFactory(body=b'{"id": 5, "by": {"eve@example.org": 1}}')
    copy = edited.post_copy(event, *edited.read_edited(event, '{"id": 5}', exact=True), by="x", once="1")
    page = operator.get(f"{LIST}{copy.pk}/change/").content.decode()
    assert "These fields differ: by" in page
    assert "eve@" not in page


@pytest.mark.parametrize("body", [b"", b"\xff\x00 no text", b"<html>Muller</html>"])
def test_without_a_body_that_may_be_seen_the_editor_begins_with_the_order(operator: Client, body: bytes) -> None:
    assert offered(operator, WebhookEventFactory(body=body, order_ref="14")) == {"id": 14}


# --- who and what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "support", "auditor"])
def test_editing_has_its_own_permission(from_crm: WebhookEvent, role: str) -> None:
    client, url = signed_in(role), f"{LIST}{from_crm.pk}/edit/"
    assert url not in client.get(f"{LIST}{from_crm.pk}/change/").content.decode()
    assert client.get(url).status_code == 403
    assert client.post(url, {"body": "{}", "reason": "x", "confirmed": "yes"}).status_code == 403
    assert copies() == []


def test_what_we_made_ourselves_is_not_edited(operator: Client) -> None:
    event = internal_events.force(OrderLinkFactory(), to_status="cancelled", by="mia", reason="asked to")
    assert "Only a delivered event can be edited" in send(operator, event, {"crm_order_id": "C-1"})
    assert copies() == []


def test_a_copy_never_forces_a_move(operator: Client, from_crm: WebhookEvent) -> None:
    body = {**offered(operator, from_crm), "type": "order.force", "woo_id": 14, "to_status": "refunded"}
    send(operator, from_crm, body)
    [copy] = copies()
    assert (copy.source, copy.topic, internal_events.is_force(copy)) == ("staff", "order.force", False)
