"""What CRMs send that do not speak `rest`: how it is proved, read and answered, and what nobody signed."""

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.test import Client
from django.utils.datastructures import CaseInsensitiveMapping
from hypothesis import given
from hypothesis import strategies as st

from tests.deliveries import from_crm, post
from webhooks import hooks, schemas, sources
from webhooks.checks import crm_signature
from webhooks.hooks import BASIC, HOOKS, JWT, SECRET_IN_PATH, Hooks, Proof, echo, id_prefixed, pace, scheme, timed
from webhooks.models import RefusedDelivery, State, WebhookEvent
from webhooks.signatures import Delivery, Verdict
from webhooks.sources import Unreadable, reader

ERPNEXT = Path(__file__).parent.parent / "payloads" / "erpnext"
SECRET, OTHER = "a-secret-that-is-long", "another-one-as-long-as"
JWT_SECRET = "a-secret-of-an-app-of-32-characters-or-more-as-its-makers-advise"
NOW = 1700000000
ESPO = b'[{"id":"a1","status":"Shipped"}]'
"""With the two signatures below: vectors made by EspoCRM's own code."""
TIMED, IN_BODY = timed("X-Signed"), hooks.secret_in_body("token")


def mac(secret: str, text: bytes) -> str:
    return hmac.digest(secret.encode(), text, "sha256").hex()


def basic(user_and_password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(user_and_password.encode()).decode()}"}


def token(secret: str = "", before: str = "", algorithm: str = "HS256", **claims: Any) -> dict[str, str]:
    """As monday sends it: it tells who sends and to whom, and nothing of the body."""
    told = {"exp": 4_000_000_000, "aud": "https://bridge.example/webhooks/crm/", "accountId": 7, **claims}
    known = {name: value for name, value in told.items() if value is not None}
    return {"Authorization": before + jwt.encode(known, secret or JWT_SECRET, algorithm=algorithm)}


def check(proof: Proof, secrets: list[str], body: bytes = b"", headers: Any = None, *, secret: str = "") -> Verdict:
    delivery = Delivery(body=body, headers=CaseInsensitiveMapping(headers or {}), secret=secret)
    return proof.check(secrets, delivery, NOW)


# --- proofs --------------------------------------------------------------------------------------------------------

GOOD: dict[str, tuple[Proof, str, bytes, dict[str, str], str]] = {
    "timed": (TIMED, SECRET, b"{}", {"X-Signed": f"t={NOW},v1={mac(SECRET, b'%d.{}' % NOW)}"}, ""),
    "timed, keys in rotation": (
        TIMED,
        SECRET,
        b"{}",
        {"x-signed": f"v1=00, t={NOW} ,v0=1,v1={mac(SECRET, b'%d.{}' % NOW).upper()}"},
        "",
    ),
    "Espo's Signature": (
        id_prefixed("Signature", is_hex=True),
        "espo-secret",
        ESPO,
        {
            "Signature": "NjRmMGMwZmZlZToxMzY1ZTg1NDU1MzJmOWNlMTU4YmQ1ZjcyZmZjZjhlZGViZGZmZGFkNzc2NDdkY2Q1YjBhZjQy"
            "NDIwY2E3MzEw"
        },
        "",
    ),
    "Espo's X-Signature": (
        id_prefixed("X-Signature", is_hex=False),
        "espo-secret",
        ESPO,
        {"X-Signature": "NjRmMGMwZmZlZToTZehUVTL5zhWL1fcv/Pjt69/9rXdkfc1bCvQkIMpzEA=="},
        "",
    ),
    "a scheme in another header": (
        scheme("hmac-sha256-base64", "X-Frappe-Webhook-Signature"),
        SECRET,
        b"{}",
        {"X-Frappe-Webhook-Signature": base64.b64encode(hmac.digest(SECRET.encode(), b"{}", "sha256")).decode()},
        "",
    ),
    "a secret in the path": (SECRET_IN_PATH, SECRET, b"{}", {}, SECRET),
    "a secret in the body": (IN_BODY, SECRET, json.dumps({"token": SECRET}).encode(), {}, ""),
    "a secret in a form": (
        IN_BODY,
        SECRET,
        f"id=7&token={SECRET}".encode(),
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        "",
    ),
    "Basic": (BASIC, "crm:a-long-password", b"{}", basic("crm:a-long-password"), ""),
    "a JWT": (JWT, JWT_SECRET, b"{}", token(), ""),
    "a JWT of a bearer": (JWT, JWT_SECRET, b"{}", token(before="Bearer "), ""),
}
proofs = pytest.mark.parametrize("name", GOOD)


