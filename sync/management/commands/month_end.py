"""Prove a period: the orders of both sides, their totals, the difference; signed into the audit."""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.jobs import engine, month_end, run_report
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.management.moments import moment
from sync.models import Run

ROW = "{:<8} {:>8} {:>16} {:>16} {:>16} {:>16}"


class Command(BaseCommand):
    help = (
        "Read each order that the shop has of a period and what the CRM has of it, add up both by currency, and sign "
        "the result into the audit. Writes to neither side. Exit code 1: some orders do not agree, or could not be "
        "read. With --check: whether a CSV file of before is as it was made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py month_end --from 2026-10-01 --until 2026-10-31 --csv > october.csv"
        parser.add_argument("--from", dest="since", metavar="DAY", help="first day, UTC; default: of last month")
        parser.add_argument("--until", metavar="DAY", help="last day, included; default: of last month")
        add_bridge(parser)
        parser.add_argument("--check", metavar="FILE", help="whether the audit has signed this CSV file")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print one JSON object at the end")
        form.add_argument("--csv", action="store_true", help="print the orders as the CSV file that is signed")

    def handle(self, *args: Any, since: str | None, until: str | None, bridge: str | None, **given: Any) -> None:
        if given["check"]:
            self._check(Path(given["check"]), as_json=given["json"])
            return
        about = chosen_bridge(bridge)
        chosen: dict[str, Any] = {
            "since": since and moment(since, "--from").date(),
            "until": until and moment(until, "--until").date(),
            "bridge": about.slug,
        }
        try:
            month_end.options(**chosen)
        except engine.NotStarted as error:
            raise CommandError(str(error), returncode=long_runs.WRONG_USE) from error
        long_runs.configured_shop(about)
        run = long_runs.carry_out(lambda: month_end.start(actor="command", **chosen))
        report = run.kept[month_end.REPORT]
        left_out = run_report.left_out(run)
        if given["csv"]:
            for line in month_end.as_csv(run):
                self.stdout.write(line, ending="")
        elif given["json"]:
            told = {"run": run.pk, **run.options, **report, "left_out": left_out}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        else:
            self._table(run, report, left_out)
        if report["differ"] or left_out:
            first = f", the first of them {report['differ'][0]}" if report["differ"] else ""
            words = f"{report['counts']['differ']} orders do not agree{first}. /admin/sync/run/{run.pk}/month-end/"
            more = f" {len(left_out)} could not be read: {left_out[0]}" if left_out else ""
            raise CommandError(f"{words}{more}", returncode=long_runs.FAILED)

    def _table(self, run: Run, report: dict[str, Any], left_out: list[str]) -> None:
        for words in left_out:
            self.stdout.write(f"left out: {words}")
        self.stdout.write(run_report.in_short(run))
        self.stdout.write(ROW.format("", "orders", "shop", "not sent", "CRM", "difference"))
        for currency, one in report["totals"].items():
            difference = one["difference"] or "not known"
            amounts = (one["orders"], one["shop"], one["filtered"], one["crm"], difference)
            self.stdout.write(ROW.format(currency, *amounts))
        self.stdout.write(f"SHA-256 of the CSV: {report['sha256']}")

    def _check(self, path: Path, *, as_json: bool) -> None:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            words = f"{path} cannot be read: {error.strerror}. Name a CSV file that month_end made."
            raise CommandError(words, returncode=long_runs.WRONG_USE) from error
        line = month_end.signed(digest)
        if as_json:
            told = {"signed": line is not None, "sha256": digest, "staff_action": line and line.pk}
            self.stdout.write(json.dumps(told))
        if line is None:
            words = (
                f"The audit has no proof with the SHA-256 {digest}: the file was changed, or is of another database."
            )
            raise CommandError(words, returncode=long_runs.FAILED)
        if not as_json:
            self.stdout.write(f"As it was made: staff action {line.pk} of {line.created_at:%F %R} UTC, {line.result}")
