"""Write a copy of the database, and check one."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.management import backups
from sync.management.backups import Found, Unusable
from sync.management.long_runs import FAILED, WRONG_USE

ACTIONS = {
    "write": "write a consistent copy of the database to a file, or to a new file in a folder, while all goes on",
    "check": "say whether a copy is whole, what it holds, and what would be asked again after a restore; without a "
    "file the same of the database in use",
}


class Command(BaseCommand):
    help = "; ".join(f"{action}: {words}" for action, words in ACTIONS.items()).capitalize() + "."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py backup write /var/backups/orderbridge/"
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("place", nargs="?", metavar="FILE", help="the copy; write takes a folder, too")
        parser.add_argument("--dry-run", action="store_true", help="write: only say which file it would be")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, action: str, place: str | None, dry_run: bool, **options: Any) -> None:
        if action == "write" and place is None:
            raise CommandError("backup write: name a file or a folder for the copy.", returncode=WRONG_USE)
        try:
            if action == "write" and place is not None:
                self._write(place, dry_run, as_json=options["json"])
            else:
                self._check(Path(place) if place else None, as_json=options["json"])
        except Unusable as error:
            raise CommandError(str(error), returncode=FAILED) from error

    def _write(self, place: str, dry_run: bool, *, as_json: bool) -> None:
        target = backups.target_of(Path(place), is_folder=place.endswith("/"))
        if not dry_run:
            backups.write(target)
        size = 0 if dry_run else target.stat().st_size
        if as_json:
            self.stdout.write(json.dumps({"dry_run": dry_run, "file": str(target), "bytes": size}))
        elif dry_run:
            self.stdout.write(f"It would be written to {target}.")
        else:
            self.stdout.write(f"{target}: {size / 1e6:.1f} MB. Check it: python manage.py backup check {target}")

    def _check(self, place: Path | None, *, as_json: bool) -> None:
        if place is None:
            found = backups.look()
        else:
            with backups.opened(place):
                found = backups.look()
        if as_json:
            self.stdout.write(json.dumps({"file": place and str(place), **found.as_json()}))
        else:
            self.stdout.write("\n".join(_as_lines(found)))
        if found.wrong:
            more = f" And {len(found.wrong) - 1} more." if len(found.wrong) > 1 else ""
            raise CommandError(f"Do not use it before you know why. {found.wrong[0]}.{more}", returncode=FAILED)


def _as_lines(found: Found) -> list[str]:
    again = found.asked_again
    return [
        "Whole, and of this version.",
        "Holds " + ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in found.counts.items()),
        f"Newest event: {found.newest or 'none'}",
        f"Audit: {found.audit['found'] or 'no'} findings; checkpoint {found.audit['checkpoint'] or 'none'}",
        *(
            f"Order {one['woo_id']} ↔ {one['crm_order_id']}: shop {one['woo_status'] or '–'}, CRM "
            f"{one['crm_status'] or '–'}"
            for one in found.links
        ),
        "After a restore:",
        *(f"  {side} is asked what changed since {_since(cursor)}" for side, cursor in again["sides"].items()),
        f"  {again['open_events']} events are processed anew; both sides are read first",
        f"  {again['open_writes']} writes were under way: each is looked for before it is repeated",
        f"  {again['open_runs']} runs go on from their checkpoints",
        "  What staff did and what the audit recorded since then is not in it.",
    ]


def _since(cursor: str | None) -> str:
    return cursor or f"{settings.RECONCILE_DAYS} days ago (RECONCILE_DAYS), as it was never asked"
