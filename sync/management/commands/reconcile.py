"""Ask both sides what changed since the last time, and feed what was missed into the inbox."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sync import reconciliation
from sync.management import long_runs
from sync.models import Run


class Command(BaseCommand):
    help = (
        "Ask the shop and the CRM what changed since the last time, and feed what no delivery told us of into the "
        "inbox. Also runs on a schedule, every RECONCILE_MINUTES."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py reconcile --deep --dry-run"
        parser.add_argument(
            "--deep",
            action="store_true",
            help="the last RECONCILE_DAYS again, and orders that were deleted for good; as every night",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what was missed; nothing is written")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, deep: bool, dry_run: bool, **given: Any) -> None:
        long_runs.check_sides()
        if dry_run:
            run = Run(kind=Run.Kind.RECONCILE, options=reconciliation.options(deep=deep, dry_run=True))
            long_runs.rehearse(reconciliation.job, run)
        else:
            run = long_runs.begin(lambda: reconciliation.start(deep=deep, actor="command"))
            long_runs.carry_out(run)
        counts = {name: run.counts.get(name, 0) for name in reconciliation.COUNTS}
        found = run.checkpoint.get("found", [])
        if given["json"]:
            named = [{"side": side, "order": order, "topic": topic} for side, order, topic in found]
            self.stdout.write(json.dumps({"dry_run": dry_run, "deep": deep, **counts, "found": named}))
            return
        for side, order, topic in found:
            self.stdout.write(f"missed: {topic} of order {order} ({side})")
        self.stdout.write(
            f"{counts['seen']} orders seen; missed: {counts['shop']} of the shop, {counts['crm']} of the CRM"
        )
