"""Our webhooks in the shop: make, check, repair or remove them."""

import json
import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.clients.bridged import shop_of
from sync.clients.errors import NotConfigured, SideError
from sync.jobs import reconciliation, shop_identity
from sync.management import long_runs
from sync.management.bridges import add_bridge, chosen_bridge
from sync.monitoring import shop_webhooks
from sync.monitoring.shop_webhooks import WebhookChange, WebhookVerdict
from webhooks.connections import Bridge

ACTIONS = {
    "ensure": "create those that are missing",
    "check": "say how each is doing",
    "repair": "create those that are missing, make the broken ones again, and fetch what was missed meanwhile",
    "remove": "delete ours",
}


class Command(BaseCommand):
    help = "Our four webhooks in the shop, to PUBLIC_URL: " + "; ".join(f"{k}: {v}" for k, v in ACTIONS.items()) + "."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py shop_webhooks repair --dry-run"
        parser.add_argument("action", choices=ACTIONS)
        add_bridge(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done; nothing is written")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, action: str, dry_run: bool, **options: Any) -> None:
        bridge = chosen_bridge(options["bridge"])
        try:
            with long_runs.quiet(logging.CRITICAL):  # the table says what its alarms would
                verdicts, done = self._act(bridge, action, dry_run)
        except (NotConfigured, shop_identity.AnotherShop) as error:
            raise CommandError(str(error), returncode=long_runs.WRONG_USE) from error
        except SideError as error:
            raise CommandError(str(error), returncode=long_runs.FAILED) from error
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(bridge, action, dry_run, verdicts, done)))
        else:
            self.stdout.write("\n".join(_as_lines(dry_run, verdicts, done)))
        if action == "repair" and done and not dry_run:
            long_runs.carry_out(lambda: reconciliation.start(actor="command", reason="repair", bridge=bridge.pk))
        wrong = [one for one in verdicts if one.state != "ok"]
        if wrong and action != "remove" and not (dry_run and done):
            names = ", ".join(f"{one.topic} {one.state}" for one in wrong)
            raise CommandError(f"Not well: {names}.", returncode=long_runs.FAILED)

    def _act(self, bridge: Bridge, action: str, dry_run: bool) -> tuple[list[WebhookVerdict], list[WebhookChange]]:
        """How they are afterwards, and what was done."""
        if action != "check":
            shop_identity.check(shop_of(bridge), bridge)
        verdicts = shop_webhooks.look(bridge)
        wanted = shop_webhooks.changes_for(action, verdicts)
        if not dry_run:
            shop_webhooks.make_changes(shop_of(bridge), wanted, bridge)
            verdicts = shop_webhooks.check_webhooks(bridge)
        return verdicts, wanted


def _as_json(
    bridge: Bridge, action: str, dry_run: bool, verdicts: list[WebhookVerdict], done: list[WebhookChange]
) -> dict[str, Any]:
    return {
        "action": action,
        "dry_run": dry_run,
        "url": shop_webhooks.delivery_url(bridge),
        "webhooks": [
            {
                "topic": one.topic,
                "state": one.state,
                "numbers": one.numbers,
                "words": one.words,
                "advice": one.advice,
            }
            for one in verdicts
        ],
        "done": [str(step) for step in done],
    }


def _as_lines(dry_run: bool, verdicts: list[WebhookVerdict], done: list[WebhookChange]) -> list[str]:
    return [
        *(f"{'would ' if dry_run else ''}{step}" for step in done),
        *(f"{one.topic:<15} {one.state:<13} {one.words} {one.advice}".rstrip() for one in verdicts),
    ]
