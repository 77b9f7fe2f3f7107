"""Of two bridges: what the doctor says of each, and how lists, pages, runs and alarms keep them apart."""

import json
from datetime import timedelta
from io import StringIO
from itertools import product
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.models import OrderLink, StaffAction, StatusRule
from orders.rules import give_default_lifecycle
from sync.alarms import raise_alarm
from sync.models import (
    Alarm,
    DriftFinding,
    HourlyFigure,
    Notification,
    Recipient,
    Run,
    SideState,
    TodoItem,
)
from sync.monitoring import doctor, lasting
from sync.notifications import outbox
from sync.pipeline.process import Turns, process_due
from tests.factories import AttemptFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.sync.conftest import Two
from webhooks.backoffice.bridges import BridgeFilter, ByBridge
from webhooks.checks import OF_THE_ENVIRONMENT
from webhooks.connections import Bridge, Connection, default_bridge
from webhooks.models import RefusedDelivery, State, WebhookEvent

# --- the doctor ----------------------------------------------------------------------------------------------------


def test_the_doctor_asks_each_bridge_and_says_of_which_it_speaks(two: Two) -> None:
    link = OrderLink.objects.create(bridge=two.bridge, woo_id=7, crm_order_id="C-7", crm_updated_at=timezone.now())
    findings = doctor.examine("shop", "webhooks", "crm")
    assert {(one.bridge, one.check) for one in findings} >= set(
        product(("default", "two"), ("shop", "clock", "statuses", "webhooks", "crm"))
    )
    lost = [one for one in findings if link.crm_order_id in one.words]
    assert {(one.bridge, one.level) for one in lost} == {("two", "error")}
    assert any(two.bridge.prefix + "7" in one.words for one in lost)
    Bridge.objects.filter(pk=two.bridge.pk).update(archived_at=timezone.now())
    assert {one.bridge for one in doctor.examine("shop")} == {""}


def test_the_doctor_examines_one_bridge_if_it_is_named(two: Two) -> None:
    Connection.objects.filter(pk=two.bridge.shop_id).update(settings={"url": "http://127.0.0.1:9"})
    raise_alarm("away:crm", "Its CRM is away.", "Mend it.", bridge=two.bridge.pk)
    told = {slug: in_words(slug) for slug in ("default", "two")}
    assert ("ERROR    shop" in told["two"], "ERROR    shop" in told["default"]) == (True, False)
    assert ("Its CRM is away." in told["two"], "Its CRM is away." in told["default"]) == (True, False)
    assert all("queue" in words for words in told.values())
    with pytest.raises(CommandError, match="There are: default, two") as failure:
        call_command("doctor", "--bridge", "three")
    assert failure.value.returncode == 2


def in_words(slug: str) -> str:
    out = StringIO()
    with pytest.raises(CommandError):  # no worker runs
        call_command("doctor", "--bridge", slug, stdout=out)
    return out.getvalue()


OF_THE_WHOLE = {
    "backup healthcheck installation notify prune qcluster reset_second_factor rotate_credentials sandbox setup_link",
    "send_webhook verify_audit run",
}
"""`send_webhook` takes --connection, and `run` what the form of the kind asks for."""


def test_whatever_calls_a_side_takes_a_bridge() -> None:
    ours = {name for name, app in get_commands().items() if app in ("integration_site", "sync", "orders", "webhooks")}
    without = {name for name in ours if "--bridge" not in help_of(name)}
    assert without == set(" ".join(OF_THE_WHOLE).split())


def help_of(name: str) -> str:
    return load_command_class(get_commands()[name], name).create_parser("manage.py", name).format_help()


def test_what_is_wrong_with_a_row_is_put_right_on_its_page(two: Two) -> None:
    two.bridge.shop.settings = {"url": "http://127.0.0.1:9"}
    two.bridge.shop.save()
    [found] = [one for one in doctor.examine("shop") if one.bridge == "two"]
    assert (found.level, "refuses the connection" in found.words) == ("error", True)
    assert found.advice == "Start what should listen there, or correct the address."
    said = {"side": "shop", "source": "sweep", "order_ref": "1", "dedupe_key": "x", "topic": "order.created"}
    event = WebhookEvent.objects.create(**said, bridge=two.bridge)
    process_due(Turns())
    event.refresh_from_db()
    assert "correct the address" in event.reason + event.tries.latest("pk").error
    assert "WOO_URL" not in event.reason + event.tries.latest("pk").error


