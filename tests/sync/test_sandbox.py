"""The sandbox behaves as FACTS.md says a real shop and a CRM do."""

import json
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command
from requests_oauthlib import OAuth1

from sync.sandbox import state
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.orders import dated
from sync.sandbox.outbox import Network
from sync.sandbox.shop import SandboxShop
from sync.sandbox.signing import hmac_base64, php_json, standard_webhooks
from sync.sandbox.traffic import Traffic

PAYLOADS = Path(__file__).parent.parent / "payloads" / "woocommerce"
KEYS = ("ck_test", "cs_test")
BEARER = {"Authorization": "Bearer crm-token"}


class Receiver:
    """Keeps what it is sent; answers `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def topics(self) -> list[str]:
        return [headers["x-wc-webhook-topic"] for headers, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def shop(receiver: Receiver) -> Iterator[SandboxShop]:
    one = SandboxShop(webhook_url=receiver.url, webhook_secret="s3cret")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def crm(receiver: Receiver) -> Iterator[SandboxCrm]:
    one = SandboxCrm(webhook_url=receiver.url, retry_after=(0.01, 0.01))
    one.start()
    yield one
    one.stop()


def orders(shop: SandboxShop, path: str = "") -> str:
    return f"{shop.url}/wp-json/wc/v3/orders{path}"


def put(shop: SandboxShop, woo_id: int, **fields: Any) -> requests.Response:
    return requests.put(orders(shop, f"/{woo_id}"), json=fields, auth=KEYS, timeout=60)


@pytest.mark.parametrize("file", sorted(PAYLOADS.glob("*-order.*.json")), ids=lambda path: path.stem)
def test_body_and_signature_are_those_of_a_real_delivery(file: Path) -> None:
    capture = json.loads(file.read_text())
    headers = dict(capture["headers"])
    body = php_json(json.loads(capture["body"]))
    assert body == capture["body"].encode()
    assert hmac_base64(body, "lab-webhook-secret") == headers["X-WC-Webhook-Signature"]


def test_the_published_vector_of_standard_webhooks() -> None:
    headers = standard_webhooks(
        b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("place", ["AUTH_HEADER", "QUERY"])
@pytest.mark.parametrize("method", ["HMAC-SHA256", "HMAC-SHA1"])
def test_oauth_over_http(shop: SandboxShop, place: str, method: str) -> None:
    auth = OAuth1(*KEYS, signature_method=method, signature_type=place)
    answer = requests.get(orders(shop), params={"status": "any", "_": "a b/ü"}, auth=auth, timeout=60)
    assert answer.status_code == 200
    again = requests.get(answer.request.url or "", headers=answer.request.headers, timeout=60)
    assert again.status_code == 401, "a nonce used twice"
    wrong = OAuth1("ck_test", "cs_other", signature_method=method, signature_type=place)
    assert requests.get(orders(shop), auth=wrong, timeout=60).status_code == 401


def test_no_key_is_refused(shop: SandboxShop) -> None:
    assert requests.get(orders(shop), timeout=60).json()["code"] == "woocommerce_rest_cannot_view"


def test_orders_that_are_asked_for_stand_in_that_order_and_no_list_shows_the_trash(shop: SandboxShop) -> None:
    ids = [shop.create_order()["id"] for _ in range(4)]
    shop.trash(ids[1])
    wanted = ",".join(map(str, (ids[2], ids[0], ids[1], 99, ids[3])))

    def listed(**query: Any) -> list[int]:
        answer = requests.get(orders(shop), params={"include": wanted, **query}, auth=KEYS, timeout=60)
        return [order["id"] for order in answer.json()]

    assert listed(orderby="include") == [ids[2], ids[0], ids[3]]
    assert listed(orderby="include", per_page=2, page=2) == [ids[3]]
    assert listed(orderby="include", status="any,trash") == [ids[2], ids[0], ids[3]]
    assert listed(orderby="id", order="asc", status="trash") == [ids[1]]
    assert requests.get(orders(shop), params={"per_page": 101}, auth=KEYS, timeout=60).status_code == 400


def test_creation_is_told_twice_with_equal_bodies_and_checkout_backwards(shop: SandboxShop, receiver: Receiver) -> None:
    shop.create_order()
    shop.settle()
    assert receiver.topics() == ["order.created", "order.updated"]
    (headers, first), (_, second) = receiver.got
    assert first == second
    assert headers["x-wc-webhook-signature"] == hmac_base64(first, "s3cret")
    receiver.got.clear()
    shop.create_order(created_via="checkout")
    shop.settle()
    assert receiver.topics() == ["order.updated", "order.created"]


def test_every_put_tells_even_an_empty_one(shop: SandboxShop, receiver: Receiver) -> None:
    order = shop.load(json.loads(json.loads((PAYLOADS / "00007-order.updated-14.json").read_text())["body"]))
    answer = put(shop, 14)
    shop.settle()
    assert answer.json()["date_modified_gmt"] > order["date_modified_gmt"]
    assert receiver.topics() == ["order.updated"]
    assert shop.status_writes == []


def test_writes_and_their_refusals(shop: SandboxShop) -> None:
    woo_id = shop.create_order()["id"]
    assert put(shop, woo_id, status="completed").json()["status"] == "completed"
    assert put(shop, woo_id, status="pending").json()["status"] == "pending"
    assert [(one.old, one.new) for one in shop.status_writes] == [("pending", "completed"), ("completed", "pending")]
    assert put(shop, woo_id, status="wc-nonsense").json()["code"] == "rest_invalid_param"
    missing = put(shop, 999_999, status="completed")
    assert (missing.status_code, missing.json()["code"]) == (400, "woocommerce_rest_shop_order_invalid_id")
    assert requests.get(orders(shop, "/999999"), auth=KEYS, timeout=60).status_code == 404
    assert put(shop, woo_id, status="refunded").json()["refunds"]


def test_trash_restore_and_deletion(shop: SandboxShop, receiver: Receiver) -> None:
    woo_id = shop.create_order(status="processing")["id"]
    shop.settle()
    receiver.got.clear()
    requests.delete(orders(shop, f"/{woo_id}"), auth=KEYS, timeout=60)
    shop.settle()
    assert receiver.got[0][1] == b'{"id":%d}' % woo_id
    assert requests.get(orders(shop), auth=KEYS, timeout=60).json() == []
    shop.restore(woo_id)
    shop.delete(woo_id)
    shop.settle()
    assert receiver.topics()[0] == "order.deleted"
    assert set(receiver.topics()[1:]) <= {"order.restored"}


def test_dates_are_read_in_the_shops_time_unless_told(shop: SandboxShop) -> None:
    order = shop.create_order()
    before = order["date_modified_gmt"][:11] + "00:00:00"

    def found(**params: str) -> int:
        return len(requests.get(orders(shop), params=params, auth=KEYS, timeout=60).json())

    assert found(modified_after=before, dates_are_gmt="true") == 1
    assert found(modified_after=order["date_modified_gmt"], dates_are_gmt="true") == 0, "strictly greater"
    assert found(modified_after=order["date_modified_gmt"]) == 1, "one hour of the shop's zone"
    assert found(modified_after=before + "Z") == 1
    assert found(modified_after=before + "Z", dates_are_gmt="true") == 0
    assert found(status="trash") == 0
    assert found(per_page="101") == 3, "an error body"


def test_the_road_loses_doubles_and_overtakes_by_lot(shop: SandboxShop, receiver: Receiver) -> None:
    shop.network = Network(lose=0.3, double=0.3, delay=0.5, longest=0.05, rng=random.Random(7))
    for _ in range(30):
        shop.create_order()
    shop.settle()
    told = [(json.loads(body)["id"], headers["x-wc-webhook-topic"]) for headers, body in receiver.got]
    assert len(set(told)) < 60, "some got lost"
    assert len(told) > len(set(told)), "some came twice"
    assert [woo_id for woo_id, _ in told] != sorted(woo_id for woo_id, _ in told), "some were overtaken"


def test_a_page_that_shifts_while_it_is_read(shop: SandboxShop) -> None:
    """Reading page after page then skips orders, as it does on a real shop (FACTS B6)."""
    for number in range(6):
        shop.create_order()
        shop.orders[1001 + number].update(dated("date_modified", datetime(2026, 1, 1, number, tzinfo=UTC)))
    shop.faults.add("shifting-pages")
    seen = []
    for page in ("1", "2", "3"):
        query = {"orderby": "modified", "order": "asc", "per_page": "2", "page": page}
        seen += [order["id"] for order in requests.get(orders(shop), params=query, auth=KEYS, timeout=60).json()]
    assert len(set(seen)) < 6


def test_a_key_that_may_only_read(shop: SandboxShop) -> None:
    shop.keys.may_write = False
    assert requests.get(orders(shop), auth=KEYS, timeout=60).status_code == 200
    assert requests.put(orders(shop, "/1"), json={}, auth=KEYS, timeout=60).status_code == 401


def test_a_webhook_whose_owner_is_gone_tells_its_error(shop: SandboxShop, receiver: Receiver) -> None:
    shop.owner_may_read = False
    shop.create_order()
    shop.settle()
    assert json.loads(receiver.got[0][1])["code"] == "woocommerce_rest_cannot_view"


def test_a_clock_that_is_ahead(shop: SandboxShop) -> None:
    shop.clock_is_ahead = timedelta(hours=5)
    answer = requests.get(orders(shop), auth=KEYS, timeout=60)
    ahead = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
    assert timedelta(hours=4, minutes=59) < ahead < timedelta(hours=5, minutes=1)
    made = datetime.fromisoformat(shop.create_order()["date_created_gmt"]).replace(tzinfo=UTC)
    assert made > datetime.now(UTC) + timedelta(hours=4)


def test_seven_failures_disable_the_webhook(shop: SandboxShop, receiver: Receiver) -> None:
    woo_id = shop.create_order()["id"]
    shop.settle()
    receiver.status = 500
    for _ in range(7):
        assert {hook["status"] for hook in shop.webhooks.values()} == {"active"}
        shop.edit(woo_id, customer_note="x")
        shop.settle()
    assert [hook["topic"] for hook in shop.webhooks.values() if hook["status"] == "disabled"] == ["order.updated"]
    assert len(receiver.got) == 9, "each was sent once"


def test_a_webhook_created_by_rest_pings_first(shop: SandboxShop, receiver: Receiver) -> None:
    wanted = {"topic": "order.updated", "delivery_url": receiver.url, "secret": "new"}
    made = requests.post(f"{shop.url}/wp-json/wc/v3/webhooks", json=wanted, auth=KEYS, timeout=60)
    assert made.status_code == 201
    assert "secret" not in made.json()
    assert receiver.got[0][1] == f"webhook_id={made.json()['id']}".encode()


def create(crm: SandboxCrm, external_id: str = "14") -> requests.Response:
    wanted = {"external_id": external_id, "order": {"id": 14}}
    headers = {**BEARER, "Idempotency-Key": f"woo-{external_id}"}
    return requests.post(f"{crm.url}/orders", json=wanted, headers=headers, timeout=60)


def test_crm_creates_once_or_twice_by_its_manners(crm: SandboxCrm) -> None:
    assert [create(crm).status_code, create(crm).status_code] == [201, 200]
    crm.honours_idempotency_key = False
    assert create(crm).status_code == 201
    assert len(crm.by_external("14")) == 2
    assert requests.get(f"{crm.url}/orders", timeout=60).status_code == 401


def test_crm_lists_page_by_page_and_late(crm: SandboxCrm) -> None:
    for number in range(5):
        create(crm, str(number))
    seen: list[str] = []
    params = {"updated_since": "2020-01-01T00:00:00Z", "limit": "2"}
    while True:
        page = requests.get(f"{crm.url}/orders", params=params, headers=BEARER, timeout=60).json()
        seen += [order["external_id"] for order in page["results"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ["0", "1", "2", "3", "4"]
    crm.list_lag = 60
    create(crm, "late")
    late = requests.get(f"{crm.url}/orders", params={"external_id": "late"}, headers=BEARER, timeout=60)
    assert late.json()["results"] == []
    crm.set_status(crm.by_external("3")[0]["id"], "paid")
    behind = requests.get(f"{crm.url}/orders", params={"external_id": "3"}, headers=BEARER, timeout=60)
    assert behind.json()["results"][0]["status"] == "new"


def test_crm_webhook_is_signed_repeated_and_given_up(crm: SandboxCrm, receiver: Receiver) -> None:
    crm_id = create(crm).json()["id"]
    receiver.status = 503
    assert crm.set_status(crm_id, "paid")["version"] == 2
    crm.settle()
    assert [one.status for one in crm.deliveries] == [503, 503, 503]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    headers, body = receiver.got[0]
    stamp = int(headers["webhook-timestamp"])
    assert standard_webhooks(body, crm.webhook_secret, headers["webhook-id"], stamp).items() <= headers.items()


def test_crm_webhooks_doubled_dropped_and_reordered(crm: SandboxCrm, receiver: Receiver) -> None:
    crm_id = create(crm).json()["id"]
    crm.duplicate_next = 1
    crm.set_status(crm_id, "paid")
    crm.drop_next = 1
    crm.set_status(crm_id, "processing")
    crm.hold()
    crm.set_status(crm_id, "shipped")
    crm.set_status(crm_id, "completed")
    crm.release(backwards=True)
    crm.settle()
    assert [json.loads(body)["version"] for _, body in receiver.got] == [2, 2, 5, 4]


def read(crm: SandboxCrm, crm_id: str) -> requests.Response:
    return requests.get(f"{crm.url}/orders/{crm_id}", headers=BEARER, timeout=60)


@pytest.mark.parametrize(
    ("name", "status", "header"),
    [
        ("403", 403, ""),
        ("403-html", 403, ""),
        ("500", 500, ""),
        ("502", 502, ""),
        ("503-retry-after", 503, "Retry-After"),
        ("429", 429, "Retry-After"),
        ("html", 200, ""),
        ("captcha-202", 202, "SG-Captcha"),
        ("bom", 200, ""),
        ("truncated", 200, ""),
    ],
)
def test_faults_that_answer(crm: SandboxCrm, name: str, status: int, header: str) -> None:
    crm_id = create(crm).json()["id"]
    crm.faults.add(name, times=1, method="GET", path="/orders/")
    answer = read(crm, crm_id)
    assert answer.status_code == status
    assert not header or header in answer.headers
    if status == 200:
        with pytest.raises(ValueError):
            json.loads(answer.text)
    assert read(crm, crm_id).json()["id"] == crm_id, "used up"


def test_faults_that_do_not_answer(crm: SandboxCrm) -> None:
    crm.faults.add("down", times=1)
    with pytest.raises(requests.ConnectionError):
        create(crm)
    assert crm.creates == []
    crm.faults.add("timeout-after-effect", times=1, method="POST")
    with pytest.raises(requests.ConnectionError):
        create(crm)
    assert len(crm.creates) == 1
    crm.faults.add("slow", times=1, seconds=30)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{crm.url}/orders", headers=BEARER, timeout=0.05)


def test_faults_of_one_side(shop: SandboxShop, crm: SandboxCrm) -> None:
    woo_id = shop.create_order()["id"]
    shop.faults.add("wrong-status-answer", times=1)
    assert put(shop, woo_id, status="completed").json()["status"] == "pending"
    crm_id = create(crm).json()["id"]
    crm.set_status(crm_id, "paid")
    crm.faults.add("stale-reads", times=1)
    assert [read(crm, crm_id).json()["version"] for _ in range(2)] == [1, 2]


def test_faults_by_lot(crm: SandboxCrm) -> None:
    crm_id = create(crm).json()["id"]
    crm.faults.rng.seed(7)
    crm.faults.add("500", share=0.5)
    assert {read(crm, crm_id).status_code for _ in range(20)} == {200, 500}


def test_faults_over_http(crm: SandboxCrm) -> None:
    told = requests.post(f"{crm.url}/_faults", json={"name": "500", "times": 2}, timeout=60)
    assert told.json()[0]["times"] == 2
    assert create(crm).status_code == 500
    requests.delete(f"{crm.url}/_faults", timeout=60)
    assert create(crm).status_code == 201
    assert requests.post(f"{crm.url}/_faults", json={"name": "nonsense"}, timeout=60).status_code == 400


def test_stop_cuts_kept_connections_and_start_takes_the_same_port(crm: SandboxCrm) -> None:
    with requests.Session() as session:
        session.headers.update(BEARER)
        url = f"{crm.url}/orders"
        assert session.get(url, timeout=60).status_code == 200
        crm.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=60)
        crm.start()
        assert session.get(url, timeout=60).status_code == 200


def test_traffic_is_lively_and_its_state_survives(tmp_path: Path) -> None:
    shop, crm = SandboxShop(), SandboxCrm()
    traffic = Traffic(shop, crm, seed=1, limit=20)
    for _ in range(400):
        traffic.step()
        for woo_id in shop.orders:
            if not crm.by_external(woo_id):
                crm.add_order(str(woo_id))
    assert traffic.ordered == 20
    assert {"completed", "cancelled"} <= {order["status"] for order in crm.orders.values()}
    state.save(tmp_path / "state.json", shop, crm)
    second_shop, second_crm = SandboxShop(), SandboxCrm()
    assert state.load(tmp_path / "state.json", second_shop, second_crm)
    assert (second_shop.orders, second_crm.orders) == (shop.orders, crm.orders)
    assert second_shop.create_order()["id"] not in shop.orders


def test_send_webhook_signs_a_capture_anew(receiver: Receiver, settings: Any) -> None:
    settings.WOO_WEBHOOK_SECRETS = ["mine", "old"]
    out = StringIO()
    call_command("send_webhook", str(PAYLOADS / "00008-order.updated-14.json"), url=receiver.url, repeat=2, stdout=out)
    headers, body = receiver.got[1]
    assert headers["x-wc-webhook-signature"] == hmac_base64(body, "mine")
    assert headers["x-wc-webhook-topic"] == "order.updated"
    call_command("send_webhook", str(PAYLOADS / "00002-ping.json"), url=receiver.url, stdout=out)
    assert "x-wc-webhook-signature" not in receiver.got[2][0]
    assert out.getvalue().count("200") == 3


def test_send_webhook_signs_a_crm_event_and_says_what_is_wrong(
    receiver: Receiver, settings: Any, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"crm_order_id": "C-1", "status": "paid"}\n')
    call_command("send_webhook", str(event), url=receiver.url, stdout=StringIO())
    headers, body = receiver.got[0]
    signed = standard_webhooks(
        body, settings.CRM_WEBHOOK_SECRETS[0], headers["webhook-id"], int(headers["webhook-timestamp"])
    )
    assert signed["webhook-signature"] == headers["webhook-signature"]
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    receiver.status = 401
    for file, code in ((event, 1), (tmp_path / "missing.json", 2)):
        with pytest.raises(CommandError) as raised:
            call_command("send_webhook", str(file), url=receiver.url, stdout=StringIO())
        assert raised.value.returncode == code
    settings.CRM_WEBHOOK_SECRETS = []
    with pytest.raises(CommandError, match="CRM_WEBHOOK_SECRETS") as raised:
        call_command("send_webhook", str(event), url=receiver.url, stdout=StringIO())
    assert raised.value.returncode == 2
