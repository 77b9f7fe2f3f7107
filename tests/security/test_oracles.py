"""Nobody learns what is masked by asking for it: every list, every column, all that an address may carry."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters, ModelAdmin
from django.contrib.auth.models import Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.cache import SessionStore
from django.db import transaction
from django.db.models import Model
from django.test import Client, RequestFactory

from orders.models import OrderLink, StaffAction
from sync.models import Attempt, Call, SideState
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, WebhookEventFactory
from tests.filled import TEXTS, every_row
from webhooks.backoffice.lists import DeclaredFilters, ForgivingList
from webhooks.masking import MASK, masked
from webhooks.models import RefusedDelivery, State, WebhookEvent

pytestmark = pytest.mark.django_db
RIGHT, WRONG = "zaphod.quill@home.example", "aaphod.quill@home.example"
LISTS = sorted((one for one in admin.site._registry.values()), key=lambda one: one.model._meta.label)
LETTERS = ("startswith", "istartswith", "contains", "icontains", "endswith", "regex", "iregex", "search")
WHOLE = (
    "",
    "exact",
    "iexact",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "range",
    "contained_by",
    "words__startswith",
    "icontains",
)
EXPORTS = ["/admin/orders/statustransition/export/", "/admin/orders/staffaction/export/"]


@pytest.fixture
def curious() -> User:
    """May see and do everything but reveal."""
    user = User.objects.create_user("curious", is_staff=True)
    user.user_permissions.set(Permission.objects.exclude(codename="reveal_webhookevent"))
    return user


@pytest.fixture
def client(curious: User) -> Client:
    client = Client()
    client.force_login(curious)
    return client


def columns(model: type[Model], prefix: str = "", depth: int = 1) -> Iterator[str]:
    """Of texts, those of related rows included."""
    for field in model._meta.get_fields():
        if isinstance(field, TEXTS) and not field.choices:
            yield f"{prefix}{field.name}"
        related = field.related_model
        if depth and field.is_relation and isinstance(related, type):
            yield from columns(related, f"{prefix}{field.name}__", depth - 1)


def answered(of: ModelAdmin, user: User, **asked: str) -> Any:
    request = RequestFactory().get("/", asked)
    request.user, request.session = user, SessionStore()
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    try:
        shown = of.get_changelist_instance(request)
        return [row.pk for row in shown.result_list]
    except (DisallowedModelAdminLookup, IncorrectLookupParameters) as error:
        return type(error)


@pytest.mark.parametrize("of", LISTS, ids=lambda one: one.model._meta.label)
def test_no_filter_in_the_address_tells_right_from_wrong(of: ModelAdmin, curious: User) -> None:
    every_row(RIGHT)
    told = set()
    for name in columns(of.model):
        guesses = [(f"{name}__{how}", text[:5]) for how in LETTERS for text in (RIGHT, WRONG)]
        guesses += [(f"{name}__{how}".removesuffix("__"), text) for how in WHOLE for text in (RIGHT, WRONG)]
        for (asked, right), (_, wrong) in zip(guesses[::2], guesses[1::2], strict=True):
            if answered(of, curious, **{asked: right}) != answered(of, curious, **{asked: wrong}):
                told.add(asked)
    declared = {
        getattr(one, "parameter_name", None) or (one if isinstance(one, str) else one[0]) for one in of.list_filter
    }
    whole = {f"{name}{ending}" for name in (*declared, *of.linked_by) for ending in ("", "__exact")}
    assert told <= whole, "whole values of what the list declares, and nothing else"


@pytest.mark.parametrize("of", LISTS, ids=lambda one: one.model._meta.label)
def test_no_order_of_the_rows_tells_what_is_in_masked_columns(of: ModelAdmin, curious: User) -> None:
    assert isinstance(of, ForgivingList)
    request = RequestFactory().get("/")
    request.user, request.session = curious, SessionStore()
    shown = of.get_changelist_instance(request)
    assert isinstance(shown, DeclaredFilters)
    for place, column in enumerate(shown.list_display):
        request.GET = RequestFactory().get("/", {"o": f"{place}.-{place}"}).GET
        order = of.get_changelist_instance(request).queryset.query.order_by
        if column not in of.get_sortable_by(request):
            assert order in (("pk",), ("-pk",)) or set(order) <= {"-pk", "pk", *shown._get_default_ordering()}, column


def test_masked_columns_are_none_to_sort_by(curious: User) -> None:
    WebhookEventFactory(), WebhookEventFactory()
    request = RequestFactory().get("/")
    request.user = curious
    sides = admin.site.get_model_admin(SideState)
    assert "last_error" in sides.list_display and "last_error" not in sides.get_sortable_by(request)


@pytest.mark.parametrize(
    "query", ["reason__startswith=z", "link__crm_order_id__contains=C", "reason__regex=(a%2B)%2B$"]
)
@pytest.mark.parametrize("url", EXPORTS)
def test_an_export_takes_the_filters_of_its_list_only(client: Client, url: str, query: str) -> None:
    every_row(RIGHT)
    answer = client.get(f"{url}?{query}")
    assert (answer.status_code, answer.get("Location", "").endswith("?e=1")) == (302, True)


@pytest.mark.parametrize(
    "query", ["decision__exact=%00", "action=%00", "created_at_from_0=99999-01-01", "q=%00", "id=" + "9" * 40]
)
@pytest.mark.parametrize("url", EXPORTS)
def test_an_export_survives_nonsense(client: Client, url: str, query: str) -> None:
    answer = client.post(f"{url}?{query}", {"reason": "to see", "confirmed": "yes"})
    assert answer.status_code in (200, 302)
    assert answer.status_code == 302 or answer.getvalue().startswith(b'"id",')


@pytest.mark.parametrize(
    "query",
    ["headers__icontains=z", "customer__startswith=a", "tries__error__contains=z", "body__contains=z", "source=%00"],
)
@pytest.mark.parametrize("where", ["replay-many/", "replay-many/sample/"])
def test_a_bulk_replay_takes_the_filters_of_the_list_only(client: Client, where: str, query: str) -> None:
    every_row(RIGHT)
    answer = client.get(f"/admin/webhooks/webhookevent/{where}?{query}", follow=True)
    assert "This filter is not one of the list" in answer.content.decode()


def test_an_action_on_all_that_match_takes_the_filters_of_the_list_only(client: Client) -> None:
    event = every_row(RIGHT)[WebhookEvent]
    said = {"action": "replay_selected", "select_across": "1", "_selected_action": str(event.pk)}
    answer = client.post("/admin/webhooks/webhookevent/?headers__icontains=zap", said)
    assert answer["Location"] == "/admin/webhooks/webhookevent/"


def test_pages_still_link_to_parts_of_a_list(client: Client) -> None:
    one, _ = WebhookEventFactory(state=State.DEAD, order_ref="77"), WebhookEventFactory()
    for query in ("side=shop&order_ref=77", "state__exact=dead", "state=dead"):
        shown = client.get(f"/admin/webhooks/webhookevent/?{query}").context["cl"]
        assert [row.pk for row in shown.result_list] == [one.pk]


# --- what is computed of masked values -----------------------------------------------------------------------------

ORDER = {"id": 14, "status": "processing", "billing": {"phone": "0151 2345678", "postcode": "80331"}}
OTHER = {"id": 14, "status": "processing", "billing": {"phone": "1", "postcode": "10115 or so"}}
PAIRS = {
    "an order": (json.dumps(ORDER).encode(), json.dumps(OTHER).encode()),
    "text": (b"Zaphod Quill", b"Ford"),
    "a page": (b"<html>Zaphod Quill</html>", b"<html>Ford</html>"),
    "bytes": (b"\xff\x00Zaphod", b"\xff\x00Ford"),
}
EVENT = "/admin/webhooks/webhookevent/"
REFUSED = "/admin/webhooks/refuseddelivery/"


def told_of(body: bytes, client: Client) -> list[str]:
    """All pages of a delivery with this body, stored and refused, of an order with this content, and of a call."""
    now, digest = datetime(2026, 3, 1, tzinfo=UTC), hashlib.sha256(body).hexdigest()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    said = {"body": body, "body_sha256": digest, "headers": headers, "dedupe_key": f"hash:{digest}"}
    event = WebhookEventFactory(
        pk=7001, source="woocommerce", order_ref="14", received_at=now, stored_at=now, delivery_id="d", **said
    )
    known = {"created_at": now, "woo_fingerprint": digest, "identity": {"key": digest[:32]}}
    OrderLinkFactory(pk=7001, woo_id=14, crm_order_id="C-14", **known)
    text = body.decode("latin-1").replace("\0", "")
    attempt = AttemptFactory(pk=7001, event=event, started_at=now, decided_at=now)
    CallFactory(pk=7001, attempt=attempt, at=now, request_body=text, response_body=text)
    RefusedDelivery.objects.create(
        **{"pk": 7001, "source": "woocommerce", "reason": "bad_signature", "headers": headers, "received_at": now},
        **{"body_sha256": digest, "body_bytes": len(body)},
    )
    urls = (
        *(EVENT, f"{EVENT}7001/change/", f"{EVENT}7001/edit/", f"{EVENT}7001/dry-run/", f"{EVENT}7001/replay/"),
        *(REFUSED, f"{REFUSED}7001/change/", "/admin/sync/attempt/7001/change/"),
        *("/admin/orders/orderlink/", "/admin/orders/orderlink/7001/change/"),
    )
    pages = []
    for url in urls:
        answer = client.get(url)
        assert answer.status_code == 200, url
        pages.append(BY_CHANCE.sub("", answer.content.decode()))
    for model in (RefusedDelivery, Call, Attempt, OrderLink, WebhookEvent):
        model.objects.all()._raw_delete("default")
    return pages


BY_CHANCE = re.compile(
    r'name="csrfmiddlewaretoken" value="[^"]+"|nonce="[^"]+"|name="once" value="[^"]+"|X-CSRFToken[^}]+|'
    r"\d+(\xa0| )(second|minute|hour|day|week|month|year)s?|(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(\.\d+)?"
)


@pytest.mark.cases_alike
@pytest.mark.parametrize("pair", PAIRS)
def test_two_bodies_that_differ_in_what_is_masked_are_shown_alike(pair: str, client: Client) -> None:
    """Neither a hash, nor a length, nor whether something is as it was: each would tell a right guess from a wrong."""
    one, other = (told_of(body, client) for body in PAIRS[pair])
    for seen, also in zip(one, other, strict=True):
        assert seen == also


def edit(client: Client, body: Any) -> str:
    """What comes of it: the answer, the page of the copy and what is kept, without what differs by chance."""
    event = WebhookEventFactory(body=json.dumps(ORDER | {"meta": {"zaphod@home.example": 1, "me too": 2}}).encode())
    answer = client.post(
        f"{EVENT}{event.pk}/edit/", {"body": json.dumps(body), "reason": "x", "confirmed": "yes"}, follow=True
    )
    kept = StaffAction.objects.values_list("result", flat=True).order_by("pk")
    copy = event.copies.first()
    words = re.findall(r"These fields differ[^.]*|[^>]*is masked, and it was moved[^<]*", answer.content.decode())
    return str([bool(copy), *words, *kept]).replace(str(copy.pk if copy else ""), "")


@pytest.mark.parametrize(
    "guessed",
    [
        lambda right: {**ORDER, "billing": {"phone": "0151 2345678" if right else "0151 2345679", "postcode": MASK}},
        lambda right: {"id": 14, "billing": {"postcode": "80331" if right else "80332"}},
        lambda right: {"id": 14, "meta": {"\u2022\u2022\u20221": 1, "me too" if right else "not I": 2}},
        lambda right: {"id": 14, "meta": {f"{MASK}1": 1, f"{MASK}2": 2, "me too" if right else "not I": 2}},
    ],
    ids=["a value", "a value alone", "a name in its place", "a name besides"],
)
def test_an_edit_does_not_tell_a_right_guess_from_a_wrong_one(guessed: Any, client: Client) -> None:
    seen = []
    for right in (True, False):
        sid = transaction.savepoint()
        seen.append(edit(client, guessed(right)))
        transaction.savepoint_rollback(sid)
    assert seen[0] == seen[1]
    assert "masked" in seen[0] or "Changed: " in seen[0]


def test_a_field_that_is_typed_anew_counts_as_touched_and_a_mask_does_not(client: Client) -> None:
    assert "Changed: billing.phone." in edit(
        client, {**shown_order(), "billing": {**ORDER["billing"], "postcode": MASK}}
    )


def test_a_mask_left_where_it_is_is_not_touched(client: Client) -> None:
    assert "Changed: nothing." in edit(client, shown_order())


def shown_order() -> dict[str, Any]:
    shown: dict[str, Any] = masked(ORDER | {"meta": {"zaphod@home.example": 1, "me too": 2}})
    return shown


def test_whoever_has_it_revealed_sees_size_and_hash(admin_client: Client) -> None:
    digest = hashlib.sha256(b"{}").hexdigest()
    event = WebhookEventFactory(body=b"{}", body_sha256=digest)
    assert digest not in admin_client.get(f"{EVENT}{event.pk}/change/").content.decode()
    admin_client.post(f"{EVENT}{event.pk}/reveal/", {"reason": "x", "confirmed": "yes"})
    page = admin_client.get(f"{EVENT}{event.pk}/change/").content.decode()
    assert digest in page and "2 bytes" in page