def test_settings_that_nobody_needs_are_not_missed(two: Two, settings: Any) -> None:
    missing = {one.words for one in doctor.examine("settings") if "is not set" in one.words}
    for name in OF_THE_ENVIRONMENT:
        setattr(settings, name, "")
    settings.WOO_WEBHOOK_SECRETS = settings.CRM_WEBHOOK_SECRETS = []
    assert {one.words for one in doctor.examine("settings") if "is not set" in one.words} <= missing
    assert {one.bridge for one in doctor.examine("shop")} == {""}
    Bridge.objects.filter(pk=two.bridge.pk).update(archived_at=timezone.now())
    assert any("WOO_URL is not set" in one.words for one in doctor.examine("settings"))


# --- the back office -----------------------------------------------------------------------------------------------

LISTS = (
    "webhooks/webhookevent",
    "orders/orderlink",
    "orders/statustransition",
    "sync/attempt",
    "sync/todoitem",
    "sync/driftfinding",
    "sync/run",
    "sync/alarm",
    "sync/hourlyfigure",
)


def one_of_everything(bridge: Bridge, woo_id: int) -> None:
    event = WebhookEventFactory(bridge=bridge, order_ref=str(woo_id), state=State.PARKED, next_attempt_at=None)
    AttemptFactory(event=event)
    link = OrderLinkFactory(bridge=bridge, woo_id=woo_id, crm_order_id=f"C-{woo_id}")
    StatusTransitionFactory(link=link, event=event)
    TodoItem.objects.create(bridge=bridge, cause="parked", order=f"woo:{woo_id}", woo_id=woo_id, words="Look at it.")
    DriftFinding.objects.create(bridge=bridge, kind="status", woo_id=woo_id)
    Run.objects.create(bridge=bridge, kind="drift", state="done", options={"dry_run": False})
    HourlyFigure.objects.create(bridge=bridge, hour=timezone.now(), what="call", side="crm", result="200", count=woo_id)
    raise_alarm("silence:shop", f"Alarm {woo_id}.", "Look at it.", bridge=bridge.pk)


@pytest.fixture
def pair(db: None) -> Bridge:
    """A second bridge that nobody calls."""
    shop = Connection.objects.create(slug="shop-2", name="Second shop", kind="woocommerce")
    crm = Connection.objects.get(slug="crm")
    bridge = Bridge.objects.create(slug="two", name="Zweite", shop=shop, crm=crm, state="on", external_id_prefix="b-")
    give_default_lifecycle(bridge.pk)
    return bridge


@pytest.mark.parametrize("path", LISTS)
def test_a_list_says_of_which_bridge_a_row_is_and_is_narrowed_to_one(
    pair: Bridge, admin_client: Client, path: str, django_assert_max_num_queries: Any
) -> None:
    for number, bridge in enumerate((default_bridge(), pair), start=31):
        one_of_everything(bridge, number)
    model = apps.get_model(path.replace("/", "."))
    for bridge in (default_bridge(), pair):
        answer = admin_client.get(f"/admin/{path}/?bridge={bridge.pk}")
        rows = answer.context["cl"].result_list
        assert {ByBridge.of_bridge(answer.context["cl"].model_admin, row) for row in rows} == {bridge.name}
        assert len(rows) == model.objects.count() / 2
    both = admin_client.get(f"/admin/{path}/")
    assert len(both.context["cl"].result_list) == model.objects.count()
    assert "Zweite" in both.content.decode()
    one_of_everything(pair, 33)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"/admin/{path}/")
    for number in range(40, 45):
        one_of_everything(pair, number)
    with django_assert_max_num_queries(len(queries)):
        admin_client.get(f"/admin/{path}/")


@pytest.mark.parametrize("path", LISTS)
def test_with_one_bridge_no_list_speaks_of_bridges(admin_client: Client, path: str) -> None:
    one_of_everything(default_bridge(), 31)
    answer = admin_client.get(f"/admin/{path}/")
    assert "of_bridge" not in answer.context["cl"].list_display
    assert not any(isinstance(one, BridgeFilter) for one in answer.context["cl"].filter_specs)


def test_home_shows_each_bridge_and_one_by_itself(pair: Bridge, admin_client: Client) -> None:
    assert "Zweite" in admin_client.get("/admin/").content.decode()
    for number in (31, 32):
        one_of_everything(pair, number)
    home = admin_client.get("/admin/")
    assert {row["bridge"].slug: (row["todo"], row["drift"]) for row in home.context["each_bridge"]} == {
        "default": (0, 0),
        "two": (2, 2),
    }
    assert "Zweite: Alarm 32." in home.content.decode()
    mine = admin_client.get(f"/admin/?bridge={pair.pk}").context
    other = admin_client.get("/admin/?bridge=1").context
    assert (len(mine["todo"]), len(mine["transitions"]), len(mine["banners"])) == (2, 2, 1 + len(other["banners"]))
    assert (len(other["todo"]), len(other["transitions"])) == (0, 0)
    counts = {item.label: item.value for item in mine["summary"]}
    assert (counts["Parked"], counts["Drift"]) == ("2", "2")
    assert {item.label: item.value for item in other["summary"]}["Parked"] == "0"
    assert all(f"bridge={pair.pk}" in item.link for item in mine["summary"] if item.label in ("Parked", "Drift"))


