"""The doctor says what is wrong, and what to do about it; it changes nothing."""

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock, patch

import pytest
import responses
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from django_q.models import Schedule

from orders.models import StatusRule
from sync.alarms import raise_alarm
from sync.models import Heartbeat
from sync.monitoring import bridge_checks, doctor
from sync.monitoring.doctor import fs_type
from sync.monitoring.findings import Finding
from sync.queue import schedules
from tests.factories import OrderLinkFactory
from tests.sync.conftest import TwoSides

MOUNTS = """/dev/sda1 / ext4 rw 0 0
tmpfs /srv tmpfs rw 0 0
nas:/share /srv/data nfs4 rw 0 0
"""


@pytest.fixture
def well(two_sides: TwoSides, live_server: Any, settings: Any) -> Iterator[TwoSides]:
    """An installation at which there is nothing to mend."""
    settings.PUBLIC_URL = live_server.url
    settings.WOO_WEBHOOK_SECRETS = ["lab-webhook-secret"]
    settings.CRM_WEBHOOK_SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    two_sides.shop.register_webhooks(f"{live_server.url}/webhooks/woocommerce/", "lab-webhook-secret")
    crm = two_sides.crm.add_order("14")
    OrderLinkFactory(woo_id=14, crm_order_id=crm["id"], crm_updated_at=crm["updated_at"])
    Heartbeat.objects.create(worker="one", at=timezone.now())
    Schedule.objects.update(next_run=timezone.now())
    yield two_sides


def wrong() -> list[Finding]:
    return [one for one in doctor.examine() if one.level != "ok"]


def only_wrong() -> Finding:
    (one,) = wrong()
    return one


def test_nothing_is_wrong_and_nothing_was_changed(well: TwoSides) -> None:
    before = dict(well.shop.orders), dict(well.shop.webhooks), dict(well.crm.orders)
    findings = doctor.examine()
    assert [one for one in findings if one.level != "ok"] == []
    assert {one.check for one in findings} == {*doctor.CHECKS, "clock", "statuses"} - {"alarms"}
    assert (well.shop.orders, well.shop.webhooks, well.crm.orders) == before
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "webhooks    order.restored: It is active." in out.getvalue()


def test_what_is_wrong_is_named_with_what_to_do_and_exits_1(well: TwoSides) -> None:
    Heartbeat.objects.update(at=timezone.now() - timedelta(hours=1))
    out = StringIO()
    with pytest.raises(CommandError, match="1 of") as failure:
        call_command("doctor", stdout=out)
    assert failure.value.returncode == 1
    assert "ERROR    queue       No worker is running" in out.getvalue()
    assert "→ Start `python manage.py qcluster`." in out.getvalue()


def test_as_json(well: TwoSides) -> None:
    out = StringIO()
    call_command("doctor", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["ok"] is True
    assert set(told["findings"][0]) == {"check", "level", "words", "advice", "bridge", "paste"}


@pytest.mark.django_db
def test_without_any_setting_it_says_so(settings: Any) -> None:
    settings.WOO_URL = settings.CRM_URL = ""
    with pytest.raises(CommandError, match="Nothing is configured") as failure:
        call_command("doctor")
    assert failure.value.returncode == 2


def test_one_side_without_settings_is_a_finding_and_the_other_is_examined(well: TwoSides, settings: Any) -> None:
    settings.CRM_URL = ""
    found = wrong()
    assert {one.check for one in found} == {"settings", "crm"}
    assert all("CRM_URL is not set" in one.words for one in found)


# --- here ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 301, "headers": {"Location": "https://elsewhere.example/"}}, "redirects to https://elsewhere"),
        ({"status": 302, "headers": {"Location": "/login"}}, "redirects to /login"),
        ({"status": 204}, "ping with 204"),
        ({"status": 403}, "ping with 403"),
        ({"body": "<h1>Welcome to nginx</h1>"}, "not as this service does"),
        ({"body": responses.ConnectionError("refused")}, "does not answer"),
    ],
)
def test_public_url(settings: Any, answer: dict[str, Any], words: str) -> None:
    settings.PUBLIC_URL, settings.WOO_URL = "https://bridge.example", "https://shop.example"
    with responses.RequestsMock() as wire:
        wire.post("https://bridge.example/webhooks/woocommerce/", **answer)
        (found,) = bridge_checks.reached_at("https://bridge.example/webhooks/woocommerce/", settings.WOO_URL)
    assert (found.level, words in found.words) == ("error", True)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "http://10.0.0.7", "http://bridge.internal", "http://web", "https://bridge.example:8443"],
)
def test_an_address_to_which_woocommerce_does_not_deliver(settings: Any, url: str) -> None:
    settings.PUBLIC_URL, settings.WOO_URL = url, "https://shop.example"
    with responses.RequestsMock() as wire:
        wire.post(f"{url}/webhooks/woocommerce/", json={"status": "ping"})
        _, found = bridge_checks.reached_at(f"{url}/webhooks/woocommerce/", settings.WOO_URL)
    assert (found.level, "does not deliver" in found.words) == ("error", True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/db.sqlite3", "ext4"),
        ("/srv/db.sqlite3", "tmpfs"),
        ("/srv/data/db.sqlite3", "nfs4"),
        ("/srv/database", "tmpfs"),
    ],
)
def test_the_file_system_of_the_database(path: str, kind: str) -> None:
    assert fs_type(path, MOUNTS) == kind
    assert fs_type(path, "") == ""


