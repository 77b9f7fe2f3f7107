"""What an answer says to a person, and what a backend may say of it before its status is believed."""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from sync.clients.errors import SideError
from sync.clients.redaction import clean
from webhooks.masking import is_error_code, quoted

KEPT_CHARACTERS = 4000
"""Characters of a body that are kept with a call."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer before anybody has judged it. `data`: None, where the body is no JSON."""

    method: str
    path: str
    status: int
    data: Any
    text: str
    headers: Mapping[str, str]


Judge = Callable[[Reply], SideError | None]
"""What a backend knows of its CRM's answers that the status does not tell; None: the status tells."""


def no_opinion(reply: Reply) -> SideError | None:
    return None


TAG = re.compile(r"<[^>]*>")


def text_of(body: bytes) -> str:
    """What a person would read of a page."""
    text = clean(body.removeprefix(codecs.BOM_UTF8)[:KEPT_CHARACTERS].decode("utf-8", "replace"))
    return " ".join(TAG.sub(" ", text).split())


def is_page(response: requests.Response, body: bytes) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html") or body.lstrip()[:1] == b"<"


def said(data: Any) -> str:
    """What an error answer says, in the words of WooCommerce (`code`, `message`) or of others (`error`).

    Codes are for everybody; words may tell of a customer, and are marked as the side's.
    """
    if not isinstance(data, dict):
        return quoted(clean(str(data))[:200])
    parts = [data[name] for name in ("code", "error", "message") if data.get(name)]
    codes = ": ".join(dict.fromkeys(str(part) for part in parts if is_error_code(part)))
    words = clean(": ".join(str(part) for part in parts if not is_error_code(part)))
    return " ".join(filter(None, [codes, quoted(words[:400])]))


def code(data: Any) -> str:
    code = data.get("code") if isinstance(data, dict) else ""
    return code if isinstance(code, str) else ""