@proofs
def test_who_knows_the_secret_is_let_in_and_it_is_named_by_its_place(name: str) -> None:
    proof, secret, body, headers, path = GOOD[name]
    verdict = check(proof, ["", "quite-another-secret:x", secret], body, headers, secret=path)
    assert verdict.ok
    assert verdict.key.startswith("secret 3 (")
    assert secret not in repr(verdict)
    assert bool(verdict.hint) is (proof in (SECRET_IN_PATH, IN_BODY, BASIC, JWT)), "what signs nothing is a hint"


@proofs
def test_who_does_not_know_it_is_not(name: str) -> None:
    proof, secret, body, headers, path = GOOD[name]
    for secrets in ([], [""], [f"{secret}x"], [secret[:-1]], [secret.swapcase()]):
        verdict = check(proof, secrets, body, headers, secret=path)
        assert (verdict.ok, verdict.reason, verdict.key, verdict.hint) == (False, "bad_signature", "", "")
        assert verdict.detail
    nothing = check(proof, [secret], b"{}")
    assert (nothing.ok, bool(nothing.detail)) == (False, True)


@proofs
def test_a_signature_covers_the_body(name: str) -> None:
    proof, secret, body, headers, path = GOOD[name]
    verdict = check(proof, [secret], body + b" ", headers, secret=path)
    assert verdict.ok is bool(verdict.hint)


@pytest.mark.parametrize("off", [301, -301])
def test_a_signed_time_is_of_now(off: int) -> None:
    headers = {"X-Signed": f"t={NOW + off},v1={mac(SECRET, b'%d.{}' % (NOW + off))}"}
    assert check(TIMED, [SECRET], b"{}", headers).reason == "stale_timestamp"
    twice = {"X-Signed": f"t={NOW},{headers['X-Signed']}"}
    assert check(TIMED, [SECRET], b"{}", twice).reason == "bad_signature", "which of the two was signed?"


@pytest.mark.parametrize(
    "headers",
    [
        token(exp=NOW),
        token(exp=None),
        token(nbf=4_000_000_000),
        token(secret="another-secret-of-an-app-of-32-characters-or-more-of-it"),
        token(secret=JWT_SECRET * 2, algorithm="HS512"),
        {"Authorization": jwt.encode({"exp": 4_000_000_000}, None, algorithm="none")},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer ü.ß.\udcff"},
    ],
    ids=["over", "endless", "to come", "another's", "another way", "by nobody", "odd", "odder"],
)
def test_a_token_that_proves_nothing_lets_nobody_in(headers: dict[str, str]) -> None:
    verdict = check(JWT, [JWT_SECRET], b"{}", headers)
    assert (verdict.ok, verdict.reason) == (False, "bad_signature")


@pytest.mark.parametrize(
    ("proof", "secret", "is_good"),
    [
        (SECRET_IN_PATH, "0123456789abcdef", True),
        (SECRET_IN_PATH, "0123456789abcde", False),
        (SECRET_IN_PATH, "0123456789abcdef/", False),
        (SECRET_IN_PATH, "0123456789 abcdef", False),
        (IN_BODY, "short", False),
        (BASIC, "a-password-without-its-user", False),
        (BASIC, "u:p", False),
        (JWT, JWT_SECRET, True),
        (JWT, JWT_SECRET[:31], False),
        (TIMED, "k", True),
        (scheme("standard-webhooks"), "no base64!", False),
        (scheme("made-up"), SECRET, False),
    ],
)
def test_what_comes_in_the_open_must_not_be_guessed(proof: Proof, secret: str, is_good: bool) -> None:
    assert proof.usable(secret) is is_good
    assert not proof.usable("")
    if not is_good and proof in (SECRET_IN_PATH, IN_BODY, BASIC):
        body = json.dumps({"token": secret}).encode()
        assert not check(proof, [secret], body, basic(secret), secret=secret).ok


NAMES = ("X-Signed", "Signature", "X-Signature", "Authorization", "Content-Type", "X-CRM-Signature")


@given(st.lists(st.text(max_size=30), min_size=len(NAMES), max_size=len(NAMES)), st.binary(max_size=60), st.text())
def test_nothing_raises(values: list[str], body: bytes, path: str) -> None:
    for proof, *_ in GOOD.values():
        assert not check(
            proof, [SECRET, "u:0123456789abcdef"], body, dict(zip(NAMES, values, strict=True)), secret=path
        ).ok
    headers = CaseInsensitiveMapping(dict(zip(NAMES, values, strict=True)))
    echo(Delivery(body=body, headers=headers))
    reader(dict)(body, headers)


# --- what is read --------------------------------------------------------------------------------------------------