def test_sqlite_on_a_network_file_system(well: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sync.monitoring.doctor.connection", MagicMock(vendor="sqlite", settings_dict={"NAME": "/srv/data/db"})
    )
    monkeypatch.setattr("sync.monitoring.doctor.MOUNTS", Mock(spec=Path, read_text=lambda: MOUNTS))
    (found,) = doctor._database()
    assert (found.level, "nfs4" in found.words) == ("error", True)


def test_a_database_that_can_not_be_asked(well: TwoSides) -> None:
    with patch("sync.monitoring.doctor.Heartbeat.objects.aggregate", side_effect=OperationalError("no such table")):
        assert "no such table" in only_wrong().words


def test_migrations_that_are_missing(well: TwoSides) -> None:
    with patch("sync.monitoring.doctor.MigrationExecutor.migration_plan", return_value=["one"]):
        assert "migrate" in only_wrong().advice


def test_schedules_that_are_missing_or_late(well: TwoSides) -> None:
    Schedule.objects.filter(name="reconcile").delete()
    Schedule.objects.filter(name="watch").update(next_run=timezone.now() - timedelta(hours=1))
    assert [one.words for one in wrong()] == ["Not scheduled: reconcile.", "Overdue: watch."]


def test_open_alarms(well: TwoSides) -> None:
    raise_alarm("silence:crm", "The CRM is quiet.", "Look at it.")
    raise_alarm("webhook:order.updated", "It was disabled.", "It is examined anew.")
    assert only_wrong().words == "The CRM is quiet."


# --- both sides ----------------------------------------------------------------------------------------------------


def test_a_key_that_may_only_read(well: TwoSides) -> None:
    well.shop.keys.may_write = False
    found = only_wrong()
    assert (found.check, found.level, "Read/Write" in found.advice) == ("shop", "error", True)


def test_a_wrong_key(well: TwoSides, settings: Any) -> None:
    settings.WOO_CONSUMER_SECRET = "cs_wrong"
    assert {one.check for one in wrong()} == {"shop", "webhooks"}


def test_wordpress_in_maintenance_mode(well: TwoSides) -> None:
    well.shop.faults.add("503-retry-after", after=600)
    found = wrong()
    assert {one.check for one in found} == {"shop", "webhooks"}
    for one in found:
        assert "maintenance mode (an update is running)" in one.words and ".maintenance" in one.advice


def test_a_side_that_is_away(well: TwoSides) -> None:
    well.crm.stop()
    assert "cannot be reached" in only_wrong().words


@pytest.mark.parametrize(
    ("side", "ahead", "level"),
    [("shop", 90, "warning"), ("shop", -3600, "error"), ("crm", -90, "warning"), ("crm", 600, "error")],
)
def test_clocks(well: TwoSides, side: str, ahead: int, level: str) -> None:
    getattr(well, side).clock_is_ahead = timedelta(seconds=ahead)
    well.crm._listed_from.clear()
    found = only_wrong()
    assert (found.check, found.level) == ("clock", level)
    assert ("ahead of" if ahead > 0 else "behind") in found.words


def test_a_status_that_the_shop_does_not_know(well: TwoSides) -> None:
    StatusRule.objects.filter(crm_status="shipped").update(woo_status="posted")
    found = only_wrong()
    assert (found.check, "'posted'" in found.words) == ("statuses", True)


def test_a_webhook_that_is_missing(well: TwoSides) -> None:
    well.shop.webhooks.popitem()
    found = only_wrong()
    assert (found.check, "shop_webhooks ensure" in found.advice) == ("webhooks", True)


def test_a_crm_that_does_not_find_or_list_what_is_there(well: TwoSides) -> None:
    well.crm.list_lag = 3600
    crm = well.crm.add_order("15")
    later = timezone.now() + timedelta(seconds=5)
    OrderLinkFactory(woo_id=15, crm_order_id=crm["id"], crm_updated_at=later)
    assert ["does not find" in one.words or "lacks" in one.words for one in wrong()] == [True, True]


def test_a_crm_that_ignores_the_filter(well: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(120):
        well.crm.add_order(f"other-{n}")
    listed = well.crm._list
    monkeypatch.setattr(well.crm, "_list", lambda query: listed({k: v for k, v in query.items() if k != "external_id"}))
    found = only_wrong()
    assert (found.level, "ignores the filter" in found.words) == ("warning", True)


# --- schedules -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_schedules_follow_the_settings(settings: Any) -> None:
    settings.RECONCILE_MINUTES = 7
    Schedule.objects.filter(name="watch").delete()
    sweep = Schedule.objects.get(name="sweep").next_run
    schedules.keep_in_step()
    assert Schedule.objects.get(name="reconcile").minutes == 7
    assert Schedule.objects.filter(name="watch", func="sync.tasks.watch").exists()
    assert Schedule.objects.get(name="sweep").next_run == sweep
    deep = Schedule.objects.get(name="reconcile deep")
    assert (deep.minutes, deep.next_run.hour, deep.next_run.minute) == (1440, 3, 17)


@pytest.mark.django_db
def test_migrate_makes_them_all() -> None:
    planned = {(one.name, one.task) for one in schedules.planned()}
    assert planned == set(Schedule.objects.values_list("name", "func"))


def test_a_status_of_a_plugin_that_nobody_moves_orders_out_of(well: TwoSides) -> None:
    well.shop.statuses.append("packed")
    found = only_wrong()
    assert (found.check, found.level, "packed" in found.words) == ("statuses", "warning", True)


def test_orders_in_a_status_whose_plugin_is_gone(well: TwoSides) -> None:
    OrderLinkFactory(woo_status="packed")
    found = only_wrong()
    assert (found.check, "1 linked orders are 'packed'" in found.words) == ("statuses", True)
