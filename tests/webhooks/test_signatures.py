"""The published vectors of every scheme, and everything that must be refused."""

import base64
import hashlib
import hmac

import pytest
from django.utils.datastructures import CaseInsensitiveMapping
from hypothesis import given
from hypothesis import strategies as st

from webhooks.signatures import SCHEMES, Delivery, Verdict, standard_headers, usable, verify

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


# --- each scheme ---------------------------------------------------------------------------------------------------

KEY = base64.b64decode(STANDARD_SECRET.removeprefix("whsec_"))
NOW = 1700000000
URL = "https://hub.example/webhooks/crm/hubspot?to=a:b/c&d=%20"


def mac(key: bytes, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text, "sha256")).decode()


def signed(scheme: str, key: bytes = KEY, *, body: bytes = b"body", moment: int = NOW) -> dict[str, str]:
    """The headers of a delivery that fits."""
    match scheme:
        case "standard-webhooks":
            signature = mac(key, f"m.{moment}.".encode() + body)
            return {"webhook-id": "m", "webhook-timestamp": str(moment), "webhook-signature": f"v1,{signature}"}
        case "hubspot-v3":
            text = f"POST{URL}".encode() + body + str(moment * 1000).encode()
            stamp = {"X-HubSpot-Request-Timestamp": str(moment * 1000)}
            return {"X-HubSpot-Signature-v3": mac(key, text), **stamp}
        case "hmac-sha256-hex":
            return {"X-CRM-Signature": hmac.new(key, body, hashlib.sha256).hexdigest()}
        case "woocommerce":
            return {"X-WC-Webhook-Signature": mac(key, body)}
    return {"X-CRM-Signature": mac(key, body)}


def secret_of(scheme: str, key: str) -> tuple[str, bytes]:
    """As it is set, and the key that it stands for."""
    if scheme == "standard-webhooks":
        return f"whsec_{base64.b64encode(key.encode()).decode()}", key.encode()
    return key, key.encode()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_any_of_several_secrets_will_do_and_is_named_by_its_place(scheme: str, place: int) -> None:
    secrets = [secret_of(scheme, key) for key in ("one", "two", "three")]
    headers = signed(scheme, secrets[place - 1][1])
    verdict = check(scheme, ["", *(secret for secret, _ in secrets)], b"body", headers, NOW, URL)
    digest = hashlib.sha256(secrets[place - 1][0].encode()).hexdigest()[:8]
    assert (verdict.ok, verdict.reason, verdict.detail) == (True, "", "")
    assert verdict.key == f"secret {place + 1} ({digest})"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("drop", [0, 1, 2])
def test_each_header_of_a_scheme_is_needed_and_the_detail_names_it(scheme: str, drop: int) -> None:
    secret, key = secret_of(scheme, "one")
    headers = signed(scheme, key)
    missing = list(headers)[drop % len(headers)]
    verdict = check(scheme, [secret], b"body", {n: v for n, v in headers.items() if n != missing}, NOW, URL)
    assert (verdict.ok, verdict.reason, verdict.key) == (False, "bad_signature", "")
    needs_no_name = missing == "webhook-signature"  # it may be of another version
    assert verdict.detail == "No secret fits the signature" if needs_no_name else missing in verdict.detail


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("what", ["secret", "body"])
def test_what_does_not_fit_is_refused(scheme: str, what: str) -> None:
    secret, key = secret_of(scheme, "one")
    if what == "secret":
        secret, _ = secret_of(scheme, "two")
    verdict = check(scheme, [secret], b"body" if what == "secret" else b"other", signed(scheme, key), NOW, URL)
    assert (verdict.ok, verdict.reason, verdict.key) == (False, "bad_signature", "")
    assert verdict.detail == "No secret fits the signature"


@pytest.mark.parametrize("scheme", ["standard-webhooks", "hubspot-v3"])
@pytest.mark.parametrize("off", [301, -301])
def test_the_detail_says_how_far_the_clocks_are_apart(scheme: str, off: int) -> None:
    secret, key = secret_of(scheme, "one")
    verdict = check(scheme, [secret], b"body", signed(scheme, key), NOW + off, URL)
    assert (verdict.ok, verdict.detail) == (False, f"The signed time is {off} s from ours")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_secret_of_one_letter_is_usable_and_is_no_base64(scheme: str) -> None:
    """But where the scheme asks for base64."""
    assert usable(scheme, "!") is (scheme != "standard-webhooks")


@pytest.mark.parametrize("length", range(1, 9))
def test_a_standard_secret_may_lack_its_prefix_and_its_padding(length: int) -> None:
    key = b"12345678"[:length]
    text = base64.b64encode(key).decode()
    for secret in (text, text.rstrip("="), f"whsec_{text}", f"whsec_{text.rstrip('=')}"):
        assert check("standard-webhooks", [secret], b"body", signed("standard-webhooks", key), NOW).ok
    assert not usable("standard-webhooks", f"whsec_{text[:1]}!{text[1:]}")


