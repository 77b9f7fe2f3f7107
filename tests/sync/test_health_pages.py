"""Our webhooks in the shop and the doctor, from the back office."""

import threading
from typing import Any
from unittest.mock import patch

import pytest

from orders.models import StaffAction
from sync.alarms import raise_alarm
from sync.models import Alarm, Run
from sync.monitoring import doctor
from sync.monitoring.findings import Finding
from sync.sandbox.shop import SandboxShop
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from tests.sync.test_shop_webhooks import linked_to_another_shop

HOOKS = "/admin/sync/sidestate/webhooks/"
DOCTOR = "/admin/sync/sidestate/doctor/"
SURE = {"confirmed": "yes", "reason": "disabled over night"}


@pytest.fixture
def shop(two_sides: TwoSides, settings: Any) -> SandboxShop:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    settings.WOO_WEBHOOK_SECRETS = ["first-secret"]
    return two_sides.shop


@pytest.fixture(autouse=True)
def enqueue() -> Any:
    with patch("sync.jobs.engine.enqueue") as enqueued:
        yield enqueued


def active(shop: SandboxShop) -> set[str]:
    return {hook["topic"] for hook in shop.webhooks.values() if hook["status"] == "active"}


@pytest.mark.django_db
def test_a_viewer_sees_the_last_look_and_may_press_nothing() -> None:
    raise_alarm("webhook:order.updated", "Webhook order.updated: It is off.", "Then run `shop_webhooks repair`.")
    client = signed_in("viewer")
    shown = client.get(HOOKS).content.decode()
    assert "It is off." in shown
    assert "Then press Repair." in shown
    assert "Check now" not in shown
    assert "/repair/" not in shown
    assert client.post(HOOKS).status_code == 403
    for action in ("ensure", "repair", "remove"):
        assert client.post(f"{HOOKS}{action}/", SURE).status_code == 403


@pytest.mark.django_db
def test_support_may_check_and_not_repair() -> None:
    client = signed_in("support")
    shown = client.get(HOOKS).content.decode()
    assert "Check now" in shown
    assert "/repair/" not in shown
    assert client.post(f"{HOOKS}repair/", SURE).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["ensure", "repair", "remove", "nonsense"])
def test_a_get_of_an_action_asks_nobody(action: str) -> None:
    assert signed_in("operator").get(f"{HOOKS}{action}/")["Location"] == HOOKS


def test_a_check_asks_the_shop_and_raises_alarms(shop: SandboxShop) -> None:
    shown = signed_in("support").post(HOOKS).content.decode()
    assert "We asked the shop just now" in shown
    assert shown.count("The shop has no such webhook.") == 4
    assert Alarm.objects.filter(key__startswith="webhook:", cleared_at=None).count() == 4


def test_missing_ones_are_created_after_the_steps_were_shown(shop: SandboxShop) -> None:
    client = signed_in("operator")
    shown = client.post(f"{HOOKS}ensure/").content.decode()
    assert "create order.restored" in shown
    assert not shop.webhooks
    client.post(f"{HOOKS}ensure/", {"confirmed": "yes", "reason": ""})
    assert not shop.webhooks
    told = client.post(f"{HOOKS}ensure/", SURE, follow=True).content.decode()
    assert "4 changes made. All four are active." in told
    assert len(active(shop)) == 4
    done = StaffAction.objects.get()
    assert (done.action, done.reason) == ("webhooks: ensure", "disabled over night")
    assert not Run.objects.exists()


def test_a_repair_makes_the_broken_one_again_and_fetches_what_was_missed(shop: SandboxShop) -> None:
    client = signed_in("operator")
    client.post(f"{HOOKS}ensure/", SURE)
    number, broken = next((n, h) for n, h in shop.webhooks.items() if h["topic"] == "order.updated")
    broken["status"] = "disabled"
    shown = client.post(f"{HOOKS}repair/").content.decode()
    assert f"delete order.updated ({number})" in shown
    told = client.post(f"{HOOKS}repair/", SURE, follow=True).content.decode()
    run = Run.objects.get()
    assert f"{run} fetches what was missed" in told
    assert len(active(shop)) == len(shop.webhooks) == 4
    assert number not in shop.webhooks
    assert not Alarm.objects.filter(cleared_at=None).exists()
    assert (run.kind, run.actor, run.reason) == ("reconcile", "operator", "disabled over night")


