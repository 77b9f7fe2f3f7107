"""Apply RETENTION_DAYS: empty the bodies and headers of what is older."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sync.jobs import pruning
from sync.management import long_runs
from sync.models import Run


class Command(BaseCommand):
    help = (
        "Empty the bodies and headers of events, and what was sent and answered in calls, that are older than "
        "RETENTION_DAYS. Rows, outcomes, hashes and transitions stay, and so does what still waits. Also runs at night."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py prune --dry-run"
        parser.add_argument("--dry-run", action="store_true", help="only count what would be emptied")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, **given: Any) -> None:
        if dry_run:
            run = long_runs.rehearse(Run(kind=pruning.JOB.kind, options={"dry_run": True}))
        else:
            run = long_runs.carry_out(lambda: pruning.start(actor="command"))
        counts = {name: run.counts.get(name, 0) for name in pruning.COUNTS}
        waiting = run.checkpoint["waiting"]
        if given["json"]:
            told = {"dry_run": dry_run, "days": settings.RETENTION_DAYS, **counts, "waiting_since": waiting}
            self.stdout.write(json.dumps(told))
            return
        would = "would be " if dry_run else ""
        emptied = f"{counts['events']} events, {counts['calls']} calls, {counts['refusals']} refused deliveries"
        gone = ", ".join(f"{counts[name]} {name}" for name in ("runs", "tasks", "logins", "sessions"))
        self.stdout.write(f"{would}emptied: {emptied}; {would}removed: {gone}".capitalize())
        if waiting:
            self.stdout.write(f"Left alone, as they still wait: events, the oldest of {waiting}")
