"""Bring the shop to the CRM's state, by the same path as an event."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.jobs import resync
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.management.moments import WRONG_USE, moment
from sync.models import Run


class Command(BaseCommand):
    help = (
        "Read the CRM's state of linked orders and bring the shop to it, by the same path as an event: what the "
        "lifecycle does not allow is refused here, too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py resync 1042 C-1043 --dry-run"
        parser.add_argument("orders", metavar="ORDER", nargs="*", help="orders by their id in the shop or in the CRM")
        parser.add_argument(
            "--since", metavar="D", help="orders that the CRM changed from this ISO date or time on (UTC)"
        )
        parser.add_argument("--all", action="store_true", help="all linked orders")
        parser.add_argument(
            "--drifted",
            action="store_true",
            help="orders that the last run of drift found to differ; not those where the shop is ahead, "
            "which are left alone in any case",
        )
        add_bridge(parser)
        parser.add_argument("--per-minute", metavar="N", type=int, help="speed limit: so many orders a minute")
        parser.add_argument("--restart", action="store_true", help="begin anew instead of going on where it was")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be done; nothing is written")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, orders: list[str], dry_run: bool, restart: bool, **given: Any) -> None:
        if sum(map(bool, (orders, given["since"], given["all"], given["drifted"]))) != 1:
            raise CommandError("Say which, in one way: ORDER …, --since, --all or --drifted.", returncode=WRONG_USE)
        per_minute = long_runs.at_least_one("--per-minute", given["per_minute"])
        bridge = chosen_bridge(given["bridge"])
        chosen: dict[str, Any] = {
            "orders": orders,
            "since": moment(given["since"], "--since") if given["since"] else None,
            "everything": given["all"],
            "drifted": given["drifted"],
            "dry_run": dry_run,
            "bridge": bridge.pk,
        }
        try:
            run = Run(kind=resync.JOB.kind, bridge=bridge, options=resync.options(**chosen))
        except resync.UnknownOrders as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        long_runs.check_sides(bridge)
        if dry_run:
            long_runs.rehearse(run)
        else:
            run = long_runs.carry_out(
                lambda: resync.start(actor="command", restart=restart, per_minute=per_minute, **chosen)
            )
        long_runs.report(self.stdout, run, as_json=given["json"])
