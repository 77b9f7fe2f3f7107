"""A dead webhook is told from an idle night, and an idle night from a usual one."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from sync import tasks
from sync.models import Alarm, SideState
from sync.monitoring import silence
from sync.monitoring.silence import Quiet, judge_silence, listen, stretches
from tests.factories import WebhookEventFactory
from webhooks.connections import default_bridge
from webhooks.models import WebhookEvent

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@pytest.mark.parametrize(
    ("before", "missed", "verdict"),
    [
        ([], 3, "usual"),
        ([0, 0, 0], 3, "usual"),
        ([4, 4, 4], 3, "usual"),
        ([5, 5, 5], 3, "dead"),
        ([100, 0, 0, 0], 3, "usual"),
        ([6, 0, 7, 9], 1, "dead"),
        ([60, 70, 80], 0, "idle"),
    ],
    ids=["nothing known", "always quiet", "seldom", "often", "one busy week", "one idle week", "nothing to tell"],
)
def test_is_it_too_quiet(before: list[int], missed: int, verdict: str) -> None:
    assert judge_silence(Quiet(long=HOUR, before=before, missed=missed)) == verdict


def test_a_side_that_could_not_be_asked_is_not_idle() -> None:
    assert judge_silence(Quiet(long=HOUR, before=[60, 70], missed=0, asked=False)) == "dead"


def test_a_pause_for_breath_is_no_silence() -> None:
    assert judge_silence(Quiet(long=timedelta(minutes=10), before=[60, 70], missed=3)) == "usual"


def test_the_same_stretch_of_the_weeks_before() -> None:
    now = MONDAY
    found = stretches(now - 5 * WEEK, now - 3 * HOUR, now)
    assert found == [(now - 3 * HOUR - n * WEEK, now - n * WEEK) for n in (1, 2, 3, 4)]


def test_of_the_days_before_while_less_than_a_week_is_known() -> None:
    now = MONDAY
    found = stretches(now - 4 * DAY, now - 3 * HOUR, now)
    assert found == [(now - 3 * HOUR - n * DAY, now - n * DAY) for n in (1, 2, 3)]
    assert stretches(now - HOUR, now - HOUR, now) == []


def test_a_silence_of_weeks_is_compared_with_the_time_before_it() -> None:
    now = MONDAY
    for start, end in stretches(now - 8 * WEEK, now - 2 * WEEK, now):
        assert start < end <= now - 2 * WEEK


# --- with an inbox -------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(db: None) -> None:
    SideState.objects.update(swept_at=timezone.now())


def deliveries(now: datetime, *, weeks: int = 4, minutes: int = 10, until: timedelta = 3 * HOUR) -> None:
    """Every so many minutes for weeks, up to so long ago; each at that hour of each day."""
    rows = [
        WebhookEventFactory.build(received_at=now - n * timedelta(minutes=minutes), dedupe_key=f"delivery-{n}")
        for n in range(weeks * 7 * 24 * 60 // minutes)
        if n * timedelta(minutes=minutes) >= until
    ]
    WebhookEvent.objects.bulk_create(rows)


def found_by_sweep(at: datetime, side: str = "shop") -> None:
    WebhookEventFactory(source="sweep", side=side, received_at=at)


@pytest.mark.usefixtures("swept")
def test_what_is_usual_is_learnt_from_the_inbox() -> None:
    now = timezone.now()
    deliveries(now)
    quiet = listen("shop", "woocommerce", now, default_bridge())
    assert quiet is not None
    assert (quiet.long, quiet.asked) == (3 * HOUR, True)
    assert quiet.before == [18, 18, 18]
    assert listen("crm", "crm", now, default_bridge()) is None


@pytest.mark.usefixtures("swept")
def test_quiet_while_the_sweep_finds_changes_is_a_dead_webhook_until_it_talks_again() -> None:
    now = timezone.now()
    deliveries(now)
    found_by_sweep(now - HOUR)
    tasks.silence.on_schedule()
    alarm = Alarm.objects.get()
    assert alarm.key == "silence:shop"
    assert "180 minutes" in alarm.words
    WebhookEventFactory(received_at=timezone.now())
    silence.on_schedule()
    assert Alarm.objects.get().cleared_at


@pytest.mark.usefixtures("swept")
def test_quiet_and_nothing_to_tell_is_an_idle_night() -> None:
    now = timezone.now()
    deliveries(now)
    found_by_sweep(now - 4 * HOUR)
    found_by_sweep(now - HOUR, side="crm")
    silence.on_schedule()
    assert not Alarm.objects.exists()


@pytest.mark.usefixtures("swept")
def test_a_pause_as_every_night_is_usual() -> None:
    now = timezone.now()
    deliveries(now)
    for n in range(1, 5):
        gap = (now - n * WEEK - 4 * HOUR, now - n * WEEK + HOUR)
        WebhookEvent.objects.filter(received_at__range=gap).delete()
    found_by_sweep(now - HOUR)
    silence.on_schedule()
    assert not Alarm.objects.exists()


@pytest.mark.usefixtures("swept")
def test_quiet_and_nobody_could_look_needs_a_person() -> None:
    now = timezone.now()
    deliveries(now)
    SideState.objects.update(swept_at=now - HOUR)
    silence.on_schedule()
    assert "could not ask" in Alarm.objects.get().words
