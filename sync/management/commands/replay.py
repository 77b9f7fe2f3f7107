"""Process events again: the named ones, or all that match."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from tqdm import tqdm

from sync.jobs import bulk_replay
from sync.management import long_runs
from sync.management.bridges import chosen_bridge
from sync.management.moments import WRONG_USE, period
from sync.pipeline.dry_run import DryRunResult, run_dry
from sync.pipeline.replays import Asked, ask_again
from webhooks.connections import Bridge
from webhooks.models import State, WebhookEvent

LONGEST = 120
"""Characters of a value that a dry run prints."""
UNWELL = {"failed": "would fail", "person": "would need a person"}


class Command(BaseCommand):
    help = "Process events again. Earlier attempts stay in the history; events that wait for a worker are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py replay --state dead --since 2026-03-01 --dry-run"
        parser.add_argument("events", metavar="EVENT", nargs="*", type=int, help="ids of events")
        parser.add_argument("--state", choices=State.values, help="events in this state")
        parser.add_argument("--source", help="events of this source, for example woocommerce or crm")
        parser.add_argument("--since", metavar="D", help="received from this ISO date or time on (UTC)")
        parser.add_argument(
            "--until", metavar="D", help="received up to this ISO time, or to the end of this date (UTC)"
        )
        parser.add_argument("--bridge", metavar="SLUG", help="events of this bridge alone (default: of all)")
        parser.add_argument("--dry-run", action="store_true", help="say field by field what would happen now")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        events = _selected(options)
        if options["dry_run"]:
            self._run_dry(events, as_json=options["json"])
            return
        ids = _ids(events)
        asked = ask_again(long_runs.counted(bulk_replay.JOB.kind, ids, len(ids)), by="command")
        skipped = asked.busy + asked.forced + asked.unreadable
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": False, "replayed": asked.again, "skipped": skipped}))
        else:
            for pk in asked.again:
                self.stdout.write(f"event {pk} asked again")
            self.stdout.write(f"{len(asked.again)} asked again, {len(skipped)} skipped")
        if skipped:
            raise CommandError(" ".join(_why_skipped(asked)), returncode=1)

    def _run_dry(self, events: QuerySet[WebhookEvent], *, as_json: bool) -> None:
        """Both sides are read for each event; nothing is written to either, nor here."""
        for bridge in Bridge.objects.with_connections().filter(pk__in=events.values("bridge")):
            long_runs.configured_shop(bridge)
        kinds: Counter[str] = Counter()
        told = []
        with long_runs.quiet():
            for event in long_runs.counted(bulk_replay.JOB.kind, events.iterator(chunk_size=100), events.count()):
                seen = run_dry(event)
                kinds[seen.kind] += 1
                if as_json:
                    told.append({"event": event.pk, **_as_json(seen)})
                else:
                    with tqdm.external_write_mode():
                        self.stdout.write("\n".join(_as_lines(event, seen)))
        if as_json:
            self.stdout.write(json.dumps({"dry_run": True, "kinds": kinds, "events": told}, default=str))
        else:
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "no event matches"
            self.stdout.write(f"Nothing was written. {counts}")
        unwell = [f"{kinds[kind]} {words}" for kind, words in UNWELL.items() if kinds[kind]]
        if unwell:
            raise CommandError(f"{', '.join(unwell)}: the report names each.", returncode=long_runs.FAILED)


def _why_skipped(asked: Asked) -> Iterator[str]:
    if asked.busy:
        yield f"With a worker or waiting for one, and so skipped: {_names(asked.busy)}."
    if asked.forced:
        yield f"Staff actions are not replayed: {_names(asked.forced)}. Ask for it again on the order's page."
    if asked.unreadable:
        yield f"Without anything that could be read, and so skipped: {_names(asked.unreadable)}. Their pages say why."


def _selected(options: dict[str, Any]) -> QuerySet[WebhookEvent]:
    chosen = {name: options[name] for name in ("events", "state", "source", "since", "until") if options[name]}
    if not chosen:
        raise CommandError("Say which: EVENT …, --state, --source, --since or --until.", returncode=WRONG_USE)
    events = WebhookEvent.objects.order_by("id")
    if options["bridge"]:
        events = events.filter(bridge=chosen_bridge(options["bridge"]))
    if "events" in chosen:
        events = events.filter(pk__in=_known(chosen["events"]))
    if "state" in chosen:
        events = events.filter(state=chosen["state"])
    if "source" in chosen:
        events = events.filter(source=chosen["source"])
    since, until = period(chosen.get("since"), chosen.get("until"))
    if since:
        events = events.filter(received_at__gte=since)
    if until:
        events = events.filter(received_at__lt=until)
    return events


def _known(wanted: list[int]) -> list[int]:
    # An id beyond 64 bits would be an error of the database, not an unknown event.
    possible = [pk for pk in wanted if 0 < pk < 2**63]
    known = set(WebhookEvent.objects.filter(pk__in=possible).values_list("pk", flat=True))
    unknown = [pk for pk in wanted if pk not in known]
    if unknown:
        raise CommandError(f"No such event: {_names(unknown)}.", returncode=WRONG_USE)
    return sorted(known)


def _as_lines(event: WebhookEvent, seen: DryRunResult) -> Iterator[str]:
    yield f"event {event.pk}: {seen.kind} ({seen.outcome}). {seen.words}"
    for change in seen.changes:
        yield f"  {change.side} {change.name}: {_short(change.before)} → {_short(change.after)}"


def _as_json(seen: DryRunResult) -> dict[str, Any]:
    return {
        "kind": seen.kind,
        "outcome": seen.outcome,
        "reasons": [reason.words for reason in seen.reasons],
        "changes": [vars(change) for change in seen.changes],
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _ids(events: QuerySet[WebhookEvent]) -> list[int]:
    return list(events.values_list("pk", flat=True))


def _names(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
