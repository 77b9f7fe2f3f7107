"""Asking again for events, by a command."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from unittest.mock import Mock, patch

import pytest
from django.core.management import CommandError, call_command

from tests.factories import AttemptFactory, WebhookEventFactory
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.replays.wake") as woken:
        yield woken


def replay(*args: str) -> str:
    out = StringIO()
    call_command("replay", *args, stdout=out)
    return out.getvalue()


def finished(**fields: object) -> WebhookEvent:
    event: WebhookEvent = WebhookEventFactory(**{"state": State.DEAD, "next_attempt_at": None, **fields})
    return event


def pending() -> set[int]:
    return set(WebhookEvent.objects.filter(state=State.PENDING).values_list("pk", flat=True))


def test_a_named_event_is_asked_again_and_its_attempts_stay(wake: Mock) -> None:
    event = AttemptFactory(event=finished(), error="502").event
    replay(str(event.pk))
    event.refresh_from_db()
    assert (event.state, event.trigger, event.requested_by) == (State.PENDING, "replay", "command")
    assert event.tries.get().error == "502"
    wake.assert_called_once_with(force=True)


def test_selectors_narrow_each_other() -> None:
    wanted = finished(source="crm")
    finished(source="woocommerce")
    finished(source="crm", state=State.PARKED)
    replay("--state", "dead", "--source", "crm")
    assert pending() == {wanted.pk}


def test_until_a_date_includes_that_day() -> None:
    finished(received_at=datetime(2026, 2, 28, 23, 59, tzinfo=UTC))
    wanted = finished(received_at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
    finished(received_at=datetime(2026, 3, 2, tzinfo=UTC))
    replay("--since", "2026-03-01", "--until", "2026-03-01")
    assert pending() == {wanted.pk}


def test_a_dry_run_says_what_would_happen_and_changes_nothing(wake: Mock) -> None:
    event = finished()
    told = replay("--state", "dead", "--dry-run")
    assert f"event {event.pk}: waits (Unreachable)" in told
    assert "Nothing was written. 1 waits" in told
    assert pending() == set()
    wake.assert_not_called()


def test_a_dry_run_as_json_is_one_object() -> None:
    event = finished()
    [told] = json.loads(replay(str(event.pk), "--dry-run", "--json"))["events"]
    assert (told["event"], told["kind"], told["changes"]) == (event.pk, "waits", [])


def test_json_is_one_object() -> None:
    event = finished()
    assert json.loads(replay(str(event.pk), "--json")) == {"dry_run": False, "replayed": [event.pk], "skipped": []}


def test_an_event_in_work_is_skipped_and_named() -> None:
    busy = WebhookEventFactory(state=State.PROCESSING)
    with pytest.raises(CommandError, match=f"skipped: {busy.pk}") as error:
        replay(str(busy.pk))
    assert error.value.returncode == 1
    busy.refresh_from_db()
    assert busy.state == State.PROCESSING


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Say which"),
        (["999999", str(10**30)], "No such event: 999999, 10000"),
        (["--since", "yesterday"], "--since 'yesterday' is no date"),
        (["--until", "2026-02-30"], "--until '2026-02-30' is no date"),
        (["--until", "9999-12-31"], "is no date"),
    ],
)
def test_wrong_use_is_said_and_changes_nothing(args: list[str], words: str) -> None:
    finished()
    with pytest.raises(CommandError, match=words) as error:
        replay(*args)
    assert error.value.returncode == 2
    assert pending() == set()


def test_an_unknown_id_stops_the_known_ones_too() -> None:
    with pytest.raises(CommandError):
        replay(str(finished().pk), "999999")
    assert pending() == set()
