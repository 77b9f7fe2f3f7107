"""Encrypt whatever is stored encrypted with the first of CREDENTIAL_KEYS."""

import json
from collections.abc import Iterator
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models, transaction

from orders import audit
from sync.models import Recipient
from webhooks import credentials
from webhooks.approvals import ShopApproval
from webhooks.models import Connection


class Command(BaseCommand):
    help = (
        "Encrypt anew, with the first of CREDENTIAL_KEYS, what is stored: the credentials of every connection, the "
        "addresses of recipients, and second factors. Put a new key in front, as NEW,OLD, restart web and workers, and "
        "run this; then OLD can go. If one cannot be read, nothing is written."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py rotate_credentials --dry-run"
        parser.add_argument("--dry-run", action="store_true", help="only say which would be encrypted anew")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, **given: Any) -> None:
        try:
            done, current = rotate(dry_run)
        except credentials.WrongKey as error:
            raise CommandError(f"{error} {error.advice} Nothing was written.", returncode=1) from error
        if given["json"]:
            self.stdout.write(json.dumps({"dry_run": dry_run, "rotated": done, "current": current}))
            return
        would = "would be encrypted anew" if dry_run else "encrypted anew"
        self.stdout.write(f"{len(done)} {would}{': ' if done else ''}{', '.join(done)}; {len(current)} were current.")


def rotate(dry_run: bool) -> tuple[list[str], list[str]]:
    """What was encrypted anew, and the rest; a connection by its slug. Raises WrongKey, and writes nothing."""
    done: list[str] = []
    current: list[str] = []
    with transaction.atomic():
        for name, row, field in _encrypted():
            before = getattr(row, field)
            after = _anew(before)
            (current if after == before else done).append(name)
            if after != before and not dry_run:
                type(row)._default_manager.filter(pk=row.pk).update(**{field: after})
        if done and not dry_run:
            audit.record("connection: rotate credentials", actor="command", result=f"{len(done)} encrypted anew")
    return done, current


def _encrypted() -> Iterator[tuple[str, models.Model, str]]:
    """Each row with something encrypted: how it is called, and in which field that is."""
    for connection in Connection.objects.select_for_update().exclude(credentials="").order_by("pk"):
        yield connection.slug, connection, "credentials"
    for recipient in Recipient.objects.select_for_update().exclude(address="").order_by("pk"):
        yield f"recipient {recipient.name}", recipient, "address"
    for approval in ShopApproval.objects.select_for_update().exclude(credentials="").order_by("pk"):
        yield f"approval of {approval.url}", approval, "credentials"
    for factor in Authenticator.objects.select_for_update(of=("self",)).select_related("user").order_by("pk"):
        if _is_encrypted(factor.data):
            yield f"{factor.get_type_display()} of {factor.user.get_username()}", factor, "data"


def _is_encrypted(data: dict[str, Any]) -> bool:
    """A passkey is none: what is kept of it is public."""
    return not {"secret", "seed", "migrated_codes"}.isdisjoint(data)


def _anew(stored: Any) -> Any:
    """The same, encrypted with the first key; unchanged where it is. In the data of a second factor each text of such a
    name, and each of a list."""
    if isinstance(stored, dict):
        return {key: _anew(one) if _is_encrypted({key: one}) else one for key, one in stored.items()}
    if isinstance(stored, list):
        return [_anew(one) for one in stored]
    return stored if credentials.is_current(stored) else credentials.rotated(stored)
