"""Nobody learns what is masked by asking for it: every list, every column, all that an address may carry."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters, ModelAdmin
from django.contrib.auth.models import Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.cache import SessionStore
from django.db.models import Model
from django.test import Client, RequestFactory

from sync.models import SideState
from tests.factories import WebhookEventFactory
from tests.filled import TEXTS, every_row
from webhooks.admin import DeclaredFilters, ForgivingList
from webhooks.models import State, WebhookEvent

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
    assert answer.status_code == 302 or answer.getvalue().startswith(b"id,")


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
