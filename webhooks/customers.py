"""A customer is found by the hash of the e-mail address: nothing is added to a row that tells who somebody is."""

import hashlib
import json
import re
from typing import Any

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
LONGEST = 254
LENGTH = 32
"""Hexadecimal digits that are kept: 128 bits."""


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
    """Capitals make no other person; what is no address has no hash."""
    plain = email.strip().casefold()
    if len(plain) > LONGEST or not ADDRESS.fullmatch(plain):
        return ""
    return hashlib.sha256(f"customer:{plain}".encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]
