"""What is mapped and is gone in the CRM is told before the next order fails, and what ends there in time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from django.utils import timezone

from orders.models import StatusRule
from sync import tasks
from sync.alarms import open_alarms
from sync.clients.crm.base import Field, Status
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import AuthFailed, NotFound, Rejected, SideError, Unreachable
from sync.models import Alarm, Severity, SideState
from sync.monitoring import schema_watch
from tests.factories import AttemptFactory, WebhookEventFactory
from webhooks.connections import Bridge, Connection
from webhooks.models import Side

pytestmark = pytest.mark.django_db


class WatchedCrm(RestCrm):
    title = "A CRM that is watched"
    stages: ClassVar[list[str] | SideError] = []
    listed: ClassVar[list[str] | SideError] = []
    ends: ClassVar[dict[str, datetime]] = {}
    asked: ClassVar[int] = 0

    def statuses(self) -> list[Status]:
        type(self).asked += 1
        if isinstance(self.stages, SideError):
            raise self.stages
        return [Status(name=name, label=name.title()) for name in self.stages]

    def fields(self) -> list[Field]:
        if isinstance(self.listed, SideError):
            raise self.listed
        return [Field(name=name, label=name) for name in self.listed]

    def expires_at(self) -> dict[str, datetime]:
        return self.ends


@pytest.fixture(autouse=True)
def crm(settings: Any) -> Iterator[type[WatchedCrm]]:
    settings.CRM_BACKEND = "tests.sync.test_schema_watch.WatchedCrm"
    settings.CRM_URL, settings.CRM_TOKEN = "http://127.0.0.1:9", "t"
    settings.WOO_URL = "http://127.0.0.1:9"
    WatchedCrm.stages, WatchedCrm.listed = ["new", "won", "shipped"], ["note", "size"]
    WatchedCrm.ends, WatchedCrm.asked = {}, 0
    StatusRule.objects.create(crm_status="won", woo_status="processing")
    yield WatchedCrm


def field_map(*targets: str) -> None:
    rows = [{"target": one, "constant": "x"} for one in targets]
    Bridge.objects.filter(pk=1).update(field_map=json.dumps({"version": 1, "rows": rows}))


def look() -> None:
    for bridge in Bridge.objects.on():
        schema_watch.look(bridge)


def alarm(key: str = "schema") -> Alarm | None:
    return open_alarms().filter(key=key, bridge=1).first()


def test_what_the_map_began_with_and_the_crm_never_had_is_no_alarm() -> None:
    assert StatusRule.objects.filter(crm_status="on_hold").exists()
    look()
    assert alarm() is None


def test_a_status_that_is_gone_is_named_until_it_is_back(crm: type[WatchedCrm]) -> None:
    look()
    crm.stages = ["new"]
    look()
    found = alarm()
    assert found and "status 'shipped'" in found.words and "status 'won' (mapped to 'processing')" in found.words
    assert found.severity == Severity.CRITICAL
    assert "'new'" not in found.words and "on_hold" not in found.words
    crm.stages = ["new", "won", "shipped", "more"]
    schema_watch.on_schedule()
    assert alarm() is None
    crm.stages = ["new", "won", "shipped"]
    look()
    assert alarm() is None, "nobody mapped it"


def test_a_rule_that_is_taken_away_ends_the_alarm(crm: type[WatchedCrm]) -> None:
    look()
    crm.stages = ["new", "shipped"]
    look()
    StatusRule.objects.get(crm_status="won").delete()
    schema_watch.on_schedule()
    assert alarm() is None


def test_a_field_that_is_gone_is_named(crm: type[WatchedCrm]) -> None:
    field_map("note", "colour", "size")
    look()
    found = alarm()
    assert found and "field 'colour'" in found.words and "size" not in found.words
    crm.listed = []
    schema_watch.on_schedule()
    assert alarm() is None, "a CRM that lists none says nothing"


@pytest.mark.parametrize("error", [NotFound("no such pipeline", side="crm"), Rejected("no", side="crm")])
@pytest.mark.parametrize("what", ["stages", "listed"])
def test_a_pipeline_that_was_deleted_is_an_alarm(crm: type[WatchedCrm], what: str, error: SideError) -> None:
    setattr(crm, what, error)
    look()
    found = alarm()
    assert found and "cannot be listed" in found.words and error.message in found.words


@pytest.mark.parametrize("error", [Unreachable("away", side="crm"), AuthFailed("key", side="crm")])
def test_a_crm_that_is_away_says_nothing_of_what_is_gone(crm: type[WatchedCrm], error: SideError) -> None:
    look()
    crm.stages = error
    look()
    assert alarm() is None
    crm.stages = ["new"]
    look()
    crm.stages = error
    look()
    assert alarm() is not None, "nor that it is back"


@pytest.mark.parametrize("held", ["paused", "opened_at", "wait_until"])
def test_a_side_that_is_left_alone_is_not_asked(crm: type[WatchedCrm], held: str) -> None:
    value = True if held == "paused" else timezone.now() + timedelta(hours=1)
    SideState.objects.filter(name="crm").update(**{held: value})
    look()
    assert crm.asked == 0


def test_it_is_asked_at_once_and_then_once_a_night(crm: type[WatchedCrm], monkeypatch: pytest.MonkeyPatch) -> None:
    evening = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
    for hours, asked in ((0, 1), (1, 1), (6, 1), (8, 2), (9, 2), (30, 2), (32, 3)):
        monkeypatch.setattr("webhooks.clock.now", lambda hours=hours: evening + timedelta(hours=hours))
        schema_watch.on_schedule()
        assert crm.asked == asked, hours


@pytest.mark.parametrize(("result", "asked"), [("Rejected", 1), ("NotFound", 1), ("created", 0), ("Unreachable", 0)])
def test_a_refused_write_is_looked_into_once(crm: type[WatchedCrm], result: str, asked: int) -> None:
    AttemptFactory(result="Rejected")
    schema_watch.after_refusals()
    assert crm.asked == 0, "those of before are no news"
    AttemptFactory(result=result, event=WebhookEventFactory(side=Side.SHOP))
    for _ in range(2):
        schema_watch.after_refusals()
    assert crm.asked == asked


def test_each_bridge_is_looked_at_by_itself(crm: type[WatchedCrm]) -> None:
    kind = "tests.sync.test_schema_watch.WatchedCrm"
    other = Connection.objects.create(slug="crm-b", name="B", kind=kind, settings={"url": "http://127.0.0.1:9"})
    shop = Connection.objects.create(slug="shop-b", name="Shop B", kind="woocommerce")
    second = Bridge.objects.create(slug="b", name="B", shop=shop, crm=other, state="on", external_id_prefix="b-")
    with patch.object(Connection, "_decrypted", {"token": "t"}):
        StatusRule.objects.create(bridge=second, crm_status="lost", woo_status="cancelled")
        crm.stages = ["new", "lost"]
        look()
        crm.stages = ["new"]
        look()
    assert [one.bridge_id for one in open_alarms().filter(key="schema")] == [second.pk]


@pytest.mark.parametrize(
    ("days", "severity"), [(30, None), (13, Severity.WARNING), (1, Severity.CRITICAL), (-1, Severity.CRITICAL)]
)
def test_what_ends_soon_is_told_in_time(crm: type[WatchedCrm], days: int, severity: Severity | None) -> None:
    crm.ends = {"the application key": timezone.now() + timedelta(days=days)}
    look()
    found = alarm("expires")
    assert (found and found.severity) == severity
    if found:
        assert "the application key" in found.words
    crm.ends = {"the application key": timezone.now() + timedelta(days=90)}
    schema_watch.on_schedule()
    assert alarm("expires") is None


def test_the_tasks_ask_and_a_copy_of_the_database_does_not(
    crm: type[WatchedCrm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "drain", lambda: None)
    monkeypatch.setattr(tasks.shop_webhooks, "on_schedule", lambda: None)
    may = [False]
    monkeypatch.setattr("sync.clients.installation.may_call", lambda: may[0])
    for expected in (0, 1):
        tasks.watch()
        assert crm.asked == expected
        tasks.sweep()
        AttemptFactory(result="Rejected")
        may[0] = True
    tasks.sweep()
    assert crm.asked == 2
