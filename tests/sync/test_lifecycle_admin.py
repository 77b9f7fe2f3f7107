"""Staff edit the lifecycle in place, under its picture, checked against what the shop knows."""

import html
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders.models import AllowedMove, StatusRule
from tests.factories import OrderLinkFactory

pytestmark = pytest.mark.django_db
RULES, MOVES = "/admin/orders/statusrule/", "/admin/orders/allowedmove/"
KNOWN = ["pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "wc-shipped"]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def shop() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        knows(mock, KNOWN)
        yield mock


def knows(shop: responses.RequestsMock, statuses: list[str]) -> None:
    shop.upsert(
        responses.OPTIONS,
        "http://127.0.0.1:1/wp-json/wc/v3/orders",
        json={"schema": {"properties": {"status": {"enum": statuses}}}},
    )


def page(client: Client, url: str = RULES) -> str:
    return html.unescape(client.get(url).content.decode())


def asked(client: Client, url: str = RULES) -> str:
    """The page after its button "Ask the shop"."""
    return html.unescape(client.post(url, {"_ask": "yes"}).content.decode())


def edited(client: Client, url: str, pk: int, **fields: Any) -> dict[str, Any]:
    """The list's form as the browser sends it, with these fields of one row changed."""
    formset = client.get(url).context["cl"].formset
    data = {f"form-{key}": value for key, value in formset.management_form.initial.items()}
    for form in formset.initial_forms:
        for name in form.fields:
            value = fields.get(name, form[name].value()) if form.instance.pk == pk else form[name].value()
            if value is not False:
                data[f"{form.prefix}-{name}"] = value
    return {**data, "_save": "Save"}


def test_both_lists_are_edited_in_place(admin_client: Client, shop: responses.RequestsMock) -> None:
    rule, move = (
        StatusRule.objects.get(crm_status="shipped"),
        AllowedMove.objects.get(to_status="failed", from_status="pending"),
    )
    answer = admin_client.post(RULES, edited(admin_client, RULES, rule.pk, woo_status=" wc-shipped "))
    assert answer.status_code == 302
    assert admin_client.post(MOVES, edited(admin_client, MOVES, move.pk, to_status="refunded")).status_code == 302
    rule.refresh_from_db()
    move.refresh_from_db()
    assert (rule.woo_status, move.to_status) == ("shipped", "refunded")


def test_a_status_that_the_shop_does_not_know_is_not_saved(admin_client: Client, shop: responses.RequestsMock) -> None:
    rule = StatusRule.objects.get(crm_status="shipped")
    in_list = admin_client.post(RULES, edited(admin_client, RULES, rule.pk, woo_status="shiped"))
    alone = {"crm_status": "shipped", "woo_status": "shiped"}
    for answer in (
        in_list,
        admin_client.post(f"{RULES}{rule.pk}/change/", alone),
        admin_client.post(f"{RULES}add/", alone),
    ):
        assert "The shop does not know the status 'shiped'. It knows: cancelled, " in html.unescape(
            answer.content.decode()
        )
    rule.refresh_from_db()
    assert rule.woo_status == "completed"


def test_a_status_that_the_shop_has_just_learnt_is_asked_for_again(
    admin_client: Client, shop: responses.RequestsMock
) -> None:
    asked(admin_client)
    knows(shop, [*KNOWN, "packed"])
    admin_client.post(f"{RULES}add/", {"crm_status": "packed", "woo_status": "packed"})
    assert StatusRule.objects.filter(woo_status="packed").exists()


def test_a_row_that_was_wrong_before_is_shown_and_hinders_nobody(
    admin_client: Client, shop: responses.RequestsMock
) -> None:
    StatusRule.objects.create(crm_status="packed", woo_status="gone")
    rule = StatusRule.objects.get(crm_status="paid")
    assert "packed is mapped to gone, which the shop does not know" in asked(admin_client)
    assert admin_client.post(RULES, edited(admin_client, RULES, rule.pk, woo_status="on-hold")).status_code == 302


def test_while_the_shop_is_away_a_rule_is_saved_with_a_warning(admin_client: Client) -> None:
    answer = admin_client.post(f"{RULES}add/", {"crm_status": "packed", "woo_status": "who-knows"}, follow=True)
    assert StatusRule.objects.filter(woo_status="who-knows").exists()
    assert "The status map was not checked" in html.unescape(answer.content.decode())


def test_the_shop_is_asked_by_a_post_only_and_remembered_for_a_minute(
    admin_client: Client, shop: responses.RequestsMock
) -> None:
    StatusRule.objects.create(crm_status="packed", woo_status="gone")
    for url in (RULES, MOVES):
        assert "The status map was not checked" in page(admin_client, url)
        assert 'name="_ask"' in page(admin_client, url)
    assert len(shop.calls) == 0
    asked(admin_client)
    for url in (RULES, MOVES, RULES):
        assert "The status map was not checked" not in page(admin_client, url)
    assert "which the shop does not know" in page(admin_client)
    assert len(shop.calls) == 1


@pytest.mark.parametrize("url", [RULES, MOVES])
def test_the_default_lifecycle_is_drawn_and_has_no_warning(
    admin_client: Client, shop: responses.RequestsMock, url: str
) -> None:
    shown = page(admin_client, url)
    assert "<svg xmlns" in shown
    assert "pending → cancelled, completed, failed, on-hold, processing, shipped" in shown
    assert admin_client.get(url).context["lint_warnings"] == []


def test_a_lint_warning_is_shown_after_the_save_that_set_it(admin_client: Client, shop: responses.RequestsMock) -> None:
    move = {"from_status": "wc-cancelled", "to_status": "pending"}
    shown = admin_client.post(f"{MOVES}add/", move, follow=True).content.decode()
    assert "cancelled is final, but a move leads from it to pending." in shown


@pytest.mark.parametrize(
    "move", [{"from_status": "paid", "to_status": "wc-paid"}, {"from_status": "pending", "to_status": "failed"}, {}]
)
def test_a_move_that_leads_nowhere_is_not_saved(admin_client: Client, move: dict[str, str]) -> None:
    moves = AllowedMove.objects.count()
    assert admin_client.post(f"{MOVES}add/", move).status_code == 200
    assert AllowedMove.objects.count() == moves


def test_who_changed_what_is_told_of_rows_that_are_gone_too(admin_client: Client, shop: responses.RequestsMock) -> None:
    admin_client.post(f"{RULES}add/", {"crm_status": "packed", "woo_status": "processing"})
    admin_client.post(f"{RULES}{StatusRule.objects.get(crm_status='packed').pk}/delete/", {"post": "yes"})
    shown = page(admin_client, MOVES)
    assert "Created: packed → processing, by admin" in shown
    assert "Deleted: packed → processing, by admin" in shown


def test_a_viewer_edits_nothing(shop: responses.RequestsMock) -> None:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_statusrule", "view_allowedmove"]))
    viewer = Client()
    viewer.force_login(user)
    assert 'name="form-0-woo_status"' not in page(viewer)
    assert 'name="_ask"' not in page(viewer)
    assert viewer.post(RULES, {"_ask": "yes"}).status_code == 403
    assert len(shop.calls) == 0
    rule = StatusRule.objects.get(crm_status="paid")
    sent = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": rule.pk, "form-0-woo_status": "failed"}
    viewer.post(RULES, {**sent, "_save": "Save"})
    assert viewer.post(f"{MOVES}add/", {"from_status": "pending", "to_status": "refunded"}).status_code == 403
    rule.refresh_from_db()
    assert rule.woo_status == "processing"


def test_the_list_costs_the_same_queries_for_many_rows(
    admin_client: Client, shop: responses.RequestsMock, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    StatusRule.objects.bulk_create(StatusRule(crm_status=f"s{n}", woo_status="pending") for n in range(40))
    with django_assert_max_num_queries(14):
        admin_client.get(RULES)


def test_a_status_that_woocommerce_would_cut_is_refused(admin_client: Client, shop: responses.RequestsMock) -> None:
    knows(shop, [*KNOWN, "awaiting-collection"])
    answer = admin_client.post(f"{RULES}add/", {"crm_status": "waits", "woo_status": "wc-awaiting-collection"})
    assert "at most 17 letters" in html.unescape(answer.content.decode())
    assert not StatusRule.objects.filter(crm_status="waits").exists()


@pytest.mark.parametrize(("to_status", "is_offered"), [("packed", True), ("shipped", False), ("checkout-draft", False)])
def test_force_offers_the_shops_own_statuses(
    admin_client: Client, shop: responses.RequestsMock, to_status: str, is_offered: bool
) -> None:
    knows(shop, ["processing", "completed", "packed", "checkout-draft"])
    link = OrderLinkFactory(woo_status="processing")
    answer = admin_client.post(
        f"/admin/orders/orderlink/{link.pk}/force/", {"to_status": to_status, "reason": "by phone"}
    )
    assert answer.context["form"].is_valid() == is_offered