def test_the_lifecycle_is_that_of_one_bridge(pair: Bridge, admin_client: Client) -> None:
    StatusRule.objects.filter(bridge=pair, crm_status="shipped").update(woo_status="shipped-b")
    for path in ("orders/statusrule", "orders/allowedmove"):
        for bridge in (default_bridge(), pair):
            answer = admin_client.get(f"/admin/{path}/?bridge={bridge.pk}")
            assert {row.bridge_id for row in answer.context["cl"].result_list} == {bridge.pk}
        assert {row.bridge_id for row in admin_client.get(f"/admin/{path}/").context["cl"].result_list} == {1}
    of = f"_changelist_filters=bridge%3D{pair.pk}"
    said = {"crm_status": "packed", "woo_status": "processing"}
    admin_client.post(f"/admin/orders/statusrule/add/?{of}", said)
    admin_client.post("/admin/orders/statusrule/add/", said)
    assert set(StatusRule.objects.filter(crm_status="packed").values_list("bridge", flat=True)) == {1, pair.pk}


def test_a_run_is_started_for_the_bridge_that_is_chosen(pair: Bridge, admin_client: Client) -> None:
    url = "/admin/sync/run/start/drift/"
    assert "Zweite" in admin_client.get(url).content.decode()
    assert "bridge" in admin_client.post(url, {"reason": "look"}).context["form"].errors
    admin_client.post(url, {"reason": "look", "bridge": "two"})
    assert [run.bridge_id for run in Run.objects.filter(kind="drift")] == [pair.pk]
    admin_client.post("/admin/sync/run/start/month_end/", {"reason": "look", "bridge": "two"})
    run = Run.objects.get(kind="month_end")
    assert (run.bridge_id, run.options["bridge"]) == (pair.pk, "two")


def test_with_one_bridge_nobody_is_asked_for_it(admin_client: Client) -> None:
    admin_client.post("/admin/sync/run/start/drift/", {"reason": "look"})
    assert [run.bridge_id for run in Run.objects.filter(kind="drift")] == [1]


def test_an_alarm_is_muted_for_its_bridge_alone(pair: Bridge, admin_client: Client) -> None:
    Recipient.objects.create(name="Ann", address="json://127.0.0.1:9/")
    for pk in (1, pair.pk):
        raise_alarm("silence:shop", f"Alarm of {pk}.", "Look at it.", bridge=pk)
    muted = Alarm.objects.get(bridge=1)
    until = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"
    admin_client.post(f"/admin/sync/alarm/{muted.pk}/mute/", {"until": until, "reason": "known"})
    outbox.fill(timezone.now())
    assert [one.words for one in Notification.objects.all()] == [f"Zweite: Alarm of {pair.pk}."]


def test_what_lasts_is_told_of_its_bridge(pair: Bridge) -> None:
    one_of_everything(pair, 31)
    Alarm.objects.all().delete()
    long_ago = timezone.now() - timedelta(days=9)
    TodoItem.objects.update(opened_at=long_ago)
    DriftFinding.objects.update(found_at=long_ago)
    WebhookEventFactory(bridge=pair, next_attempt_at=long_ago)
    lasting.on_schedule()
    assert set(Alarm.objects.filter(cleared_at=None).values_list("bridge", "key")) == {
        (pair.pk, key) for key in ("todo:parked", "drift", "backlog")
    }
    SideState.objects.filter(name="shop-2").update(opened_at=long_ago)
    lasting.on_schedule()
    assert set(Alarm.objects.filter(cleared_at=None).values_list("bridge", "key")) == {
        (pair.pk, "todo:parked"),
        (pair.pk, "drift"),
        (None, "away:shop-2"),
    }
    assert "Second shop" in Alarm.objects.get(key="away:shop-2").words
    Connection.objects.filter(slug="shop-2").update(archived_at=timezone.now())
    lasting.on_schedule()
    assert not Alarm.objects.filter(cleared_at=None, key="away:shop-2").exists()


