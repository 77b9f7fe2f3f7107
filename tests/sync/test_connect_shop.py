"""A shop is connected by its own page of approval, or with typed keys; and what is refused on the way."""

import json
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group, User
from django.test import Client

from orders.models import StaffAction
from sync.monitoring import connecting
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.sync.connecting import approved, crm, link, local, manager, page, shop
from webhooks import approvals, clock
from webhooks.approvals import CALLBACK, ShopApproval
from webhooks.connections import Connection
from webhooks.credentials import decrypt

__all__ = ["crm", "manager", "shop"]

pytestmark = pytest.mark.django_db(transaction=True)


def connection() -> Connection:
    return Connection.objects.exclude(slug__in=("shop", "crm")).get()


def none_was_made() -> bool:
    return not Connection.objects.exclude(slug__in=("shop", "crm")).exists()


def test_a_shop_is_approved_tried_and_stored_with_its_webhooks(manager: Client, shop: SandboxShop) -> None:
    shop.create_order()
    back = local(approved(manager, shop))
    assert none_was_made()
    assert [one for one in shop.requests if one.path.startswith("/wp-json/wc/v3")] == []
    assert b"handed its keys over" in manager.get(back).content and none_was_made()
    done = manager.post(back, follow=True)
    assert b"Shop B is connected. 4 webhooks were made" in done.content
    made = connection()
    assert (made.slug, made.kind, made.settings) == ("shop-b", "woocommerce", {"url": shop.url})
    keys = decrypt(made.credentials)
    assert keys["consumer_key"] in shop.keys.others
    assert {hook["delivery_url"][-29:] for hook in shop.webhooks.values()} == {"/webhooks/woocommerce/shop-b/"}
    assert {hook["secret"] for hook in shop.webhooks.values()} == {keys["webhook_secrets"]}
    assert not ShopApproval.objects.exists()
    hidden = set(keys.values())
    told = json.dumps(list(StaffAction.objects.values("action", "result", "details")))
    assert "connection: add" in told and not any(one in told for one in hidden)
    assert not any(one in done.content.decode() for one in hidden)


def test_only_exactly_the_right_word_is_taken_and_only_once(manager: Client, shop: SandboxShop) -> None:
    asked = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url})
    token = link(asked, "Approve in the shop").partition("user_id=")[2].partition("&")[0]
    told = {"key_id": 1, "user_id": token, "consumer_key": "ck_1", "consumer_secret": "cs_1"}
    told |= {"key_permissions": "read_write"}
    assert token not in json.dumps(list(ShopApproval.objects.values_list("token_hash", flat=True)))
    client = Client()

    def post(**changed: Any) -> int:
        body = json.dumps({**told, **changed})
        return client.post(CALLBACK, body, content_type="application/json").status_code

    assert post(user_id="another") == 403
    assert post(user_id="") == post(user_id=None) == post(user_id=[token]) == post(consumer_secret=7) == 400
    assert post(consumer_key="x" * 1000) == 400
    assert client.post(CALLBACK, b"{", content_type="application/json").status_code == 400
    assert client.get(CALLBACK).status_code == 405
    assert not ShopApproval.objects.get().credentials
    assert (post(), post()) == (200, 403)
    assert decrypt(ShopApproval.objects.get().credentials)["consumer_key"] == "ck_1"


