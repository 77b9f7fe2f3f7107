"""Any bytes, headers, sizes and methods at both endpoints: the answer is the contract's, whatever comes."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

import jsonschema
import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from drf_spectacular.generators import SchemaGenerator
from hypothesis import event, given

from integration_site.wsgi import application
from tests.deliveries import CRM, WOO
from tests.fuzz.sent import WOO_SECRETS, Counting, Sent, deliveries, few, many, secrets_for
from webhooks.models import RefusalCount, RefusedDelivery, State, WebhookEvent
from webhooks.refusals import refusals

KEEP = 20
LIMIT = 1_048_576
MOST_SECONDS = 1
"""Of our own processor, so that a busy machine does not count. Nearly all take a hundredth."""

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_connection(settings: Any) -> Iterator[None]:
    """The end of a request would close the connection that the test's transaction lives on."""
    settings.WOO_WEBHOOK_SECRETS, settings.REFUSED_KEEP = list(WOO_SECRETS), KEEP
    with patch("django.http.response.signals.request_finished.send"), patch("django.db.connection.close"):
        yield


def send(sent: Sent) -> tuple[int, bytes, Counting]:
    stream = Counting(sent.body, endless=sent.framing == "endless")
    seen: list[str] = []
    secrets = list(secrets_for(sent.scheme))
    with override_settings(MAX_BODY_BYTES=sent.limit, CRM_SIGNATURE=sent.scheme, CRM_WEBHOOK_SECRETS=secrets):
        began = time.thread_time()
        parts = application(sent.environ(stream), lambda status, headers, *_: seen.append(status))  # type: ignore[arg-type]
        answer = b"".join(parts)
        assert time.thread_time() - began < MOST_SECONDS
        return int(seen[0].split()[0]), answer, stream


@cache
def described() -> Any:
    return SchemaGenerator().get_schema(public=True)["paths"]


def word(sent: Sent, status: int, answer: bytes) -> str:
    """What was answered, once it has the form that the document of the endpoints promises."""
    if status == 405:
        return ""
    content = json.loads(answer)
    answers = described()[f"{sent.url.rstrip('/')}/"]["post"]["responses"]
    jsonschema.validate(content, answers[str(status)]["content"]["application/json"]["schema"])
    return str(content.get("error") or content["status"])


@many
@given(deliveries())
def test_whatever_is_sent_gets_the_answer_of_the_contract(sent: Sent) -> None:
    before = WebhookEvent.objects.count(), sum(RefusalCount.objects.values_list("count", flat=True))
    status, answer, stream = send(sent)
    said = word(sent, status, answer)
    assert (status, said) in sent.expected()
    event(f"{status} {said}")
    assert stream.given <= sent.limit + 1
    stored = WebhookEvent.objects.count() - before[0]
    refusals.flush()
    refused = sum(RefusalCount.objects.values_list("count", flat=True)) - before[1]
    assert refused == (1 if status in (401, 413) else 0)
    assert RefusedDelivery.objects.count() <= KEEP + KEEP // 10
    if status != 200 or said == "ping":
        assert stored == 0
        return
    content = json.loads(answer)
    first = WebhookEvent.objects.get(pk=content.get("event") or content["events"][0])
    assert stored <= len(content.get("events", [0]))
    if content["status"] == "accepted" and not first.body_index and not first.duplicates:
        assert bytes(first.body) == sent.body
    assert first.state in (State.PENDING, State.PARKED)
    assert first.state == State.PENDING or first.reason


@many
@given(deliveries())
def test_whatever_was_let_in_or_refused_can_be_looked_at(sent: Sent) -> None:
    """The page of an odd event must not be the first to stumble over it."""
    status, answer, _ = send(sent)
    content = json.loads(answer or "{}") if status != 405 else {}
    keys = [content["event"]] if "event" in content else content.get("events", [])[:3]
    client = Client()
    client.force_login(User.objects.get_or_create(username="fuzz", is_staff=True, is_superuser=True)[0])
    for pk in keys:
        assert client.get(f"/admin/webhooks/webhookevent/{pk}/change/").status_code == 200
        assert client.get(f"/admin/webhooks/webhookevent/{pk}/order/").status_code == 302
    if status == 401:
        newest = RefusedDelivery.objects.latest("pk")
        assert client.get(f"/admin/webhooks/refuseddelivery/{newest.pk}/change/").status_code == 200


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "é"]
)
def test_nothing_but_a_post_is_read(method: str) -> None:
    @few
    @given(deliveries(method))
    def each(sent: Sent) -> None:
        status, _, stream = send(sent)
        assert (status, stream.given) == (405, 0)

    each()
    assert not WebhookEvent.objects.exists() and not RefusedDelivery.objects.exists()


def whole(url: str, *, secret: int | None, body: bytes = b"", framing: str = "exact") -> Sent:
    scheme = "woocommerce" if url == WOO else "hmac-sha256-hex"
    return Sent(
        url=url,
        method="POST",
        query="",
        scheme=scheme,
        limit=LIMIT,
        body=body,
        framing=framing,
        content_type=None,
        secret=secret,
        age=0,
    )


def test_a_body_without_end_takes_no_more_memory_than_the_limit() -> None:
    endless = whole(CRM, secret=None, framing="endless")
    send(endless)
    tracemalloc.start()
    try:
        status, _, stream = send(endless)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, stream.given) == (413, LIMIT + 1)
    assert most < 1.5 * LIMIT


def filled(start: bytes, part: bytes, end: bytes = b"") -> bytes:
    """As large as it may be."""
    return start + part * ((LIMIT - len(start) - len(end)) // len(part)) + end


LARGE = {
    "opened and never closed": filled(b"", b"["),
    "objects in objects": filled(b"", b'{"id":'),
    "one number": filled(b'{"id":', b"9", b"}"),
    "one text of escapes": filled(b'{"id":14,"status":"', b"\\u00e9", b'"}'),
    "no end of fields": filled(b'{"id":14,"meta_data":[', b"{},", b"0]}"),
    "spaces": filled(b'{"id":14}', b" "),
    "no text": filled(b"", b"\xff"),
    "a hundred large events": b"[%s]"
    % b",".join(b'{"crm_order_id":"C-%d","a":"%s"}' % (n, b"x" * 10_000) for n in range(100)),
}


@pytest.mark.cases_alike
@pytest.mark.parametrize("secret", [None, 0], ids=["unsigned", "signed"])
@pytest.mark.parametrize("url", [WOO, CRM])
@pytest.mark.parametrize("name", LARGE)
def test_a_body_as_large_as_it_may_be_costs_less_than_a_second(name: str, url: str, secret: int | None) -> None:
    status, _, _ = send(whole(url, secret=secret, body=LARGE[name]))
    assert status == (401 if secret is None else 200)
