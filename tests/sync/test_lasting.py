"""What is an alarm because it lasts, each with the limit that it has to pass, and its end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.alarms import open_alarms, raise_alarm
from sync.models import Condition, DriftFinding, Run, Severity, SideState, TodoItem
from sync.monitoring import growth, lasting
from tests.factories import WebhookEventFactory
from webhooks.connections import Bridge
from webhooks.models import RefusedDelivery, State, WebhookEvent

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], dict[str, int]]:
    """Look at that time. By key, how severe each open alarm is."""
    WebhookEvent.objects.all().delete()

    def look(now: datetime) -> dict[str, int]:
        monkeypatch.setattr("webhooks.clock.now", lambda: now)
        lasting.on_schedule()
        return dict(open_alarms().values_list("key", "severity"))

    return look


def test_all_is_well_on_a_fresh_installation(at: Any) -> None:
    assert at(NOON) == {}


@pytest.mark.parametrize(
    ("cause", "hours", "severity"),
    [
        ("parked", 24, Severity.WARNING),
        ("refused", 24, Severity.WARNING),
        ("lost", 24, Severity.WARNING),
        ("dead", 1, Severity.WARNING),
        ("paid", 1, Severity.CRITICAL),
    ],
)
def test_what_waits_for_a_person_too_long(at: Any, cause: str, hours: int, severity: Severity) -> None:
    item = TodoItem.objects.create(cause=cause, order="woo:14", words="look", opened_at=NOON)
    assert at(NOON + hours * HOUR) == {}
    late = NOON + hours * HOUR + MINUTE
    assert at(late) == {f"todo:{cause}": severity}
    TodoItem.objects.filter(pk=item.pk).update(snoozed_until=late + HOUR)
    assert at(late + MINUTE) == {}
    assert at(late + 2 * HOUR) == {f"todo:{cause}": severity}
    TodoItem.objects.filter(pk=item.pk).update(closed_at=late)
    assert at(late + 3 * HOUR) == {}


def test_drift_that_nobody_repairs(at: Any) -> None:
    DriftFinding.objects.create(kind="status", woo_id=1, found_at=NOON)
    DriftFinding.objects.create(kind="ahead", woo_id=2, found_at=NOON, expected=True)
    assert at(NOON + 24 * HOUR) == {}
    assert at(NOON + 25 * HOUR) == {"drift": Severity.WARNING}
    DriftFinding.objects.update(gone_at=NOON)
    assert at(NOON + 26 * HOUR) == {}


def test_a_backlog_although_both_sides_answer(at: Any) -> None:
    WebhookEventFactory(state=State.PENDING, next_attempt_at=NOON)
    assert at(NOON + 15 * MINUTE) == {}
    assert at(NOON + 16 * MINUTE) == {"backlog": Severity.CRITICAL}
    SideState.objects.filter(pk="crm").update(paused=True)  # then that is why
    assert at(NOON + 17 * MINUTE) == {}


def test_a_side_that_stays_away(at: Any) -> None:
    SideState.objects.filter(pk="crm").update(opened_at=NOON, last_error="connection refused")
    assert at(NOON + 15 * MINUTE) == {}
    assert at(NOON + 16 * MINUTE) == {"away:crm": Severity.CRITICAL}
    assert "connection refused" in open_alarms().get().words
    SideState.objects.filter(pk="crm").update(opened_at=None)
    assert at(NOON + 17 * MINUTE) == {}


def test_a_side_that_keeps_slowing_us_down(at: Any) -> None:
    for minutes in (0, 5, 10, 15):
        SideState.objects.filter(pk="shop").update(wait_until=NOON + minutes * MINUTE)
        assert at(NOON + minutes * MINUTE) == {}
    SideState.objects.filter(pk="shop").update(wait_until=NOON + 20 * MINUTE)
    assert at(NOON + 20 * MINUTE) == {"limited:shop": Severity.WARNING}
    assert at(NOON + 25 * MINUTE) == {}  # it has not asked again
    SideState.objects.filter(pk="shop").update(wait_until=NOON + 30 * MINUTE)
    assert at(NOON + 30 * MINUTE) == {}  # from the beginning


def test_a_side_that_was_paused_and_forgotten(at: Any) -> None:
    SideState.objects.filter(pk="shop").update(paused=True)
    assert at(NOON) == at(NOON + 24 * HOUR) == {}
    assert at(NOON + 24 * HOUR + MINUTE) == {"paused:shop": Severity.WARNING}
    SideState.objects.filter(pk="shop").update(paused=False)
    assert at(NOON + 25 * HOUR) == {}
    assert not Condition.objects.filter(key="paused:shop").exists()


def test_a_bridge_that_was_paused_and_forgotten_and_one_that_was_archived(at: Any) -> None:
    Bridge.objects.update(state=Bridge.State.PAUSED)
    raise_alarm("webhook:order.created", "It is disabled.", "Repair it.", bridge=1)
    disabled = {"webhook:order.created": Severity.WARNING}
    assert at(NOON) == at(NOON + 24 * HOUR) == disabled
    assert at(NOON + 24 * HOUR + MINUTE) == {"paused": Severity.WARNING, **disabled}
    Bridge.objects.update(archived_at=NOON)
    assert at(NOON + 25 * HOUR) == {}
    Bridge.objects.update(state=Bridge.State.ON, archived_at=None)
    assert at(NOON + 26 * HOUR) == {} and not Condition.objects.filter(key__startswith="paused").exists()


def test_a_scheduled_run_that_failed(at: Any) -> None:
    Run.objects.create(kind="prune", state=Run.State.FAILED, error="no room")
    Run.objects.create(kind="prune", state=Run.State.RUNNING)
    Run.objects.create(kind="drift", state=Run.State.FAILED, actor="ada")  # she knows
    Run.objects.create(kind="reconcile", state=Run.State.FAILED)  # another alarm tells of it
    assert at(NOON) == {"run:prune": Severity.WARNING}
    Run.objects.filter(state=Run.State.RUNNING).update(state=Run.State.DONE)
    assert at(NOON) == {}


def test_deliveries_that_all_have_a_wrong_signature(at: Any) -> None:
    for _ in range(5):
        assert at(NOON) == {}
        RefusedDelivery.objects.create(source="crm", reason="bad_signature", received_at=NOON)
    assert at(NOON + MINUTE) == {"refused:crm": Severity.WARNING}
    WebhookEventFactory(source="crm", received_at=NOON, next_attempt_at=None, state=State.DONE)
    assert at(NOON + MINUTE) == {}  # the secret is right, so strangers are knocking


# --- room ----------------------------------------------------------------------------------------------------------


def keys() -> dict[str, int]:
    return {one.key.partition(":")[0]: one.severity for one in open_alarms()}


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> dict[str, int]:
    """What the machine is said to have, in percent and GB."""
    has = {"free": 50, "size": 1}
    monkeypatch.setattr(growth, "disks", lambda: [(tmp_path, 100, has["free"])])
    monkeypatch.setattr(growth, "database_size", lambda: has["size"] * growth.GB)
    return has


def test_a_disk_that_fills_up(room: dict[str, int]) -> None:
    for free, expected in ((50, {}), (10, {}), (9, {"disk": Severity.WARNING}), (2, {"disk": Severity.CRITICAL})):
        room["free"] = free
        growth.on_schedule()
        assert keys() == expected
    room["free"] = 11
    growth.on_schedule()
    assert keys() == {}


def test_a_database_that_will_be_too_large_in_two_weeks(
    room: dict[str, int], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    for day, size, expected in ((0, 10, {}), (1, 10, {}), (7, 17, {"database": Severity.WARNING})):
        room["size"] = size
        monkeypatch.setattr("webhooks.clock.now", lambda day=day: NOON + timedelta(days=day))
        growth.on_schedule()
        assert keys() == expected
    assert "grew by 1.00 GB a day" in open_alarms().get().words
    settings.ALARM_DATABASE_GB = 0  # any
    growth.on_schedule()
    assert keys() == {}
    kept = Condition.objects.get(key=growth.SIZES).value
    assert len(kept) == 3


def test_the_figures_of_this_machine_can_be_had() -> None:
    assert growth.database_size() > 100_000
    assert all(0 < free <= total for _, total, free in growth.disks())
    assert list(growth.disks())


def test_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch, room: dict[str, int]) -> None:
    monkeypatch.setattr("webhooks.clock.trouble", lambda: "This host's clock is 9 s ahead.")
    growth.on_schedule()
    assert keys() == {"clock": Severity.WARNING}
