"""A copied database under another address: nothing is called until somebody says that this is the one now."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from orders.models import StaffAction
from sync import registry, tasks
from sync.alarms import open_alarms
from sync.clients import crm as crm_backends
from sync.clients import installation
from sync.clients import shop as shop_client
from sync.jobs import backfill, drift, engine, reconciliation
from sync.models import Heartbeat, Installation, Run
from sync.monitoring import doctor
from tests.factories import WebhookEventFactory
from tests.pipeline import work_once
from tests.sync.conftest import TwoSides
from webhooks.models import State, WebhookEvent

HERE, ELSEWHERE = "https://bridge.example", "https://copy.example/bridge"


@pytest.fixture
def copied(db: None, settings: Any) -> None:
    """A database of HERE, under another address, in a process that has looked at nothing yet."""
    Installation.objects.create(public_url=HERE)
    settings.PUBLIC_URL = ELSEWHERE
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = "http://127.0.0.1:9", "ck", "cs"
    settings.CRM_URL = "http://127.0.0.1:9"
    installation.forget()


def page(role: str, path: str, **posted: str) -> Any:
    user = User.objects.create_user(role, password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client.post(path, posted, follow=True) if posted else client.get(path)


def command(*args: str) -> str:
    out = StringIO()
    call_command("installation", *args, stdout=out)
    return out.getvalue()


# --- what makes an installation another one ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://bridge.example", "https://bridge.example/"),
        ("https://bridge.example", "http://BRIDGE.example."),
        ("https://bridge.example", "https://bridge.example:443"),
        ("http://127.0.0.1:8000", "http://localhost:8123"),
        ("http://127.0.0.1:8000", "http://[::1]:9000"),
        ("http://0.0.0.0:8000", "http://bridge.localhost"),
    ],
)
def test_the_same_installation(one: str, other: str) -> None:
    assert installation.address(one) == installation.address(other)


@pytest.mark.parametrize(
    "other",
    [
        "https://staging.example",
        "https://bridge.example:8443",
        "https://bridge.example/staging",
        "http://127.0.0.1:8000",
    ],
)
def test_another_installation(other: str) -> None:
    assert installation.address(HERE) != installation.address(other)


# --- the first start -----------------------------------------------------------------------------------------------


def test_the_first_worker_stores_the_address_and_a_page_does_not(db: None, settings: Any) -> None:
    settings.PUBLIC_URL = HERE
    installation.forget()
    page("viewer", "/admin/")
    installation.ensure_ours("shop")
    assert not Installation.objects.exists()
    assert installation.may_call()
    assert [row.public_url for row in Installation.objects.all()] == [HERE]


def test_a_first_look_on_this_machine_may_move_anywhere_and_a_port_is_nothing(db: None, settings: Any) -> None:
    for url in ("http://127.0.0.1:8000", "http://127.0.0.1:8321", HERE):
        settings.PUBLIC_URL = url
        installation.forget()
        assert installation.may_call()
        assert [row.public_url for row in Installation.objects.all()] == [url]


# --- a copy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connect", [shop_client.connect, crm_backends.connect])
def test_no_client_is_made_and_the_error_says_what_to_do(copied: None, connect: Any) -> None:
    with pytest.raises(installation.NotThisInstallation, match=r"bridge\.example.*copy\.example.*--confirm"):
        connect()


def test_a_worker_leaves_what_is_due_and_raises_the_alarm_until_the_address_is_right(
    two_sides: TwoSides, settings: Any
) -> None:
    Installation.objects.create(public_url=HERE)
    settings.PUBLIC_URL = ELSEWHERE
    installation.forget()
    two_sides.order(14)
    event = WebhookEventFactory(order_ref="14")
    assert not work_once()
    event.refresh_from_db()
    assert (event.state, two_sides.shop.requests, two_sides.crm.requests) == (State.PENDING, [], [])
    assert [alarm.key for alarm in open_alarms()] == [installation.ALARM]

    settings.PUBLIC_URL = HERE
    assert work_once()
    assert WebhookEvent.objects.get().outcome == "created"
    assert not open_alarms().exists()


def test_a_run_ends_with_the_reason(copied: None) -> None:
    run = backfill.start(actor="somebody")
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert "belongs to the installation at https://bridge.example" in run.error


def test_what_the_schedule_does_is_left_alone(copied: None) -> None:
    ours = [one for one in registry.planned() if one.start in (reconciliation.scheduled, drift.scheduled)]
    assert ours
    for one in ours:
        assert one.start is not None
        engine.on_schedule(one.start)
    assert not Run.objects.exists()
    tasks.watch()
    assert {alarm.key for alarm in open_alarms()} <= {installation.ALARM}


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("operator", False), ("manager", True)])
def test_the_home_page_says_why_and_who_may_gets_the_button(copied: None, role: str, may: bool) -> None:
    installation.may_call()
    shown = page(role, "/admin/").content.decode()
    assert shown.count("It may be a copy") == 1
    assert ("/admin/sync/sidestate/installation/" in shown) == may


def test_the_doctor_names_it_once_and_readyz_tells_without_being_unready(copied: None) -> None:
    installation.may_call()
    Heartbeat.objects.create(worker="w", at=timezone.now())
    WebhookEventFactory(next_attempt_at=timezone.now() - timedelta(hours=1))
    [found] = doctor.examine("installation", "alarms")
    assert (found.check, found.level) == ("installation", "error")
    answer = Client().get("/readyz")
    assert (answer.status_code, list(answer.json()["paused"])) == (200, ["installation"])
    assert HERE not in answer.content.decode()


# --- this is the one now -------------------------------------------------------------------------------------------


def test_a_manager_confirms_it_with_a_reason(copied: None) -> None:
    assert not installation.may_call()
    path = "/admin/sync/sidestate/installation/"
    assert page("operator", path, reason="we moved", confirmed="yes").status_code == 403
    assert not installation.may_call()
    shown = page("manager", path, reason="we moved", confirmed="yes").content.decode()
    assert "It may be a copy" not in shown
    assert installation.may_call() and not open_alarms().exists()
    action = StaffAction.objects.get()
    assert (action.action, action.actor, action.reason) == ("confirm installation", "manager", "we moved")
    assert HERE in action.result and ELSEWHERE in action.result


def test_the_command_says_how_it_is_and_confirms(copied: None) -> None:
    with pytest.raises(CommandError, match="may be a copy") as refused:
        command()
    assert refused.value.returncode == 1
    with pytest.raises(CommandError, match="--reason") as refused:
        command("--confirm")
    assert refused.value.returncode == 2
    assert json.loads(command("--confirm", "--reason", "moved", "--dry-run", "--json"))["confirmed"] is False
    assert installation.displaced()
    said = json.loads(command("--confirm", "--reason", "moved", "--json"))
    assert (said["public_url"], said["confirmed"], said["paused"]) == (ELSEWHERE, True, "")
    assert not installation.displaced()
    assert command() == f"The database belongs to the installation at {ELSEWHERE}.\n"
    assert StaffAction.objects.get().actor == "command"


def test_nothing_is_to_be_confirmed_where_nothing_is_wrong(db: None) -> None:
    shown = page("manager", "/admin/sync/sidestate/installation/", reason="x", confirmed="yes").content.decode()
    assert "nothing to confirm" in shown
    assert not StaffAction.objects.exists()
