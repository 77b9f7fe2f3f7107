"""Walk the shop's orders, create or find each in the CRM, and link it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.clients.bridged import shop_of
from sync.clients.snapshots import DRAFTS
from sync.jobs import backfill
from sync.jobs.halves import all_statuses
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.management.moments import WRONG_USE, period
from sync.models import Run
from webhooks.connections import Bridge


class Command(BaseCommand):
    help = (
        "Walk the shop's orders in the order of their last change; create or find each in the CRM, and link it. "
        "Orders that are linked and as the CRM has them cost nothing, so that a second run writes nothing. "
        "Stopped or killed, it goes on where it was when the same command is given again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py backfill --since 2025-01-01 --status processing completed --dry-run"
        parser.add_argument("--since", metavar="D", help="last changed from this ISO date or time on (UTC)")
        parser.add_argument(
            "--until", metavar="D", help="last changed before this ISO time, or up to the end of this date (UTC)"
        )
        parser.add_argument(
            "--status",
            metavar="S",
            nargs="+",
            action="extend",
            default=[],
            help="only these statuses of the shop; without it all but drafts, the trash and those of plugins included",
        )
        add_bridge(parser)
        parser.add_argument("--limit", metavar="N", type=int, help="look at so many orders at most")
        parser.add_argument("--per-minute", metavar="N", type=int, help="speed limit: so many orders a minute")
        parser.add_argument("--restart", action="store_true", help="begin anew instead of going on where it was")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be done; nothing is written")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, limit: int | None, dry_run: bool, restart: bool, **given: Any) -> None:
        since, until = period(given["since"], given["until"])
        limit = long_runs.at_least_one("--limit", limit)
        per_minute = long_runs.at_least_one("--per-minute", given["per_minute"])
        bridge = chosen_bridge(given["bridge"])
        long_runs.check_sides(bridge)
        chosen: dict[str, Any] = {
            "since": since,
            "until": until,
            "statuses": _known_to_the_shop(bridge, given["status"]),
            "limit": limit,
            "dry_run": dry_run,
            "bridge": bridge.pk,
        }
        if dry_run:
            run = long_runs.rehearse(Run(kind=backfill.JOB.kind, bridge=bridge, options=backfill.options(**chosen)))
        else:
            run = long_runs.carry_out(
                lambda: backfill.start(actor="command", restart=restart, per_minute=per_minute, **chosen)
            )
        long_runs.report(self.stdout, run, as_json=given["json"])


def _known_to_the_shop(bridge: Bridge, statuses: list[str]) -> list[str]:
    wanted = [status.removeprefix("wc-") for status in statuses]
    if not wanted:
        return []
    known = {*long_runs.read(bridge, lambda: all_statuses(shop_of(bridge))), *DRAFTS}
    unknown = [status for status in wanted if status not in known]
    if unknown:
        words = f"The shop has no status {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
        raise CommandError(words, returncode=WRONG_USE)
    return wanted
