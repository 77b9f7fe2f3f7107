"""Any long run that the back office can start, from a terminal: `manage.py run KIND`."""

import json
from typing import Any

from django import forms
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync import registry
from sync.jobs import run_report
from sync.management import long_runs
from sync.management.moments import WRONG_USE
from sync.registry import Starter


class Command(BaseCommand):
    help = (
        "Start a long run of any kind with the options of its page in the back office, and stay with it to its end. "
        "Stopped or killed, most go on where they were when the same command is given again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py run backfill --since 2025-01-01 --dry-run"
        kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
        for job, starter in registry.startable().values():
            one = kinds.add_parser(job.kind, help=job.label, description=starter.words)
            for name, field in _options(starter).items():
                flag = f"--{name.replace('_', '-')}"
                words = str(field.help_text or field.label or "").replace("%", "%%")
                if isinstance(field, forms.BooleanField):
                    one.add_argument(flag, action="store_true", help=words)
                else:
                    one.add_argument(flag, metavar="X", help=words)
            one.add_argument("--json", action="store_true", help="print one JSON object at the end")

    def handle(self, *args: Any, kind: str, **given: Any) -> None:
        _, starter = registry.startable()[kind]
        chosen = _chosen(starter, given)
        run = long_runs.carry_out(lambda: starter.start(actor="command", reason="", **chosen))
        needs_a_person = [*run_report.left_out(run), *(f"{one.order}: {one.words}" for one in run_report.failures(run))]
        if given["json"]:
            told = {"run": run.pk, "kind": kind, **run.counts, "needs_a_person": needs_a_person}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        else:
            self.stdout.write("\n".join([*needs_a_person, run_report.in_short(run)]))
        if needs_a_person:
            raise CommandError(f"{run}: mend what is named, then start it again.", returncode=long_runs.FAILED)


def _options(starter: Starter) -> dict[str, forms.Field]:
    return {name: field for name, field in starter.form.base_fields.items() if name != "reason"}


def _chosen(starter: Starter, given: dict[str, Any]) -> dict[str, Any]:
    """As if it were typed into the page."""
    form = starter.form({**{name: given[name] for name in _options(starter) if given[name]}, "reason": "command"})
    if not form.is_valid():
        wrong = [f"{name}: {' '.join(errors)}" for name, errors in form.errors.items()]
        raise CommandError(" ".join(wrong), returncode=WRONG_USE)
    chosen: dict[str, Any] = form.chosen()
    return chosen
