"""Examine this installation, and both sides with the real keys."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.management import long_runs
from sync.management.bridges import chosen_bridge
from sync.monitoring import doctor, preparing

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


class Command(BaseCommand):
    help = (
        "Examine addresses, keys, clocks, statuses, webhooks, database, queue and schedules, and say what to do about "
        "each. Nothing is written to either side, unless --fix says so."
    )
    requires_system_checks: list[str] = []  # they are among the findings

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py doctor --json"
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--bridge", metavar="SLUG", help="this bridge only, by its short name (default: all)")
        parser.add_argument("--fix", action="store_true", help="first make in the CRM what it lacks, as fields of ours")

    def handle(self, *args: Any, **options: Any) -> None:
        if not doctor.is_configured():
            words = (
                "Nothing is configured: add a shop and a CRM in the back office, or set WOO_URL and CRM_URL with their "
                "keys in .env, as .env.example shows."
            )
            raise CommandError(words, returncode=long_runs.WRONG_USE)
        only = chosen_bridge(options["bridge"]) if options["bridge"] else None
        with long_runs.quiet():
            made = [*preparing.prepare_all(only)] if options["fix"] else []
            findings = doctor.examine(only=only)
        errors = [one for one in findings if one.level == "error"]
        if options["json"]:
            told = {"ok": not errors, "made": made, "findings": [asdict(one) for one in findings]}
            self.stdout.write(json.dumps(told))
        else:
            for words in made:
                self.stdout.write(f"fixed    {words}")
            for one in findings:
                of = f"{one.bridge}: " if one.bridge else ""
                self.stdout.write(f"{MARKS[one.level]}  {one.check:<10}  {of}{one.words}")
                if one.advice:
                    self.stdout.write(f"{'':<21}→ {one.advice}")
                if one.paste:
                    self.stdout.write(one.paste)
        if errors:
            raise CommandError(f"{len(errors)} of {len(findings)} findings need a person.", returncode=long_runs.FAILED)
