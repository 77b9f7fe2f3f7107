"""Send what recipients are to be told now: alarms, their ends, the daily summary."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.management.moments import WRONG_USE
from sync.models import Recipient
from sync.notifications import outbox, recipients, rounds
from sync.notifications.rounds import Busy
from webhooks import clock

FAILED = 1


class Command(BaseCommand):
    help = (
        "Send what recipients are to be told now: alarms that were raised or cleared, and the daily summary. The "
        "workers start this once a minute if there is something to send. Quiet hours and limits hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py notify --test"
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", action="store_true", help="only say who would get what")
        what.add_argument("--test", action="store_true", help="send a test message to every recipient, now")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, dry_run: bool, test: bool, **given: Any) -> None:
        recipients.keep_in_step()
        if test and not Recipient.objects.filter(enabled=True).exists():
            words = "There is no recipient. Set NOTIFY_URLS, or make one under /admin/sync/recipient/."
            raise CommandError(words, returncode=WRONG_USE)
        if dry_run:
            self._show(given["json"])
            return
        try:
            results = _test() if test else rounds.send_due()
        except Busy:
            results = {}  # the other process does it
        failed = {name: error for name, error in results.items() if error}
        if given["json"]:
            self.stdout.write(json.dumps({"sent": len(results) - len(failed), "failed": failed}, ensure_ascii=False))
        else:
            for name, error in results.items():
                self.stdout.write(f"{name}: {error or 'sent'}")
        if failed:
            first, error = next(iter(failed.items()))
            raise CommandError(f"{len(failed)} could not be sent. {first}: {error}", returncode=FAILED)

    def _show(self, as_json: bool) -> None:
        """Without a row: what is yet to be told of is not counted."""
        waiting = {one.recipient.name: [str(item.words) for item in one.items] for one in outbox.due(clock.now())}
        if as_json:
            self.stdout.write(json.dumps({"dry_run": True, "would_send": waiting}, ensure_ascii=False))
            return
        for name, words in waiting.items():
            self.stdout.write(f"{name}: {'; '.join(words)}")
        self.stdout.write(f"Nothing was sent. {len(waiting)} would get a message.")


def _test() -> dict[str, str]:
    return {one.name: rounds.send_test(one) for one in Recipient.objects.filter(enabled=True)}