def test_a_token_is_good_for_a_quarter_of_an_hour(manager: Client, shop: SandboxShop) -> None:
    asked = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url})
    ShopApproval.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    url = link(asked, "Approve in the shop")
    asks = requests.get(url, timeout=60).text
    approve = asks.partition('class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
    refused = requests.get(f"{shop.url}{approve}", timeout=60, allow_redirects=False)
    assert refused.status_code == 401 and shop.keys.others == {}
    shown = manager.get(page("connection_approval", ShopApproval.objects.get().pk))
    assert b"longer than 15 minutes" in shown.content
    approvals.forget_expired()
    assert not ShopApproval.objects.exists()


@pytest.mark.parametrize("scope", ["read", "write"])
def test_a_key_that_may_not_do_both_is_refused_in_words(manager: Client, shop: SandboxShop, scope: str) -> None:
    shop.approvals.scope = scope
    assert "unable to send the consumer data" in approved(manager, shop)
    assert shop.keys.others == {}
    shown = manager.get(page("connection_approval", ShopApproval.objects.get().pk)).content.decode()
    assert f"the permission &#x27;{scope}&#x27;, and not Read/Write" in shown and "Type keys instead" in shown
    assert none_was_made()


def test_a_shop_that_denies_leaves_nothing(manager: Client, shop: SandboxShop) -> None:
    back = local(approved(manager, shop, button="Deny"))
    for answer in (manager.get(back), manager.post(back)):
        assert b"was not approved" in answer.content
    assert none_was_made()


def test_an_approval_is_for_the_person_who_asked(manager: Client, shop: SandboxShop) -> None:
    back = local(approved(manager, shop))
    person = User.objects.create_user("another manager", is_staff=True)
    person.groups.add(Group.objects.get(name="manager"))
    other = Client()
    other.force_login(person)
    assert (other.get(back).status_code, other.post(back).status_code) == (403, 403)
    assert none_was_made()


def test_a_button_that_is_pressed_twice_connects_once(
    manager: Client, shop: SandboxShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request comes while the first one tries the keys."""
    back, try_shop = local(approved(manager, shop)), connecting.try_shop

    def meanwhile(at: Any) -> None:
        monkeypatch.setattr(connecting, "try_shop", try_shop)
        manager.post(back)
        try_shop(at)

    monkeypatch.setattr(connecting, "try_shop", meanwhile)
    manager.post(back)
    assert connection().slug == "shop-b"
    shown = manager.get(back, follow=True)
    assert b"used already" in shown.content and b"Shop B" in shown.content


def test_of_two_tabs_the_second_is_told_that_the_shop_is_there(manager: Client, shop: SandboxShop) -> None:
    tabs = [local(approved(manager, shop)) for _ in range(2)]
    manager.post(tabs[0])
    for answer in (manager.get(tabs[1]), manager.post(tabs[1])):
        assert b"This shop is there already: Shop B" in answer.content
    assert connection().slug == "shop-b"


def test_keys_that_do_not_work_are_told_on_the_way_back_and_not_stored(manager: Client, shop: SandboxShop) -> None:
    back = local(approved(manager, shop))
    kept = dict(shop.keys.others)
    shop.keys.others.clear()
    shown = manager.post(back)
    assert b"does not accept the key" in shown.content and b"WOO_" not in shown.content and none_was_made()
    shop.keys.others.update(kept)
    assert b"is connected" in manager.post(back, follow=True).content


def test_without_https_the_shop_is_not_asked_and_typing_is_offered(
    manager: Client, shop: SandboxShop, settings: Any
) -> None:
    settings.PUBLIC_URL = "http://bridge.example"
    shown = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url})
    assert b"https address only" in shown.content
    assert link(shown, "Type keys instead") == page("connection_type_keys")
    assert not ShopApproval.objects.exists()


def test_typed_keys_are_tried_before_they_are_stored(manager: Client, shop: SandboxShop) -> None:
    url, typed = page("connection_type_keys"), {"name": "B", "url": shop.url, "consumer_key": "ck_test"}
    shown = manager.post(url, {**typed, "consumer_secret": "cs_of-another"})
    assert b"does not accept our signature" in shown.content
    assert b"cs_of-another" not in shown.content and none_was_made()
    shop.keys.may_write = False
    assert b"the key may only read" in manager.post(url, {**typed, "consumer_secret": "cs_test"}).content
    assert none_was_made()
    shop.keys.may_write = True
    done = manager.post(url, {**typed, "consumer_secret": "cs_test"}, follow=True)
    assert b"4 webhooks were made" in done.content and decrypt(connection().credentials)["consumer_secret"] == "cs_test"


WRONG = [
    ("", "This field is required"),
    ("ftp://shop.example", "is no address"),
    ("https://", "is no address"),
    ("https://user:pass@shop.example", "Leave user and password out"),
    ("http://shop.example", "Write https://shop.example"),
]


@pytest.mark.parametrize(("url", "words"), WRONG)
def test_an_address_that_is_none_is_refused_with_what_to_type(manager: Client, url: str, words: str) -> None:
    shown = manager.post(page("connection_add_shop"), {"name": "B", "url": url})
    assert words in shown.content.decode() and not ShopApproval.objects.exists()


def test_a_private_address_is_refused_unless_the_setting_allows_it(
    manager: Client, shop: SandboxShop, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    for url in (shop.url, shop.url.replace("http:", "https:")):
        shown = manager.post(page("connection_add_shop"), {"name": "B", "url": url}).content.decode()
        assert "ALLOW_PRIVATE_ADDRESSES" in shown
    assert shop.requests == []


def test_what_answers_and_is_no_shop_is_told_from_one(manager: Client, shop: SandboxShop, crm: SandboxCrm) -> None:
    shown = manager.post(page("connection_add_shop"), {"name": "B", "url": crm.url})
    assert b"asks for a password first" in shown.content
    shop.faults.add(name="html")
    shown = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url})
    assert b"No shop answers" in shown.content and b"WOO_URL" not in shown.content
    shop.stop()
    shop.faults.clear()
    shown = manager.post(page("connection_add_shop"), {"name": "B", "url": shop.url})
    assert b"refuses the connection" in shown.content and b"WOO_URL" not in shown.content


def test_a_shop_that_is_there_already_is_refused(manager: Client, shop: SandboxShop, settings: Any) -> None:
    settings.WOO_URL = shop.url
    for url in (shop.url, f"{shop.url}/", f"{shop.url}/wp-admin/"):
        assert b"is there already" in manager.post(page("connection_add_shop"), {"name": "B", "url": url}).content
    assert none_was_made()
