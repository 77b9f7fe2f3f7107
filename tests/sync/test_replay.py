"""Asking again for events, by a command."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.core.management import CommandError, call_command

from orders.models import OrderLink
from sync.pipeline import internal_events
from sync.pipeline.dry_run import DryRunResult
from tests.factories import AttemptFactory, OrderLinkFactory, WebhookEventFactory
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.pipeline.replays.wake") as woken:
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
    wake.assert_called_once_with()


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


def test_a_dry_run_in_which_one_needs_a_person_ends_with_1_after_its_report(wake: Mock) -> None:
    unreadable, other = finished(order_ref="", state=State.PARKED), finished()
    out = StringIO()
    with pytest.raises(CommandError, match="1 would need a person: the report names each") as error:
        call_command("replay", str(unreadable.pk), str(other.pk), "--dry-run", stdout=out)
    assert error.value.returncode == 1
    assert f"event {unreadable.pk}: person (parked). It names no order" in out.getvalue()
    assert "Nothing was written. 1 person, 1 waits" in out.getvalue()
    assert pending() == set()


@pytest.mark.parametrize("action", ["force", "make anew"])
def test_a_staff_action_is_not_replayed(action: str, wake: Mock) -> None:
    link: OrderLink = OrderLinkFactory()
    if action == "force":
        event = internal_events.force(link, to_status="cancelled", by="mia", reason="asked to")
    else:
        event = internal_events.make_anew(link, by="mia", reason="asked to")
    WebhookEvent.objects.filter(pk=event.pk).update(state=State.DEAD, next_attempt_at=None)
    with pytest.raises(CommandError, match=rf"{event.pk}\. Ask for it again on the order's page") as error:
        replay(str(event.pk))
    assert error.value.returncode == 1
    with pytest.raises(CommandError, match="1 would need a person"):
        replay("--state", "dead", "--dry-run")
    assert pending() == set()
    wake.assert_not_called()


def test_so_does_one_in_which_one_would_fail() -> None:
    event, out = finished(), StringIO()
    failed = DryRunResult(kind="failed", outcome="Rejected", reasons=())
    with (
        patch("sync.management.commands.replay.run_dry", return_value=failed),
        pytest.raises(CommandError, match="1 would fail") as error,
    ):
        call_command("replay", str(event.pk), "--dry-run", "--json", stdout=out)
    assert error.value.returncode == 1
    assert json.loads(out.getvalue())["kinds"] == {"failed": 1}


@pytest.mark.parametrize("name", ["WOO_URL", "CRM_URL"])
def test_a_dry_run_without_settings_says_so(settings: Any, name: str) -> None:
    event = finished()
    setattr(settings, name, "")
    with pytest.raises(CommandError, match=f"{name} is not set") as error:
        replay(str(event.pk), "--dry-run")
    assert error.value.returncode == 2


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_long_one_says_how_far_it_is(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    ids = [str(finished().pk) for _ in range(2)]
    with patch("sync.management.long_runs.LINE_EVERY", 0):
        replay(*ids, *more)
    assert capsys.readouterr().err.splitlines() == [f"Replay of many: {n} of 2 events" for n in (1, 2)]


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
