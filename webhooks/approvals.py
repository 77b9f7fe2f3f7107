"""Keys that a shop hands over after its manager approved it, on a page of WooCommerce's own (`/wc-auth/v1/authorize`).

The shop posts them to us unsigned, and does not say which shop it is. So the word that it has to repeat is made for one
person, one address and a quarter of an hour, stored hashed, and taken once.
"""

import hashlib
import logging
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db import models, transaction

from webhooks import clock, credentials
from webhooks.connections import Connection

log = logging.getLogger("orderbridge.connections")

GOOD_FOR = timedelta(minutes=15)
SCOPE = "read_write"
LONGEST_KEY = 200
CALLBACK = "/webhooks/woocommerce-keys/"


class Refused(Exception):
    """The keys are not taken; the shop deletes them then. The message goes into its log."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ShopApproval(models.Model):
    """One approval that a person asked a shop for, and the keys that came of it until they are tried."""

    token_hash = models.CharField(max_length=64, unique=True)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, null=True, related_name="+", help_text="That gets new keys; empty: none"
    )
    name = models.CharField(max_length=80)
    url = models.CharField(max_length=500)
    expires_at = models.DateTimeField(db_index=True)
    answered_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)
    credentials = models.TextField(blank=True, help_text="Encrypted")

    def __str__(self) -> str:
        return f"approval of {self.url}"

    @property
    def is_over(self) -> bool:
        return self.expires_at <= clock.now()


def ask(user: Any, *, name: str, url: str, connection: Connection | None = None) -> tuple[ShopApproval, str]:
    """The row, and the token: it is kept by nobody but the shop and the page's link."""
    forget_expired()
    token = secrets.token_urlsafe(32)
    row = ShopApproval.objects.create(
        token_hash=_hash(token),
        asked_by=user,
        connection=connection,
        name=name,
        url=url,
        expires_at=clock.now() + GOOD_FOR,
    )
    return row, token


def forget_expired() -> None:
    """With the keys that nobody came back for."""
    ShopApproval.objects.filter(expires_at__lte=clock.now()).delete()


def page_of_the_shop(approval: ShopApproval, token: str, return_url: str) -> str:
    """Where the shop's manager approves."""
    asked = {
        "app_name": "Orderbridge",
        "scope": SCOPE,
        "user_id": token,
        "return_url": return_url,
        "callback_url": f"{settings.PUBLIC_URL}{CALLBACK}",
    }
    return f"{approval.url}/wc-auth/v1/authorize?{urlencode(asked)}"


def take(told: Any) -> None:
    """What the shop posted. Raises Refused. The shop is not asked anything here: it may have one PHP process."""
    values = told if isinstance(told, dict) else {}
    names = ("user_id", "consumer_key", "consumer_secret", "key_permissions")
    token, key, secret, permissions = (values.get(name) for name in names)
    if not all(isinstance(one, str) and 0 < len(one) <= LONGEST_KEY for one in (token, key, secret, permissions)):
        raise Refused(400, "These are no keys of WooCommerce.")
    with transaction.atomic():
        approval = (
            ShopApproval.objects.select_for_update()
            .filter(token_hash=_hash(str(token)), answered_at=None, expires_at__gt=clock.now())
            .first()
        )
        if approval is None:
            raise Refused(403, "Nobody here asked for these keys, or too long ago, or they were handed over before.")
        approval.answered_at = clock.now()
        if permissions == SCOPE:
            approval.credentials = credentials.encrypt({"consumer_key": str(key), "consumer_secret": str(secret)})
        else:
            approval.problem = f"The shop gave a key with the permission {permissions!r}, and not Read/Write."[:200]
        approval.save()
    log.info("keys of a shop", extra={"url": approval.url, "answer": approval.problem or "taken"})
    if approval.problem:
        raise Refused(422, approval.problem)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
