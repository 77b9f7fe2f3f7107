"""Prove that no transition was changed or removed, the newest of an order included."""

import json
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.models import AuditSeal
from orders.verification import AuditFinding
from sync.jobs import verify_audit
from sync.management import long_runs
from sync.models import Run

CHECKPOINT = re.compile(r"(?<![\w:])(\d{1,18}):([0-9a-f]{16,64})(?!\w)", re.ASCII)
"""In /metrics the hash is cut."""


class Command(BaseCommand):
    help = (
        "Prove that no transition, staff action or checkpoint was changed or removed, not even the newest. Names the "
        "first bad row. Also runs every night. Always looks at everything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py verify_audit --checkpoint 12:5f0c…"
        parser.add_argument(
            "--checkpoint",
            "--seal",
            dest="checkpoint",
            metavar="LINE",
            help="a checkpoint kept elsewhere: NUMBER:HASH, or a line with it from the log (audit checkpoint), from "
            "/metrics or from this command. If it is gone, an older database was put in place of this one",
        )
        parser.add_argument("--dry-run", action="store_true", help="look only: no alarm, no record, no new checkpoint")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, **given: Any) -> None:
        noted = given["checkpoint"] and _noted(given["checkpoint"])
        run = Run(kind=verify_audit.JOB.kind, actor="command", options={"dry_run": dry_run})
        long_runs.rehearse(run)
        findings = verify_audit.findings(run)
        found = run.counts["found"]
        if noted and not AuditSeal.objects.filter(sequence=noted[0], hash__startswith=noted[1]).exists():
            words = "it is not there: the database is an older one, or another"
            findings, found = (
                [AuditFinding(what="checkpoint", words=f"{noted[0]}:{noted[1]}: {words}"), *findings],
                found + 1,
            )
        newest = AuditSeal.objects.order_by("-sequence").first()
        if given["json"]:
            told = {"verified": not found, "found": found, "findings": [vars(one) for one in findings]}
            seen = {
                name.replace(" ", "_"): run.counts.get(name, 0)
                for name in ("transitions", "staff actions", "seals", "orders")
            }
            noted_as = dict.fromkeys(("checkpoint", "seal"), str(newest or ""))  # `seal` is its name of before 0.3
            self.stdout.write(json.dumps({**told, **seen, **noted_as, "dry_run": dry_run}))
        else:
            for one in findings:
                self.stdout.write(str(one))
            self.stdout.write(verify_audit.verdict(run))
            if newest:
                self.stdout.write(f"Note this elsewhere, as proof against an older database: checkpoint {newest}")
        if found:
            more = f" And {found - 1} more." if found > 1 else ""
            raise CommandError(f"The audit is broken. {findings[0]}.{more} {verify_audit.ADVICE}", returncode=1)


def _noted(text: str) -> tuple[int, str]:
    found = CHECKPOINT.search(text)
    if found is None:
        raise CommandError(
            f"--checkpoint {text!r} names no checkpoint. Write it as the log, /metrics or this command prints it: "
            "NUMBER:HASH.",
            returncode=2,
        )
    return int(found[1]), found[2]
