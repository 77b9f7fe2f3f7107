"""Ask both sides what changed since the last time, and feed what was missed into the inbox."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.jobs import reconciliation, run_report
from sync.jobs.halves import COUNTS
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.models import Run


class Command(BaseCommand):
    help = (
        "Ask the shop and the CRM what changed since the last time, and feed what no delivery told us of into the "
        "inbox. Also runs on a schedule, every RECONCILE_MINUTES. Exit code 1: a side could not be asked, or could "
        "not show an order, which is named."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py reconcile --deep --dry-run"
        parser.add_argument(
            "--deep",
            action="store_true",
            help="the last RECONCILE_DAYS again, and orders that were deleted for good; as every night",
        )
        parser.add_argument(
            "--confirm-deleted",
            action="store_true",
            help="deep, and the CRM is told of all orders that are gone from the shop, however many: you say they are",
        )
        add_bridge(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say what was missed; nothing is written")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, deep: bool, dry_run: bool, confirm_deleted: bool, **given: Any) -> None:
        bridge = chosen_bridge(given["bridge"])
        chosen: dict[str, Any] = {"deep": deep or confirm_deleted, "confirm_deleted": confirm_deleted}
        chosen["bridge"] = bridge.pk
        long_runs.check_sides(bridge, wait=False)  # if the shop is away, the CRM can be asked all the same
        if dry_run:
            options = reconciliation.options(**chosen, dry_run=True)
            run = long_runs.rehearse(Run(kind=reconciliation.JOB.kind, bridge=bridge, options=options))
        else:
            run = long_runs.carry_out(lambda: reconciliation.start(**chosen, actor="command"))
        counts = {name: run.counts.get(name, 0) for name in COUNTS}
        found, left_out = run_report.found(run), run_report.left_out(run)
        if given["json"]:
            named = [{"side": side, "order": order, "topic": topic} for side, order, topic in found]
            told = {"dry_run": dry_run, "deep": chosen["deep"], **counts, "found": named, "left_out": left_out}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        else:
            for side, order, topic in found:
                self.stdout.write(f"missed: {topic} of order {order} ({side})")
            for words in left_out:
                self.stdout.write(f"left out: {words}")
            self.stdout.write(
                f"{counts['seen']} orders seen; missed: {counts['shop']} of the shop, {counts['crm']} of the CRM"
            )
        if left_out:
            words = f"{run.counts['left_out']} left out, the first of them {left_out[0]}"
            raise CommandError(words, returncode=long_runs.FAILED)
