"""Signed with a key that is not in the database: who can write there cannot make a signature."""

import hashlib
import hmac
import json

from django.conf import settings


def sign(*said: object) -> str:
    """HMAC-SHA256 with the first key."""
    return _mac(_keys()[0], said)


def is_signed(mac: str, *said: object) -> bool:
    """With any of the keys, so that a key can be changed."""
    return any(hmac.compare_digest(_mac(key, said), mac) for key in _keys())


def _keys() -> list[str]:
    return settings.AUDIT_KEYS or [settings.SECRET_KEY]


def _mac(key: str, said: tuple[object, ...]) -> str:
    return hmac.new(f"orderbridge.audit:{key}".encode(), json.dumps(said).encode(), hashlib.sha256).hexdigest()
