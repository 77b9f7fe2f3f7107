"""Whose database this is, and the word that it is ours now."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.clients import installation
from sync.management.long_runs import FAILED
from sync.management.moments import WRONG_USE


class Command(BaseCommand):
    help = (
        "Say whether the database belongs to the installation at PUBLIC_URL. On a copy of it nothing is read or "
        "written. --confirm says that this installation is the one now, as after a move to another address."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py installation --confirm --reason 'moved to the new host'"
        parser.add_argument("--confirm", action="store_true", help="the database belongs to PUBLIC_URL from now on")
        parser.add_argument("--reason", default="", help="why; stored in the audit")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, reason: str, dry_run: bool, **options: Any) -> None:
        if options["confirm"] and not reason.strip():
            raise CommandError("Say why with --reason: it is stored in the audit.", returncode=WRONG_USE)
        words = installation.displaced()
        confirmed = bool(words and options["confirm"])
        if confirmed and not dry_run:
            installation.confirm(actor="command", reason=reason.strip())
        if options["json"]:
            confirmed_now = confirmed and not dry_run
            paused = "" if confirmed_now else words
            said = {"public_url": settings.PUBLIC_URL, "paused": paused, "confirmed": confirmed_now}
            self.stdout.write(json.dumps(said))
        elif confirmed:
            would = "would belong" if dry_run else "belongs"
            self.stdout.write(f"The database {would} to the installation at {settings.PUBLIC_URL} now.")
        elif not words:
            self.stdout.write(f"The database belongs to the installation at {settings.PUBLIC_URL}.")
        if words and not confirmed:
            raise CommandError(f"{words} {installation.ADVICE}", returncode=FAILED)