def test_of_both_sets_of_standard_names_the_own_one_counts() -> None:
    good = signed("standard-webhooks")
    svix = {name.replace("webhook", "svix"): value for name, value in good.items()}
    wrong = {name: "v1,AAAA" if name.endswith("signature") else value for name, value in good.items()}
    assert check("standard-webhooks", [STANDARD_SECRET], b"body", {**svix, **good}, NOW).ok
    assert not check("standard-webhooks", [STANDARD_SECRET], b"body", {**svix, **wrong}, NOW).ok
    only_time = {"webhook-id": "m", "webhook-timestamp": str(NOW)}  # names are not mixed, either
    assert check("standard-webhooks", [STANDARD_SECRET], b"body", {**svix, **only_time}, NOW).ok
    assert standard_headers(CaseInsensitiveMapping({})) == ("", "", "")
    assert standard_headers(CaseInsensitiveMapping({"svix-id": "m", "svix-timestamp": "1"})) == ("", "", "")


@pytest.mark.parametrize("version", ["v1a", "v2", "V1", ""])
def test_a_signature_of_another_version_says_nothing(version: str) -> None:
    headers = signed("standard-webhooks")
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", f"{version},")
    assert not check("standard-webhooks", [STANDARD_SECRET], b"body", headers, NOW).ok


@pytest.mark.parametrize(
    ("scheme", "digits", "well_formed"),
    [
        ("standard-webhooks", 14, True),
        ("standard-webhooks", 15, False),
        ("hubspot-v3", 17, True),
        ("hubspot-v3", 18, False),
    ],
)
def test_a_moment_has_no_more_digits_than_moments_have(scheme: str, digits: int, well_formed: bool) -> None:
    secret, key = secret_of(scheme, "one")
    moment = "1" * digits
    headers = signed("standard-webhooks", key, moment=int(moment))
    if scheme == "hubspot-v3":
        text = f"POST{URL}".encode() + b"body" + moment.encode()
        headers = {"X-HubSpot-Signature-v3": mac(key, text), "X-HubSpot-Request-Timestamp": moment}
    verdict = check(scheme, [secret], b"body", headers, NOW, URL)
    assert verdict.reason == ("stale_timestamp" if well_formed else "bad_signature")


@pytest.mark.parametrize(
    "sent",
    [
        URL,
        URL.replace("a:b/c", "a%3Ab%2Fc"),
        URL.replace("a:b/c", "a%3ab%2fc"),
        URL.replace("a:b/c", "a%3Ab/c"),
    ],
)
def test_hubspot_signs_the_url_with_some_marks_decoded(sent: str) -> None:
    """As it came it will do, too; what else is encoded stays so."""
    assert check("hubspot-v3", ["one"], b"body", signed("hubspot-v3", b"one"), NOW, sent).ok
    encoded = {**signed("hubspot-v3", b"one")}
    text = f"POST{sent}".encode() + b"body" + str(NOW * 1000).encode()
    encoded["X-HubSpot-Signature-v3"] = mac(b"one", text)
    assert check("hubspot-v3", ["one"], b"body", encoded, NOW, sent).ok
    assert not check("hubspot-v3", ["one"], b"body", signed("hubspot-v3", b"one"), NOW, sent.replace("%20", " ")).ok


@pytest.mark.parametrize("mark", ":/?@!$'()*,;")
@pytest.mark.parametrize("upper", [True, False])
def test_each_of_the_marks_that_hubspot_decodes(mark: str, upper: bool) -> None:
    code = f"%{ord(mark):02X}" if upper else f"%{ord(mark):02x}"
    text = f"POST{URL}{mark}".encode() + b"body" + str(NOW * 1000).encode()
    headers = {**signed("hubspot-v3", b"one"), "X-HubSpot-Signature-v3": mac(b"one", text)}
    assert check("hubspot-v3", ["one"], b"body", headers, NOW, URL + code).ok


def test_hubspot_signs_the_method() -> None:
    headers = CaseInsensitiveMapping(signed("hubspot-v3", b"one"))
    for method, ok in (("POST", True), ("PUT", False)):
        delivery = Delivery(body=b"body", headers=headers, method=method, url=URL)
        assert verify("hubspot-v3", ["one"], delivery, now=NOW).ok is ok


def test_a_url_that_is_no_text_is_refused() -> None:
    assert not check("hubspot-v3", ["one"], b"body", signed("hubspot-v3", b"one"), NOW, URL + "\ud800").ok


def test_another_header_may_carry_the_signature() -> None:
    for scheme in ("hmac-sha256-hex", "hmac-sha256-base64"):
        [value] = signed(scheme, b"one").values()
        delivery = Delivery(body=b"body", headers=CaseInsensitiveMapping({"X-Mine": value}))
        assert verify(scheme, ["one"], delivery, now=0, header="X-Mine").ok
        assert not verify(scheme, ["one"], delivery, now=0).ok
