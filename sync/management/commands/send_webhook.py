"""`manage.py send_webhook`: sign a recorded delivery anew and post it to a running server."""

import argparse
import hashlib
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.monitoring.connecting import delivery_url
from sync.sandbox.signing import hmac_base64, standard_webhooks
from webhooks.configs import CrmConfig, ShopConfig
from webhooks.connections import CRM, SHOP, WOOCOMMERCE, Connection, Side

EXAMPLE = """example:
  python manage.py send_webhook tests/payloads/woocommerce/00007-order.updated-14.json
  echo '{"event_id": "evt_1", "crm_order_id": "C-1001", "status": "shipped", "version": 7}' > event.json
  python manage.py send_webhook event.json --repeat 2      the second one is answered "duplicate"
  python manage.py send_webhook event.json --connection crm-b
"""
KEPT_HEADERS = ("content-type", "user-agent")


def _first(config: ShopConfig | CrmConfig) -> str:
    if config.webhook_secrets:
        return config.webhook_secrets[0]
    name = "WOO_WEBHOOK_SECRETS" if isinstance(config, ShopConfig) else "CRM_WEBHOOK_SECRETS"
    words = f"{name} is not set: put the secret of the receiving server into .env."
    if config.slug not in (SHOP, CRM):
        words = f"The connection {config.slug} has no webhook secret. Enter it on the connection's page."
    raise CommandError(words, returncode=2)


def _read(path: Path) -> tuple[bytes, Any]:
    try:
        raw = path.read_bytes()
        return raw, json.loads(raw)
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}. Name an existing file.", returncode=2) from error
    except ValueError as error:
        raise CommandError(
            f"{path} is not JSON ({error}). Give a capture with 'headers' and 'body', or a CRM event.", returncode=2
        ) from error


def woocommerce_headers(capture: dict[str, Any], body: bytes, config: ShopConfig | CrmConfig) -> dict[str, str]:
    """The capture's own headers with a fresh signature; a ping has neither and stays as it is."""
    headers = {
        name: value
        for name, value in capture["headers"]
        if name.lower().startswith("x-wc-") or name.lower() in KEPT_HEADERS
    }
    if any(name.lower() == "x-wc-webhook-topic" for name in headers):
        headers["X-WC-Webhook-Signature"] = hmac_base64(body, _first(config))
    return headers


def crm_headers(body: bytes, url: str, config: CrmConfig) -> dict[str, str]:
    """What the signature scheme of the connection asks for."""
    secret, header = _first(config), config.signature_header
    match config.signature:
        case "standard-webhooks":
            signed = standard_webhooks(body, secret, f"msg_{uuid.uuid4().hex}")
        case "hmac-sha256-hex":
            signed = {header: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
        case "hmac-sha256-base64":
            signed = {header: hmac_base64(body, secret)}
        case "woocommerce":
            signed = {"X-WC-Webhook-Signature": hmac_base64(body, secret)}
        case "hubspot-v3":
            stamp = str(int(time.time() * 1000))
            # The receiver reckons with its public address, whatever address this delivery takes to it.
            target = urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()
            text = f"POST{settings.PUBLIC_URL}{target}".encode() + body + stamp.encode()
            signed = {
                "X-HubSpot-Signature-v3": hmac_base64(text, secret),
                "X-HubSpot-Request-Timestamp": stamp,
            }
        case other:
            raise CommandError(f"CRM_SIGNATURE is {other!r}, which this command cannot sign.", returncode=2)
    return {"Content-Type": "application/json", **signed}


class Command(BaseCommand):
    help = "Sign a recorded delivery, or a CRM event, with our own secret and post it to a running server."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EXAMPLE
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("file", type=Path, metavar="FILE", help="a capture (headers and body) or plain JSON")
        parser.add_argument("--url", help="where to (default: the address at which the connection delivers)")
        parser.add_argument("--connection", metavar="SLUG", help="who sends it (default: that of the environment)")
        parser.add_argument("--source", choices=["woocommerce", "crm"], help="default: seen from the file")
        parser.add_argument("--repeat", type=int, default=1, metavar="N", help="send it N times")

    def handle(self, *args: Any, **options: Any) -> None:
        raw, content = _read(options["file"])
        if not isinstance(content, dict | list):
            raise CommandError(f"{options['file']} holds neither an object nor an array.", returncode=2)
        capture = content if isinstance(content, dict) and {"headers", "body"} <= content.keys() else None
        body = str(capture["body"]).encode() if capture else raw.strip()
        source = options["source"] or ("woocommerce" if capture else "crm")
        connection = _connection(options["connection"], source)
        url = options["url"] or delivery_url(connection)
        statuses = [self._send(url, body, connection.config, capture) for _ in range(options["repeat"])]
        if any(status != 200 for status in statuses):
            raise CommandError("Not every delivery was answered 200.", returncode=1)

    def _send(self, url: str, body: bytes, config: ShopConfig | CrmConfig, capture: dict[str, Any] | None) -> int:
        if isinstance(config, CrmConfig):
            headers = crm_headers(body, url, config)
        else:
            headers = woocommerce_headers(capture or _as_capture(body), body, config)
        try:
            answer = requests.post(url, data=body, headers=headers, timeout=60, allow_redirects=False)
        except requests.RequestException as error:
            message = f"No answer from {url} ({type(error).__name__}): is the server running? Try `make run`, or --url."
            raise CommandError(message, returncode=1) from error
        self.stdout.write(f"{answer.status_code} {answer.text}")
        return answer.status_code


def _connection(slug: str | None, source: str) -> Connection:
    """Of the environment nobody has to have migrated anything."""
    kind = WOOCOMMERCE if source == "woocommerce" else "crm"
    if not slug:
        return Connection(slug=SHOP if kind == WOOCOMMERCE else CRM, kind=kind)
    side = Side.SHOP if kind == WOOCOMMERCE else Side.CRM
    there = [one for one in Connection.objects.filter(archived_at=None) if one.side == side]
    found = next((one for one in there if one.slug == slug), None)
    if found is None:
        names = ", ".join(one.slug for one in there)
        raise CommandError(f"No connection for {source} is called {slug!r}. There are: {names}.", returncode=2)
    return found


def _as_capture(body: bytes) -> dict[str, Any]:
    """A bare order is sent as what WooCommerce sends most."""
    headers = [
        ["Content-Type", "application/json"],
        ["X-WC-Webhook-Topic", "order.updated"],
        ["X-WC-Webhook-Resource", "order"],
        ["X-WC-Webhook-Event", "updated"],
        ["X-WC-Webhook-ID", "1"],
        ["X-WC-Webhook-Delivery-ID", uuid.uuid4().hex],
    ]
    return {"headers": headers}
