"""The sandbox gives its keys away as WooCommerce does: asked for properly, to whoever answers exactly 200, or not."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from django.utils.text import slugify

from sync.sandbox import second, state
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.sync.test_sandbox import Receiver

ASKED = {
    "app_name": "Orderbridge <x>",
    "scope": "read_write",
    "user_id": "one-time-token",
    "return_url": "https://bridge.example/back/?a=1",
}


@pytest.fixture
def shop() -> Iterator[SandboxShop]:
    shop = SandboxShop()
    shop.start()
    yield shop
    shop.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def ask(shop: SandboxShop, **fields: str) -> requests.Response:
    return requests.get(f"{shop.url}/wc-auth/v1/authorize?{urlencode(fields)}", timeout=60)


def pressed(shop: SandboxShop, page: requests.Response, button: str) -> str:
    [link] = re.findall(rf'href="([^"]+)">{button}<', page.text)
    return f"{shop.url}{unescape(link)}" if link.startswith("/") else unescape(link)


def approve(shop: SandboxShop, receiver: Receiver) -> requests.Response:
    link = pressed(shop, ask(shop, **ASKED, callback_url=receiver.url), "Approve")
    return requests.get(link, timeout=60, allow_redirects=False)


def test_approving_posts_the_keys_and_leads_back(shop: SandboxShop, receiver: Receiver) -> None:
    answer = approve(shop, receiver)
    back = urlsplit(answer.headers["Location"])
    assert answer.status_code == 302 and back.netloc == "bridge.example"
    assert parse_qs(back.query) == {"a": ["1"], "success": ["1"], "user_id": ["one-time-token"]}
    [(headers, body)] = receiver.got
    told = json.loads(body)
    assert headers["content-type"].startswith("application/json")
    assert told.keys() == {"key_id", "user_id", "consumer_key", "consumer_secret", "key_permissions"}
    assert (told["user_id"], told["key_permissions"]) == ("one-time-token", "read_write")
    orders = f"{shop.url}/wp-json/wc/v3/orders"
    keys = (told["consumer_key"], told["consumer_secret"])
    assert requests.get(orders, auth=keys, timeout=60).status_code == 200
    assert requests.get(orders, auth=("ck_test", "cs_test"), timeout=60).status_code == 200
    assert requests.get(orders, auth=(keys[0], "cs_test"), timeout=60).status_code == 401


@pytest.mark.parametrize("status", [201, 204, 302, 400, 500])
def test_without_exactly_200_the_key_is_deleted(shop: SandboxShop, receiver: Receiver, status: int) -> None:
    receiver.status = status
    answer = approve(shop, receiver)
    assert answer.status_code == 401 and "unable to send the consumer data" in answer.text
    assert shop.keys.others == {}


def test_denying_leads_back_without_a_key(shop: SandboxShop, receiver: Receiver) -> None:
    link = pressed(shop, ask(shop, **ASKED, callback_url=receiver.url), "Deny")
    assert parse_qs(urlsplit(link).query)["success"] == ["0"]
    assert receiver.got == [] and shop.keys.others == {}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"app_name": ""}, "Missing parameter app_name"),
        ({"user_id": ""}, "Missing parameter user_id"),
        ({"scope": "all"}, "Invalid scope all"),
        ({"return_url": "javascript:alert(1)"}, "return_url is not a valid URL"),
        ({"callback_url": "http://bridge.example/"}, "needs to be over SSL"),
    ],
)
def test_what_woocommerce_refuses_is_refused(shop: SandboxShop, wrong: dict[str, str], words: str) -> None:
    page = ask(shop, **{**ASKED, "callback_url": "https://bridge.example/", **wrong})
    assert page.status_code == 401 and words in page.text


def test_a_page_is_good_for_one_approval(shop: SandboxShop, receiver: Receiver) -> None:
    link = pressed(shop, ask(shop, **ASKED, callback_url=receiver.url), "Approve")
    assert requests.get(link, timeout=60, allow_redirects=False).status_code == 302
    assert requests.get(link, timeout=60, allow_redirects=False).status_code == 401
    assert len(shop.keys.others) == 1


@pytest.mark.parametrize(("scope", "method", "status"), [("read", "post", 401), ("write", "get", 401)])
def test_a_key_can_do_what_it_was_given_for(
    shop: SandboxShop, receiver: Receiver, scope: str, method: str, status: int
) -> None:
    shop.approvals.scope = scope
    approve(shop, receiver)
    told = json.loads(receiver.got[0][1])
    assert told["key_permissions"] == scope
    keys = (told["consumer_key"], told["consumer_secret"])
    call = requests.request(method, f"{shop.url}/wp-json/wc/v3/orders", auth=keys, json={}, timeout=60)
    assert call.status_code == status


def test_a_shop_of_one_process_answers_nobody_while_it_posts(shop: SandboxShop) -> None:
    shop.approvals.posting = True
    assert requests.get(f"{shop.url}/wp-json/", timeout=60).status_code == 503


def test_keys_and_webhooks_survive_a_restart(shop: SandboxShop, receiver: Receiver, tmp_path: Path) -> None:
    approve(shop, receiver)
    shop.add_webhook("order.created", receiver.url, "s3cr3t")
    state.save(tmp_path / "state.json", shop, SandboxCrm())
    later, with_its_own = SandboxShop(), SandboxShop(webhook_url=receiver.url, webhook_secret="another")
    for one in (later, with_its_own):
        assert state.load(tmp_path / "state.json", one, SandboxCrm())
        assert one.keys.others == shop.keys.others
    assert later.webhooks == shop.webhooks
    assert {hook["secret"] for hook in with_its_own.webhooks.values()} == {"another"}


def test_the_second_pair_is_where_the_setting_says_and_leads_nowhere_yet(settings: Any) -> None:
    assert second.shop_url() == second.crm_url() == ""
    settings.SANDBOX_URLS = ["http://127.0.0.1:18083", "http://127.0.0.1:18084"]
    shop, crm = second.servers()
    assert [shop.url, crm.url] == settings.SANDBOX_URLS
    assert shop.webhooks == {} and crm.webhook_url.endswith(f"/webhooks/crm/{slugify(second.CRM['name'])}/")
