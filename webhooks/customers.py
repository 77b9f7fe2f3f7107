"""A customer is found by a keyed hash of the e-mail address: nothing is added to a row that tells who somebody is."""

import hashlib
import hmac
import json
import re
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
LONGEST = 254
LENGTH = 32
KEYED = "k"
"""The first letter of a hash that was made with a key. The others are hexadecimal digits: 124 bits."""
PAGE = 500


def customer_of(order: Any) -> str:
    """Of an order as WooCommerce writes it; empty if it has no address."""
    billing = order.get("billing") if isinstance(order, dict) else None
    email = billing.get("email") if isinstance(billing, dict) else None
    return hashed(email) if isinstance(email, str) else ""


def customer_in(body: bytes) -> str:
    """The same of a body as it was delivered, whatever it is."""
    try:
        return customer_of(json.loads(body))
    except (ValueError, RecursionError):
        return ""


def hashed(email: str) -> str:
    """Capitals make no other person; what is no address has no hash. With the first key."""
    return next(iter(hashes(email)), "")


def hashes(email: str) -> list[str]:
    """What may stand in the rows of this address: a key may have been changed since, or an older version be at work."""
    plain = email.strip().casefold()
    if len(plain) > LONGEST or not ADDRESS.fullmatch(plain):
        return []
    bare = _bare(f"customer:{plain}")
    return [*(_keyed(bare, key) for key in _keys()), bare]


def hashes_of(contact: str) -> list[str]:
    """The same of whatever a customer is found by, as a phone or VAT number, however it is spaced. The first is for new
    rows."""
    word = "".join(filter(str.isalnum, contact.casefold()))
    kind = "phone" if word.isdecimal() else "name"
    return hashes(contact) or [_keyed(_bare(f"{kind}:{word}"), key) for key in _keys() if word]


def _bare(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def rekey(events: QuerySet[Any]) -> int:
    """The hashes of versions before this one had no key: whoever had a list of addresses and the table could tell whose
    events are whose. Done without the addresses, in short transactions; done again, it goes on."""
    changed = 0
    bare = events.filter(customer__lt=KEYED).order_by("customer").values_list("customer", flat=True).distinct()
    while page := list(bare[:PAGE]):
        with transaction.atomic():
            changed += sum(events.filter(customer=one).update(customer=_keyed(one, _keys()[0])) for one in page)
    return changed


def _keyed(bare: str, key: str) -> str:
    mac = hmac.new(f"orderbridge.customer:{key}".encode(), bare.encode(), hashlib.sha256)
    return f"{KEYED}{mac.hexdigest()}"[:LENGTH]


def _keys() -> list[str]:
    return settings.AUDIT_KEYS or [settings.SECRET_KEY]