def test_where_all_is_well_there_is_nothing_to_do(shop: SandboxShop) -> None:
    client = signed_in("operator")
    client.post(f"{HOOKS}ensure/", SURE)
    assert "There is nothing to do." in client.post(f"{HOOKS}repair/").content.decode()


@pytest.mark.parametrize("said", [{}, SURE])
@pytest.mark.parametrize("action", ["ensure", "repair", "remove"])
def test_another_shop_behind_the_address_is_left_alone(shop: SandboxShop, action: str, said: dict[str, str]) -> None:
    linked_to_another_shop(shop)
    told = signed_in("operator").post(f"{HOOKS}{action}/", said, follow=True).content.decode()
    assert "does not have the orders that are linked here" in told
    assert {call.method for call in shop.requests} == {"GET"}


def test_removed_after_a_reason(shop: SandboxShop) -> None:
    client = signed_in("operator")
    client.post(f"{HOOKS}ensure/", SURE)
    client.post(f"{HOOKS}remove/", SURE)
    assert not shop.webhooks


def test_a_shop_that_does_not_answer_is_a_message(shop: SandboxShop, settings: Any) -> None:
    settings.WOO_URL = "http://127.0.0.1:1"
    client = signed_in("operator")
    assert "This page shows the last known state" in client.post(HOOKS).content.decode()
    told = client.post(f"{HOOKS}repair/", SURE, follow=True).content.decode()
    assert "Fix that, then press the button again" in told


def test_without_a_secret_nothing_is_created_and_it_is_said(shop: SandboxShop, settings: Any) -> None:
    settings.WOO_WEBHOOK_SECRETS = []
    told = signed_in("operator").post(f"{HOOKS}ensure/", SURE, follow=True).content.decode()
    assert "WOO_WEBHOOK_SECRETS is not set" in told
    assert not shop.webhooks
    assert "not set" in StaffAction.objects.get().result


# --- the doctor ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_viewer_may_not_examine() -> None:
    client = signed_in("viewer")
    assert "Run the checks" not in client.get(DOCTOR).content.decode()
    assert client.post(DOCTOR).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_the_doctor_says_what_is_wrong_and_what_to_do_worst_first(two_sides: TwoSides) -> None:
    client = signed_in("support")
    assert "Run the checks" in client.get(DOCTOR).content.decode()
    assert not StaffAction.objects.exists()
    shown = client.post(DOCTOR).content.decode()
    assert "No worker is running" in shown
    assert "manage.py qcluster" in shown
    assert "The key may read orders." in shown
    assert shown.index("No worker is running") < shown.index("The key may read orders.")
    assert StaffAction.objects.get().action == "doctor"


@pytest.mark.django_db(transaction=True)
def test_a_check_that_takes_too_long_is_named_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow() -> Any:
        go_on.wait()
        return iter([Finding(check="shop", level="ok", words="at last")])

    quick = [Finding(check="queue", level="ok", words="A worker works.")]
    checks = {"shop": slow, "queue": lambda: iter(quick)}
    planned = [doctor.Check(name=name, look=look) for name, look in checks.items()]
    monkeypatch.setattr(doctor, "planned", lambda: planned)
    try:
        late, *rest = doctor.examine_within(0.05)
    finally:
        go_on.set()
    assert (late.check, late.level) == ("shop", "error")
    assert "manage.py doctor" in late.advice
    assert rest == quick


# --- home ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("key", "page"), [("webhook:order.updated", HOOKS), ("silence:shop", "/admin/sync/run/start/reconcile/")]
)
def test_the_banner_of_an_alarm_has_the_button_that_mends_it(key: str, page: str) -> None:
    raise_alarm(key, "Something is wrong.", "Mend it.")
    href = f'<a href="{page}"'
    assert href in signed_in("operator").get("/admin/").content.decode()
    viewer = signed_in("viewer").get("/admin/").content.decode()
    assert "Something is wrong." in viewer
    assert f"{href}  " not in viewer.split('role="alert"')[1].split("</div>")[0]


@pytest.mark.django_db
def test_the_line_of_truth_tells_of_the_webhooks() -> None:
    assert "1 not working" not in signed_in("viewer").get("/admin/").content.decode()
    raise_alarm("webhook:order.updated", "Something is wrong.", "Mend it.")
    assert "1 not working" in signed_in("viewer").get("/admin/").content.decode()
