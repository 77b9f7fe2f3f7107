"""The published vectors of every scheme, and everything that must be refused."""

import base64
import hashlib
import hmac

import pytest
from django.utils.datastructures import CaseInsensitiveMapping
from hypothesis import given
from hypothesis import strategies as st

from webhooks.signatures import SCHEMES, Delivery, Verdict, usable, verify

WOO_BODY = (
    rb'{"id":727,"status":"processing","number":"727","_links":{"self":[{"href":'
    rb'"https:\/\/shop.example\/wp-json\/wc\/v3\/orders\/727"}]},"name":"Zo\u00eb"}'
)
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
HUBSPOT = {
    "X-HubSpot-Signature-v3": "CQkNI00kc1ENOk30YOu9yZEMSYnNpI2ySLx2+We8TIE=",
    "X-HubSpot-Request-Timestamp": "1700000000000",
}
HUBSPOT_BODY, HUBSPOT_URL = b'[{"eventId":1,"objectId":42}]', "https://hub.example/webhooks/crm/hubspot?a=1"


def check(
    scheme: str, secrets: list[str], body: bytes, headers: dict[str, str], now: float = 0.0, url: str = ""
) -> Verdict:
    return verify(scheme, secrets, Delivery(body=body, headers=CaseInsensitiveMapping(headers), url=url), now=now)


def test_woocommerce_vector() -> None:
    headers = {"x-wc-webhook-signature": "dghZ6HsQupHbaUL8ZDW4KmkwYVUlTYEIaiB/0es3l/M="}
    assert check("woocommerce", ["s3cr3t"], WOO_BODY, headers).ok
    assert check("woocommerce", ["s3cr3t"], WOO_BODY + b" ", headers).reason == "bad_signature"


@pytest.mark.parametrize("stored", ["a&amp;b&lt;c", "a&b<c"])
def test_woocommerce_decodes_entities_in_its_secret(stored: str) -> None:
    headers = {"X-WC-Webhook-Signature": "YbKojmXpheQXVMNXY9dkL9a2yW1+j+sI8IkqPDi1+BI="}
    assert check("woocommerce", [stored], b'{"id":727}', headers).ok


def test_standard_webhooks_vector() -> None:
    assert check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, STANDARD, now=1614265330).ok
    several = STANDARD | {"webhook-signature": f"v1a,x v1,AAAA v1 , {STANDARD['webhook-signature']}"}
    assert check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, several, now=1614265330).ok


SVIX = {name.replace("webhook", "svix"): value for name, value in STANDARD.items()}


def test_svix_names_its_headers_otherwise() -> None:
    assert check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, SVIX, now=1614265330).ok
    assert not check("standard-webhooks", [STANDARD_SECRET], b"{}", SVIX, now=1614265330).ok
    for name in SVIX:
        wrong = {one: value for one, value in SVIX.items() if one != name}
        assert not check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, wrong, now=1614265330).ok


@pytest.mark.parametrize("names", [STANDARD, SVIX])
@given(st.text("0123456789.ab", min_size=3, max_size=30))
def test_no_boundary_of_what_is_signed_can_be_moved(names: dict[str, str], text: str) -> None:
    """Of all ways to cut one signed text into id, time and body, at most one is let in."""
    key = base64.b64decode(STANDARD_SECRET.removeprefix("whsec_"))
    signature = "v1," + base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    dots = [place for place, letter in enumerate(text) if letter == "."]
    good = []
    for first in dots:
        for second in dots:
            if first < second:
                given_ = (text[:first], text[first + 1 : second], signature)
                headers = dict(zip(names, given_, strict=True))
                verdict = check("standard-webhooks", [STANDARD_SECRET], text[second + 1 :].encode(), headers)
                good += [headers] if verdict.ok or verdict.reason == "stale_timestamp" else []
    assert len(good) <= 1


def test_hubspot_vector() -> None:
    assert check("hubspot-v3", ["client-secret"], HUBSPOT_BODY, HUBSPOT, 1700000000, HUBSPOT_URL).ok
    assert not check("hubspot-v3", ["client-secret"], HUBSPOT_BODY, HUBSPOT, 1700000000, HUBSPOT_URL + "1").ok


@pytest.mark.parametrize("shape", ["{}", "sha256={}", "SHA256={}"])
def test_plain_hmac_in_hex(shape: str) -> None:
    mac = hmac.new(b"k", b"body", hashlib.sha256).hexdigest()
    assert check("hmac-sha256-hex", ["k"], b"body", {"X-CRM-Signature": shape.format(mac)}).ok
    assert check("hmac-sha256-hex", ["k"], b"body", {"X-CRM-Signature": shape.format(mac).upper()}).ok


def test_plain_hmac_in_base64() -> None:
    mac = base64.b64encode(hmac.new(b"k", b"body", hashlib.sha256).digest()).decode()
    assert check("hmac-sha256-base64", ["k"], b"body", {"X-CRM-Signature": mac}).ok


@pytest.mark.parametrize(("late", "ok"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_five_minutes_both_ways(late: int, ok: bool) -> None:
    one = check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, STANDARD, now=1614265330 + late)
    other = check("hubspot-v3", ["client-secret"], HUBSPOT_BODY, HUBSPOT, 1700000000 + late, HUBSPOT_URL)
    assert [one.reason, other.reason] == (["", ""] if ok else ["stale_timestamp"] * 2)


def test_any_secret_fits_and_its_label_tells_which_without_telling_it() -> None:
    headers = {"X-WC-Webhook-Signature": "dghZ6HsQupHbaUL8ZDW4KmkwYVUlTYEIaiB/0es3l/M="}
    verdict = check("woocommerce", ["new", "s3cr3t"], WOO_BODY, headers)
    assert verdict.key.startswith("secret 2 (")
    assert "s3cr3t" not in repr(verdict)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_empty_secret_lets_nobody_in(scheme: str) -> None:
    mac = hmac.new(b"", b"", hashlib.sha256)
    given = {"X-CRM-Signature": mac.hexdigest(), "X-WC-Webhook-Signature": base64.b64encode(mac.digest()).decode()}
    assert not check(scheme, [""], b"", given).ok
    assert not usable(scheme, "")


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "whsec_é"])
def test_a_malformed_standard_secret_is_not_usable(secret: str) -> None:
    assert not usable("standard-webhooks", secret)
    assert not check("standard-webhooks", [secret], STANDARD_BODY, STANDARD, now=1614265330).ok


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("value", ["", "é", "v1", "v1,", "١٢٣", "-1", "1e9", "nan", "9" * 400, "\x00"])
def test_a_malformed_standard_header_is_refused(name: str, value: str) -> None:
    verdict = check("standard-webhooks", [STANDARD_SECRET], STANDARD_BODY, STANDARD | {name: value}, now=1614265330)
    assert verdict.reason == "bad_signature"


@given(st.sampled_from(sorted(SCHEMES)), st.lists(st.text(), min_size=7, max_size=7), st.binary())
def test_nothing_raises(scheme: str, values: list[str], body: bytes) -> None:
    names = [*STANDARD, *HUBSPOT, "X-CRM-Signature", "X-WC-Webhook-Signature"]
    assert not check(scheme, [STANDARD_SECRET], body, dict(zip(names, values, strict=True)), url=values[0]).ok
