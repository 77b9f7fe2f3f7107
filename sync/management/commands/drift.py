"""Compare every link on both sides, and list what differs."""

import csv
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orders.exports import cell
from sync.jobs import drift, run_report
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.models import DriftFinding

FIELDS = ("woo_id", "crm_order_id", "kind", "shop", "crm")
ROW = "{:>12}  {:<20}  {:<16}  {:<16}  {}"


class Command(BaseCommand):
    help = (
        "Compare every link on both sides and list what differs: status, ahead (the shop is further than the CRM), "
        "missing_in_crm, missing_in_shop, deleted, content (the CRM was not told all that the shop's order says). "
        "Writes to neither side. Also runs every night. Exit code 1: "
        "something differs, or could not be compared. Sold orders of which the CRM has yet to hear are expected to be "
        "ahead: they are counted apart, not in the table, and are no failure."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py drift --csv > drift.csv"
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print one JSON object at the end")
        form.add_argument("--csv", action="store_true", help="print comma-separated values")
        add_bridge(parser)
        parser.add_argument("--restart", action="store_true", help="begin anew instead of going on where it was")

    def handle(self, *args: Any, restart: bool, **given: Any) -> None:
        bridge = chosen_bridge(given["bridge"])
        long_runs.check_sides(bridge)
        run = long_runs.carry_out(lambda: drift.start(actor="command", restart=restart, bridge=bridge.pk))
        known = DriftFinding.objects.filter(bridge=bridge, gone_at=None)
        ignored = known.filter(ignored_until__gt=timezone.now()).count()
        findings = known.exclude(ignored_until__gt=timezone.now()).order_by("woo_id")
        expected = findings.filter(expected=True).count()
        rows = findings.values(*FIELDS).iterator()
        seen, left_out = run.counts["seen"], run_report.left_out(run)
        if given["json"]:
            told = {"seen": seen, "ignored": ignored, "expected": expected}
            told |= {"findings": list(rows), "left_out": left_out}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        elif given["csv"]:
            writer = csv.DictWriter(self.stdout, FIELDS, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
        else:
            self._table(findings.filter(expected=False).values(*FIELDS).iterator())
            for words in left_out:
                self.stdout.write(f"left out: {words}")
            told_apart = [f"{expected} ahead as expected: sold, and the CRM has yet to move"] if expected else []
            told_apart += [f"{ignored} findings are ignored for now"] if ignored else []
            self.stdout.write("; ".join([f"{seen} orders compared", *told_apart]))
        wrong = []
        if differing := [f"{run.counts[kind]} {kind}" for kind in DriftFinding.Kind.values if run.counts[kind]]:
            advice = "`resync --drifted` mends what the lifecycle allows; /admin/sync/driftfinding/ has them all."
            told_by_sweep = (DriftFinding.Kind.DELETED, DriftFinding.Kind.CONTENT)
            if kinds := " and ".join(f"`{kind}`" for kind in told_by_sweep if run.counts[kind]):
                advice += f" Of {kinds} the CRM hears by `reconcile --deep`."
            wrong.append(f"They differ: {', '.join(differing)}. {advice}")
        if left_out:
            wrong.append(f"{run.counts['left_out']} could not be compared, the first of them {left_out[0]}")
        if wrong:
            raise CommandError(" ".join(wrong), returncode=long_runs.FAILED)

    def _table(self, rows: Any) -> None:
        head = True
        for row in rows:
            if head:
                self.stdout.write(ROW.format("shop order", "CRM order", "kind", "shop says", "CRM says"))
                head = False
            self.stdout.write(ROW.format(*(row[name] or "–" for name in FIELDS)))