def odoo(event: Any) -> dict[str, Any] | None:
    """As an action of Odoo 17 sends it. The time is that of the transaction, and finer than it can be read."""
    if event["_model"] != "sale.order":
        return None
    return {"crm_order_id": str(event["_id"]), "status": event["state"], "updated_at": f"{event['write_date']}Z"}


def erpnext(event: Any) -> dict[str, Any]:
    """Its time has no zone, so it only tells two events apart."""
    name, at = event["crm_order_id"], event["updated_at"]
    return {"event_id": f"{name} {at}", "crm_order_id": name, "status": event["status"]}


def hubspot(event: Any) -> dict[str, Any] | None:
    if event["objectTypeId"] != "0-123":
        return None
    return {"event_id": str(event["eventId"]), "crm_order_id": str(event["objectId"])}


def dolibarr(event: Any) -> dict[str, Any] | None:
    if not event["triggercode"].startswith("ORDER_"):
        return None
    return {"crm_order_id": str(event["object"]["id"]), "type": event["triggercode"]}


ODOO = {"_action": "Orderbridge(#335)", "_id": 3, "_model": "sale.order", "state": "sale"}
ODOO |= {"write_date": "2026-11-27 22:37:08.275250"}


def read(parser: hooks.Parser, content: Any, kind: str = "application/json") -> list[sources.Signal]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parser(body, CaseInsensitiveMapping({"Content-Type": kind}))


def test_an_event_of_odoo_becomes_one_in_our_words() -> None:
    [signal] = read(reader(odoo), ODOO)
    assert (signal.order_ref, signal.status, str(signal.occurred_at)) == (
        "3",
        "sale",
        "2026-11-27 22:37:08.275250+00:00",
    )
    assert (signal.by_hash, signal.parked_reason) == (False, "")
    assert read(reader(odoo), ODOO)[0].dedupe_key == signal.dedupe_key, "three times for one confirm is one event"


def test_what_is_about_another_object_is_ignored_and_what_is_odd_is_parked_by_itself() -> None:
    assert read(reader(odoo), {**ODOO, "_model": "res.partner"}) == []
    ours = {"objectTypeId": "0-123", "eventId": 100, "objectId": 7}
    other = {"objectTypeId": "0-1", "eventId": 101, "objectId": 8, "email": "ann@example.test"}
    signals = read(reader(hubspot), [other, ours, {"eventId": 1}, None, {**ours, "objectId": None}])
    assert [(one.order_ref, one.index, bool(one.parked_reason)) for one in signals] == [
        ("7", 1, False),
        ("", 2, True),
        ("", 3, True),
        ("None", 4, False),
    ]
    assert b"ann@" not in b"".join(one.element for one in signals)
    assert read(reader(hubspot), [other, other]) == []


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\xff", b"null", b"7", b'"x"', {}, {"_model": "sale.order"}, [[]]]
)
def test_what_is_not_an_event_at_all_is_for_a_person(content: Any) -> None:
    [signal] = read(reader(odoo), content)
    assert signal.parked_reason
    assert signal.order_ref == ""


def test_a_parser_may_say_itself_what_is_wrong() -> None:
    def strict(event: Any) -> dict[str, Any]:
        raise Unreadable("Choose the fields _id and state in Odoo's action.")

    [signal] = read(reader(strict), ODOO)
    assert signal.parked_reason == "Choose the fields _id and state in Odoo's action."


def test_the_captured_deliveries_of_erpnext_are_told_apart_by_what_has_no_zone() -> None:
    captured = [json.loads(path.read_text()) for path in sorted(ERPNEXT.glob("*.json"))]
    signals = [read(reader(erpnext), one["raw_body"].encode())[0] for one in captured]
    assert [(one.order_ref, one.status, one.occurred_at) for one in signals] == [
        ("SAL-ORD-2026-00001", "To Deliver and Bill", None),
        ("SAL-ORD-2026-00001", "On Hold", None),
        ("SAL-ORD-2026-00003", "Draft", None),
        ("SAL-ORD-2026-00003", "Draft", None),
    ]
    assert len({one.dedupe_key for one in signals}) == 4, "the last is another order of the same name"


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", ""])
def test_json_is_read_whatever_type_is_announced(kind: str) -> None:
    """Dolibarr sends JSON as a form, and JSON may look like one: there is an equals sign in it."""
    [signal] = read(reader(dolibarr), {"triggercode": "ORDER_VALIDATE", "object": {"id": 7, "note": "a=b&c"}}, kind)
    assert (signal.order_ref, signal.topic) == ("7", "ORDER_VALIDATE")
    assert read(reader(dolibarr), {"triggercode": "BILL_CREATE", "object": {"id": 7}}, kind) == []


