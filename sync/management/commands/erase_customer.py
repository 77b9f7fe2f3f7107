"""Take one customer's personal data out of what is kept here."""

import json
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from tqdm import tqdm

from sync.jobs.erasure import NOT_ERASED, Customer, erase, find, sweep
from sync.management.bridges import chosen_bridge
from sync.management.long_runs import FAILED, WRONG_USE, quiet

OF_ONE = "What hangs on no bridge, or on another than {}. Leave out --bridge for that."
REMAINS = (
    "The audit is append-only, and ids name orders and processes: note them in your record of processing. An account "
    "of staff is removed in the back office."
)


class Command(BaseCommand):
    help = (
        "Find the orders of an e-mail address, and empty the bodies, headers and calls of all their events. Rows, "
        "outcomes, hashes and the audit stay. Says what it cannot erase."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: echo ann@example.org | python manage.py erase_customer - --reason 'asked on 3 March'"
        parser.add_argument(
            "email",
            metavar="EMAIL",
            help="the address; - reads it from the input, and keeps it out of the shell's history",
        )
        parser.add_argument(
            "--bridge", metavar="SLUG", help="only of this bridge, as the person asked one shop (default: of all)"
        )
        parser.add_argument("--reason", default="", help="kept in the audit, for ever: write no personal data into it")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, email: str, bridge: str | None, reason: str, dry_run: bool, **given: Any) -> None:
        customer = _customer(sys.stdin.readline() if email == "-" else email)
        of = chosen_bridge(bridge) if bridge else None
        with tqdm(desc="Looking", unit=" rows", disable=None) as bar, quiet():
            found = find(customer, bar.update, of.pk if of else None)
            if dry_run:
                sweep(customer, found, erasing=False)
            else:
                erase(customer, found, actor="command", reason=reason)
        if given["json"]:
            told = {"dry_run": dry_run, "orders": found.orders, "events": len(found.events), "calls": len(found.calls)}
            told |= {"waiting": found.waiting, "kept_in_audit": found.kept, "not_erased": NOT_ERASED}
            told |= {"elsewhere": found.elsewhere, "remains": found.remains}
            self.stdout.write(json.dumps(told))
        else:
            what = "would be emptied" if dry_run else "emptied, with their calls"
            orders = ", ".join(map(str, found.orders)) or "none"
            self.stdout.write(f"Orders: {orders}. {len(found.events)} events {what}.")
            for place, rows in found.elsewhere.items():
                self.stdout.write(f"{place}: the address {'would be' if dry_run else 'was'} taken out of {rows} rows.")
            for place, rows in found.remains.items():
                self.stdout.write(f"{place}: the address stays in {rows} rows.")
            self.stdout.write("Not erased by this:")
            for one in (*NOT_ERASED, *([OF_ONE.format(of)] if of else [])):
                self.stdout.write(f"- {one}")
        trouble = []
        if found.remains:
            places = ", ".join(f"{rows} in {place}" for place, rows in found.remains.items())
            trouble.append(f"The address stays in rows that no command may change: {places}. {REMAINS}")
        if found.waiting:
            names = ", ".join(map(str, found.waiting[:20]))
            trouble.append(
                f"{len(found.waiting)} events still wait for a worker and were left alone: {names}. Run this again "
                "when they are finished."
            )
        if trouble:
            raise CommandError("\n".join(trouble), returncode=FAILED)


def _customer(text: str) -> Customer:
    try:
        validate_email(text.strip())
    except ValidationError as error:
        raise CommandError("That is no e-mail address. Write it as ann@example.org.", returncode=WRONG_USE) from error
    return Customer(text.strip())