def test_a_bridge_is_renamed_and_its_prefix_changes_until_one_is_linked(pair: Bridge, admin_client: Client) -> None:
    url = f"/admin/webhooks/bridge/{pair.pk}/edit/"
    said = {"name": "Österreich", "external_id_prefix": "at-", "reason": "a new name"}
    assert admin_client.post(url, said).status_code == 302
    pair.refresh_from_db()
    assert (pair.name, pair.slug, pair.external_id_prefix) == ("Österreich", "two", "at-")
    done = StaffAction.objects.get(action="bridge: edit")
    assert done.result == "Österreich. It was called Zweite before. Its prefix is at- and was b-."
    same = admin_client.post(url, {**said, "external_id_prefix": ""}).content.decode()
    assert "two orders of the same number would be one there" in same  # the environment's has none either
    OrderLinkFactory(bridge=pair)
    assert admin_client.post(url, {**said, "name": "Tirol", "external_id_prefix": "c-"}).status_code == 302
    pair.refresh_from_db()
    assert (pair.name, pair.external_id_prefix) == ("Tirol", "at-")
    assert "external_id_prefix" not in admin_client.get("/admin/webhooks/bridge/1/edit/").context["form"].fields


def test_a_search_and_the_way_on_lead_to_the_order_of_the_rows_own_shop(pair: Bridge, admin_client: Client) -> None:
    for bridge, number in ((default_bridge(), "INV-1"), (pair, "INV-2")):
        one_of_everything(bridge, 31)
        OrderLink.objects.filter(bridge=bridge).update(number=number)
    for path in ("sync/todoitem", "sync/driftfinding"):
        found = admin_client.get(f"/admin/{path}/?q=INV-2").context["cl"].result_list
        assert [row.bridge_id for row in found] == [pair.pk]
    TodoItem.objects.update(cause="lost")
    mine = OrderLink.objects.get(bridge=pair)
    page = admin_client.get(f"/admin/sync/todoitem/?bridge={pair.pk}").content.decode()
    assert f"/admin/orders/orderlink/{mine.pk}/change/" in page


def test_explain_asks_for_the_bridge_only_where_several_have_the_order(pair: Bridge) -> None:
    OrderLinkFactory(bridge=pair, woo_id=71, crm_order_id="C-71")
    out = StringIO()
    call_command("explain", "71", "--json", stdout=out)
    assert json.loads(out.getvalue())["crm_order_id"] == "C-71"
    OrderLinkFactory(woo_id=71, crm_order_id="C-1")
    with pytest.raises(CommandError, match="There are: default, two"):
        call_command("explain", "71")
    out = StringIO()
    call_command("explain", "71", "--bridge", "two", "--json", stdout=out)
    assert json.loads(out.getvalue())["crm_order_id"] == "C-71"


def test_what_was_refused_says_at_which_connection(pair: Bridge, admin_client: Client) -> None:
    for slug in ("shop", "shop-2"):
        RefusedDelivery.objects.create(source="woocommerce", connection=slug, reason="bad_signature")
    rows = admin_client.get("/admin/webhooks/refuseddelivery/?connection=shop-2").context["cl"].result_list
    assert [row.connection for row in rows] == ["shop-2"]


def test_the_page_of_an_event_speaks_of_its_own_connections(pair: Bridge, admin_client: Client, settings: Any) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    event = WebhookEventFactory(bridge=pair)
    url = f"/admin/webhooks/webhookevent/{event.pk}/change/"
    page = admin_client.get(url)
    assert "https://bridge.example/webhooks/woocommerce/shop-2/" in page.context["curl"]
    assert page.context["of_bridge"] == "Zweite" and page.context["why"] == []
    Bridge.objects.filter(pk=pair.pk).update(state="paused")
    assert any("the bridge Zweite is not switched on" in words for words in admin_client.get(url).context["why"])
    link = OrderLinkFactory(bridge=pair)
    order = admin_client.get(f"/admin/orders/orderlink/{link.pk}/change/")
    assert order.context["of_bridge"] == "Zweite"


def test_the_webhooks_are_those_of_the_bridge_that_is_chosen(two: Two, admin_client: Client, settings: Any) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    mine, other = two.sides[two.bridge.pk].shop, two.sides[1].shop
    page, of = "/admin/sync/sidestate/webhooks/", f"?bridge={two.bridge.pk}"
    raise_alarm("webhook:order.updated", "Webhook order.updated: It is off.", "Mend it.", bridge=1)
    assert "It is off." in admin_client.get(page).content.decode()
    assert "It is off." not in admin_client.get(f"{page}{of}").content.decode()
    answer = admin_client.post(f"{page}{of}").content.decode()
    assert "https://bridge.example/webhooks/woocommerce/shop-2/" in answer
    assert set(Alarm.objects.filter(cleared_at=None, bridge=two.bridge).values_list("key", flat=True)) >= {
        "webhook:order.created"
    }
    admin_client.post(f"{page}ensure/{of}", {"confirmed": "yes", "reason": "they are missing"})
    urls = {hook["delivery_url"] for hook in mine.webhooks.values()}
    assert (len(mine.webhooks), urls) == (4, {"https://bridge.example/webhooks/woocommerce/shop-2/"})
    assert not other.webhooks and not other.requests
    assert StaffAction.objects.get(action="webhooks: ensure").details["bridge"] == "two"
