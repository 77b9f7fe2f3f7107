"""Prove that no transition was changed or removed, the newest of an order included."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.models import AuditSeal
from orders.verification import Finding
from sync import verify_audit
from sync.management import long_runs
from sync.models import Run


class Command(BaseCommand):
    help = (
        "Prove that no transition, staff action or seal was changed or removed, the newest ones included; name the "
        "first bad row. Also runs every night. Always looks at everything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py verify_audit --seal 12:5f0c…"
        parser.add_argument(
            "--seal",
            metavar="NUMBER:HASH",
            help="a seal that you noted elsewhere, as this command or the log said it: is it still there?",
        )
        parser.add_argument("--dry-run", action="store_true", help="look only: no alarm, no record, no new seal")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, **given: Any) -> None:
        noted = given["seal"] and _noted(given["seal"])
        run = Run(kind=Run.Kind.VERIFY, actor="command", options=verify_audit.options(dry_run=dry_run))
        long_runs.rehearse(verify_audit.job, run)
        findings = verify_audit.findings(run)
        found = run.counts["found"]
        if noted and not AuditSeal.objects.filter(sequence=noted[0], hash=noted[1]).exists():
            words = "it is not there: the database is an older one, or another"
            findings, found = [Finding(what="seal", words=f"{given['seal']}: {words}"), *findings], found + 1
        newest = AuditSeal.objects.order_by("-sequence").first()
        if given["json"]:
            told = {"verified": not found, "found": found, "findings": [vars(one) for one in findings]}
            seen = {
                name.replace(" ", "_"): run.counts.get(name, 0) for name in ("transitions", "staff actions", "seals")
            }
            self.stdout.write(json.dumps({**told, **seen, "seal": str(newest or ""), "dry_run": dry_run}))
        else:
            for one in findings:
                self.stdout.write(str(one))
            self.stdout.write(verify_audit.verdict(run))
            if newest:
                self.stdout.write(f"Note this elsewhere, as proof against an older database: seal {newest}")
        if found:
            more = f" And {found - 1} more." if found > 1 else ""
            raise CommandError(f"The audit is broken. {findings[0]}.{more} {verify_audit.ADVICE}", returncode=1)


def _noted(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and digest):
        raise CommandError(
            f"--seal {text!r} is no seal. Write it as this command printed it: NUMBER:HASH.", returncode=2
        )
    return int(number), digest