def test_a_form_is_read_where_it_is_announced_and_never_by_rest() -> None:
    form = b"crm_order_id=C-7&status=shipped&note=%F0%9F%9A%AA"
    [signal] = read(reader(dict), form, "application/x-www-form-urlencoded")
    assert (signal.order_ref, signal.status) == ("C-7", "shipped")
    assert read(reader(dict), form)[0].parked_reason
    assert sources.parse_crm(form, {"Content-Type": "application/x-www-form-urlencoded"}, id_is_signed=False)[
        0
    ].parked_reason


# --- the whole way -------------------------------------------------------------------------------------------------

BODY = json.dumps(ODOO).encode()


@pytest.fixture
def odoo_hooks(settings: Any, db: None) -> Iterator[Hooks]:
    brought = Hooks(schema="odoo/1", parse=reader(odoo), verify=SECRET_IN_PATH, earlier={"odoo/0": reader(hubspot)})
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS, settings.CRM_SIGNATURE = "like-odoo", [SECRET], "made-up"
    schemas.register("like-odoo", brought)
    pace.forget()
    yield brought
    del HOOKS["like-odoo"]
    for name in ("odoo/1", "odoo/0"):
        del schemas.PARSERS[name]
    pace.forget()


def told(body: bytes = BODY, secret: str = SECRET, slash: str = "/", **headers: str) -> Any:
    return post(f"/webhooks/crm/crm/{secret}{slash}", body, headers)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_hint_is_stored_in_its_schema_and_as_signed_by_nobody(odoo_hooks: Hooks, slash: str) -> None:
    answer = told(slash=slash)
    event = WebhookEvent.objects.get()
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "event": str(event.pk)})
    assert (event.schema, event.signed_by, event.order_ref, event.state) == ("odoo/1", "", "3", State.PENDING)
    assert told().json() == {"status": "duplicate", "event": str(event.pk)}


@pytest.mark.parametrize("url", ["/webhooks/crm/", "/webhooks/crm/crm/", f"/webhooks/crm/crm/{OTHER}/"])
def test_without_the_secret_nobody_is_let_in_and_it_is_kept_nowhere(
    odoo_hooks: Hooks, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(url, BODY, {})
    assert (answer.status_code, answer.json()) == (401, {"error": "bad_signature"})
    assert not WebhookEvent.objects.exists()
    refused = RefusedDelivery.objects.get()
    assert OTHER not in f"{refused.headers} {refused.detail} {caplog.text}"


def test_an_unset_secret_never_means_accept(odoo_hooks: Hooks, settings: Any) -> None:
    for unusable in ([], [""], ["short"]):
        settings.CRM_WEBHOOK_SECRETS = unusable
        assert told().status_code == 503
    [warning] = crm_signature(None)
    assert "Secret 1" in warning.msg


def test_no_secret_of_the_address_is_logged_whatever_is_answered(
    odoo_hooks: Hooks, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MAX_BODY_BYTES = 20
    assert told().status_code == 413
    settings.CRM_WEBHOOK_SECRETS = []
    settings.MAX_BODY_BYTES = 2000
    assert told().status_code == 503
    assert Client().get(f"/webhooks/crm/crm/{SECRET}/").status_code == 405
    assert post(f"/webhooks/crm/nobody/{SECRET}", BODY, {}).status_code == 404
    assert SECRET not in caplog.text


def test_what_is_about_another_object_is_answered_and_not_stored(odoo_hooks: Hooks) -> None:
    answer = told(json.dumps({**ODOO, "_model": "res.partner"}).encode())
    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert not WebhookEvent.objects.exists()


def test_a_flood_of_hints_is_bounded_and_harms_no_other_connection(
    odoo_hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BURST", 3.0)
    monkeypatch.setattr(pace, "A_SECOND", 0.0)
    answers = [told(json.dumps({**ODOO, "_id": number}).encode()) for number in range(1, 10)]
    assert [one.json()["status"] for one in answers] == ["accepted"] * 3 + ["too_many_hints"] * 6
    assert {one.status_code for one in answers} == {200}, "some CRMs fail the work of their user over anything else"
    assert WebhookEvent.objects.count() == 3
    assert RefusedDelivery.objects.filter(reason="too_many_hints").exists(), "staff see it"
    assert pace.allows("another")


def test_what_is_signed_has_no_such_limit(odoo_hooks: Hooks, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "BURST", 1.0)
    schemas.register("like-odoo", Hooks(schema="odoo/1", parse=reader(odoo), verify=TIMED))
    monkeypatch.setattr("webhooks.views.time.time", lambda: NOW)
    for number in range(1, 4):
        body = json.dumps({**ODOO, "_id": number}).encode()
        answer = told(body, secret="any-at-all", **{"X-Signed": f"t={NOW},v1={mac(SECRET, b'%d.' % NOW + body)}"})
        assert answer.json()["status"] == "accepted"
    assert all(event.signed_by for event in WebhookEvent.objects.all())


def test_a_secret_of_the_body_is_not_stored(odoo_hooks: Hooks) -> None:
    schemas.register("like-odoo", Hooks(schema="odoo/1", parse=reader(odoo), verify=IN_BODY))
    body = json.dumps([{**ODOO, "_id": 1}, {**ODOO, "_id": 2, "token": SECRET}]).encode()
    assert told(body).status_code == 401, "in an array there is no one field"
    assert told(json.dumps({**ODOO, "token": SECRET}).encode()).json()["status"] == "accepted"
    event = WebhookEvent.objects.get()
    assert SECRET.encode() not in bytes(event.body)
    assert json.loads(bytes(event.body))["token"] == "•••"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"_model": "sale.order", "_id": 3, "token": "a\\/long+secret=of a_kind"}', "application/json"),
        (b'{"_model": "sale.order", "_id": 3, "token": "a/long+secret=of \\u0061_kind"}', "application/json"),
        (b"_model=sale.order&_id=3&token=a%2Flong%2Bsecret%3Dof+a_kind", "application/x-www-form-urlencoded"),
        (b"_model=sale.order&_id=3&token=a/long%2Bsecret=of%20a%5Fkind", "application/x-www-form-urlencoded"),
    ],
)
def test_a_secret_of_the_body_is_not_stored_however_it_is_spelled(
    odoo_hooks: Hooks, settings: Any, body: bytes, kind: str
) -> None:
    parse = reader(lambda event: {"crm_order_id": str(event["_id"])})
    schemas.register("like-odoo", Hooks(schema="odoo/1", parse=parse, verify=IN_BODY))
    settings.CRM_WEBHOOK_SECRETS = ["a/long+secret=of a_kind"]
    assert told(body, **{"Content-Type": kind}).json()["status"] == "accepted"
    event = WebhookEvent.objects.get()
    assert json.loads(bytes(event.body))["token"] == "•••"
    assert (event.order_ref, b"kind" in bytes(event.body)) == ("3", False)


