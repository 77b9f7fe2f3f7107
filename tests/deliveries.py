"""Deliveries for tests: recorded ones of a real WooCommerce, and signed ones of a CRM."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client

PAYLOADS = Path(__file__).parent / "payloads" / "woocommerce"
WOO_SECRET = "lab-webhook-secret"
CRM_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WOO, CRM = "/webhooks/woocommerce/", "/webhooks/crm/"
OF_THE_CONNECTION = ("Host", "Connection", "Content-Length")


def recorded(number: str) -> tuple[bytes, dict[str, str]]:
    """The exact body and the headers of a capture, by the number that its file begins with."""
    content = json.loads(next(PAYLOADS.glob(f"{number}-*.json")).read_text())
    headers = {name: value for name, value in content["headers"] if name not in OF_THE_CONNECTION}
    return content["body"].encode(), headers


def signed_by_shop(body: bytes, topic: str = "order.updated", secret: str = WOO_SECRET) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-ID": "4",
        "X-WC-Webhook-Signature": base64.b64encode(mac).decode(),
    }


def signed_by_crm(body: bytes, name: str = "msg_1", moment: float | None = None) -> dict[str, str]:
    stamp = f"{time.time() if moment is None else moment:.0f}"
    key = base64.b64decode(CRM_SECRET.removeprefix("whsec_"))
    mac = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def post(url: str, body: bytes, headers: dict[str, str]) -> Any:
    kind = {name.lower(): value for name, value in headers.items()}.get("content-type", "application/json")
    rest = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return Client().post(url, body, content_type=kind, headers=rest)


def from_shop(body: bytes, topic: str = "order.updated") -> Any:
    return post(WOO, body, signed_by_shop(body, topic))


def from_crm(content: Any, name: str = "msg_1") -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return post(CRM, body, signed_by_crm(body, name))


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """All that are sent to the database: Django's own count leaves out those of the driver's cursor."""
    sent: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        sent.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield sent
