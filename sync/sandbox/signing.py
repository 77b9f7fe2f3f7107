"""How a shop and a CRM sign what they send."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any


def php_json(payload: Any) -> bytes:
    r"""JSON as PHP's json_encode writes it: compact, `\/` for a slash, `\uXXXX` beyond ASCII."""
    return json.dumps(payload, separators=(",", ":")).replace("/", "\\/").encode()


def hmac_base64(body: bytes, secret: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def standard_webhooks(body: bytes, secret: str, webhook_id: str, timestamp: int | None = None) -> dict[str, str]:
    """The three headers of the Standard Webhooks scheme."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    digest = hmac.digest(key, f"{webhook_id}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