def test_a_secret_of_the_address_is_not_stored_where_a_proxy_repeats_the_address(
    odoo_hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BURST", 1.0)
    monkeypatch.setattr(pace, "A_SECOND", 0.0)
    said = [told(**{"X-Original-URL": f"/webhooks/crm/crm/{SECRET}/"}).json()["status"] for _ in range(2)]
    assert said == ["accepted", "too_many_hints"]
    for kept in (WebhookEvent.objects.get().headers, RefusedDelivery.objects.get().headers):
        assert SECRET not in json.dumps(kept)


def test_a_challenge_is_sent_back_before_there_is_a_secret_and_nothing_is_stored(
    odoo_hooks: Hooks, settings: Any
) -> None:
    schemas.register("like-odoo", Hooks(schema="odoo/1", parse=reader(odoo), verify=TIMED, answer=echo))
    settings.CRM_WEBHOOK_SECRETS = []
    answer = post("/webhooks/crm/", b'{"challenge": "3eZbrw1aBm2r"}', {})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aBm2r"})
    for no_challenge in ('{"challenge": 7}', '{"challenge": "x", "id": 3}', '{"challenge": ""}', "[]", "x"):
        assert post("/webhooks/crm/", no_challenge.encode(), {}).status_code == 503
    assert not WebhookEvent.objects.exists()


def test_rest_answers_no_challenge_and_keeps_its_schema(settings: Any, db: None) -> None:
    assert post("/webhooks/crm/", b'{"challenge": "3eZbrw1aBm2r"}', {}).status_code == 401
    assert from_crm({"crm_order_id": "C-1"}).status_code == 200
    assert WebhookEvent.objects.get().schema == schemas.REST


def test_what_was_stored_is_read_again_by_the_parser_of_its_schema(odoo_hooks: Hooks) -> None:
    told(json.dumps({**ODOO, "_id": 4}).encode())
    event = WebhookEvent.objects.get()
    event.order_ref = ""
    assert schemas.read_anew(event)
    assert event.order_ref == "4"
    event.schema = "odoo/0"
    assert not schemas.read_anew(event), "another parser reads it otherwise"
    event.body = json.dumps({"objectTypeId": "0-1"}).encode()
    assert not schemas.read_anew(event), "it is about nothing of ours"
