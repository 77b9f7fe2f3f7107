"""Encrypt the stored credentials with the first of CREDENTIAL_KEYS."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orders import audit
from webhooks import credentials
from webhooks.models import Connection


class Command(BaseCommand):
    help = (
        "Encrypt the stored credentials of every connection anew, with the first of CREDENTIAL_KEYS. Put a new key in "
        "front, as NEW,OLD, restart web and workers, and run this; then OLD can go. If one cannot be read, nothing is "
        "written."
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
    """The slugs of those that were encrypted anew, and of the others. Raises WrongKey, and writes nothing."""
    done: list[str] = []
    current: list[str] = []
    with transaction.atomic():
        for one in Connection.objects.select_for_update().exclude(credentials="").order_by("pk"):
            if credentials.is_current(one.credentials):
                current.append(one.slug)
                continue
            one.credentials = credentials.rotated(one.credentials)
            done.append(one.slug)
            if not dry_run:
                one.save(update_fields=["credentials"])
        if done and not dry_run:
            audit.record("connection: rotate credentials", actor="command", result=f"{len(done)} encrypted anew")
    return done, current
