"""Apply RETENTION_DAYS and ROWS_RETENTION_DAYS: empty bodies and headers, remove attempts and calls."""

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
        "RETENTION_DAYS; remove attempts and calls that are older than ROWS_RETENTION_DAYS, and keep their hourly "
        "figures. Events, outcomes, hashes and transitions stay, and so does what still waits. Also runs at night."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py prune --dry-run"
        parser.add_argument("--dry-run", action="store_true", help="only count what would be emptied and removed")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, **given: Any) -> None:
        if dry_run:
            run = long_runs.rehearse(Run(kind=pruning.JOB.kind, options={"dry_run": True}))
        else:
            run = long_runs.carry_out(lambda: pruning.start(actor="command"))
        counts = {name: run.counts.get(name, 0) for name in pruning.COUNTS}
        waiting = run.checkpoint["waiting"]
        if given["json"]:
            days = {"days": settings.RETENTION_DAYS, "rows_days": settings.ROWS_RETENTION_DAYS}
            self.stdout.write(json.dumps({"dry_run": dry_run, **days, **counts, "waiting_since": waiting}))
            return
        would = "would be " if dry_run else ""
        emptied = f"{counts['events']} events, {counts['calls']} calls, {counts['refusals']} refused deliveries"
        gone = ", ".join(f"{counts[name]} {name}" for name in ("attempts", "runs", "tasks", "logins", "sessions"))
        self.stdout.write(f"{would}emptied: {emptied}; {would}removed: {gone}".capitalize())
        if waiting:
            self.stdout.write(f"Left alone, as they still wait: events, the oldest of {waiting}")
