"""Health, readiness and metrics tell the truth, to those who may know."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integration_site import health
from orders.models import OrderLink, StatusTransition
from sync.alarms import clear, raise_alarm
from sync.models import Attempt, Call, DriftFinding, Heartbeat, SideState
from webhooks.connections import Bridge, Connection, default_bridge
from webhooks.models import RefusalCount, WebhookEvent


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    settings.METRICS_TOKEN = ""
    monkeypatch.setattr(health._Migrations, "applied", False)
    yield


@pytest.fixture
def well(db: None) -> None:
    """A service at work: both sides known, a worker that has just reported."""
    for name in ("shop", "crm"):
        SideState.objects.update_or_create(name=name, defaults={"opened_at": None, "paused": False, "wait_until": None})
    Heartbeat.objects.create(worker="one", at=timezone.now())


def event(key: str, **fields: Any) -> WebhookEvent:
    return WebhookEvent.objects.create(**{"side": "shop", "source": "woocommerce", "dedupe_key": key, **fields})


def late(seconds: float = health.OVERDUE_SECONDS + 60) -> WebhookEvent:
    return event("late", next_attempt_at=timezone.now() - timedelta(seconds=seconds))


# --- alive ---------------------------------------------------------------------------------------------------------


def test_healthz_touches_nothing(client: Client) -> None:
    # No database mark: any query would fail the test.
    assert client.get("/healthz").status_code == 200
    assert client.head("/healthz").status_code == 200


@pytest.mark.parametrize("host", ["10.1.2.3:8000", "elsewhere.example", "no host"])
@pytest.mark.django_db
def test_a_probe_calls_by_any_address(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    answer = client.get("/readyz", headers={"Host": host})
    assert answer.status_code in (200, 503) and set(answer.json()) == {"status", "wrong"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_only_reading(path: str) -> None:
    for method in ("post", "put", "delete"):
        assert getattr(Client(enforce_csrf_checks=True), method)(path).status_code == 405


# --- ready ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("well")
def test_ready(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "wrong": {}})
    assert client.head("/readyz").status_code == 200


@pytest.mark.usefixtures("well")
def test_ready_is_cheap(client: Client) -> None:
    client.get("/readyz")
    late()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get("/readyz")
    assert len(queries) <= 3


def test_no_worker_yet(client: Client, db: None) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not_ready", "wrong": {"heartbeat": health.NO_WORKER}}


@pytest.mark.usefixtures("well")
def test_deaf_worker(client: Client) -> None:
    Heartbeat.objects.update(at=timezone.now() - timedelta(seconds=181))
    assert "deaf" in client.get("/readyz").json()["wrong"]["heartbeat"]
    Heartbeat.objects.create(worker="two", at=timezone.now() - timedelta(seconds=100))
    assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("well")
def test_late_event(client: Client) -> None:
    late()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["wrong"]) == ["oldest_due"]


@pytest.mark.usefixtures("well")
def test_not_late_yet(client: Client) -> None:
    late(200)
    assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize(
    "held",
    [
        {"opened_at": timezone.now()},
        {"paused": True},
        {"wait_until": timezone.now() + timedelta(hours=1)},
    ],
)
def test_waiting_for_a_side_is_not_late(client: Client, held: dict[str, Any]) -> None:
    late()
    SideState.objects.filter(name="crm").update(**held)
    assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("well")
def test_missing_migrations_are_named_and_asked_again(client: Client) -> None:
    step = mock.Mock(app_label="orders")
    step.name = "0099_more"
    with mock.patch.object(health.MigrationExecutor, "migration_plan", return_value=[(step, False)]):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "orders.0099_more" in answer.json()["wrong"]["migrations"]
    assert client.get("/readyz").status_code == 200
    with mock.patch.object(health.MigrationExecutor, "migration_plan", side_effect=AssertionError):
        assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("well")
def test_database_away(client: Client) -> None:
    with mock.patch.object(health, "what_is_wrong", side_effect=OperationalError("password=secret")):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["wrong"]) == ["database"]
    assert "secret" not in answer.content.decode()


# --- metrics -------------------------------------------------------------------------------------------------------


def scrape(client: Client) -> dict[str, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    lines = [line for line in answer.content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.usefixtures("well")
def test_metrics(client: Client) -> None:
    first = event("a", state="done", next_attempt_at=None, duplicates=2)
    event("b", next_attempt_at=timezone.now() - timedelta(seconds=50))
    event("c", side="crm", source="crm", state="parked", next_attempt_at=None)
    event("d", source="sweep", state="done", next_attempt_at=None)
    RefusalCount.objects.create(source="crm", reason="bad_signature", count=4)
    RefusalCount.objects.create(source="crm", reason="stale_timestamp", count=1)
    attempt = Attempt.objects.create(event=first, trigger="delivery", result="created")
    for side, status, milliseconds in (("crm", 201, 100), ("crm", None, 400), ("shop", 200, 50)):
        Call.objects.create(attempt=attempt, side=side, method="GET", url="/", status=status, milliseconds=milliseconds)
    link = OrderLink.objects.create(woo_id=1, crm_order_id="C-1")
    StatusTransition.objects.create(link=link, from_status="a", to_status="b", decision="applied", reason="")
    SideState.objects.filter(name="crm").update(opened_at=timezone.now(), last_heard_at=timezone.now())

    found = scrape(client)

    expected = {
        'orderbridge_deliveries_total{answer="accepted",source="woocommerce"}': 2,
        'orderbridge_deliveries_total{answer="accepted",source="crm"}': 1,
        'orderbridge_deliveries_total{answer="duplicate",source="woocommerce"}': 2,
        'orderbridge_deliveries_total{answer="refused",source="crm"}': 5,
        'orderbridge_refused_total{reason="bad_signature",source="crm"}': 4,
        'orderbridge_duplicates_total{source="woocommerce"}': 2,
        'orderbridge_duplicates_total{source="crm"}': 0,
        'orderbridge_events{state="done"}': 2,
        'orderbridge_events{state="pending"}': 1,
        'orderbridge_events{state="dead"}': 0,
        'orderbridge_attempts_total{outcome="created"}': 1,
        'orderbridge_calls_total{side="crm",status="201"}': 1,
        'orderbridge_calls_total{side="crm",status="0"}': 1,
        'orderbridge_call_seconds_sum{side="crm"}': 0.5,
        'orderbridge_call_seconds_count{side="crm"}': 2,
        'orderbridge_breaker_open{side="crm"}': 1,
        'orderbridge_breaker_open{side="shop"}': 0,
        'orderbridge_transitions_total{decision="applied"}': 1,
    }
    normal = {_sorted_labels(name): value for name, value in found.items()}
    assert {name: normal.get(name) for name in expected} == expected
    assert 50 <= normal["orderbridge_oldest_due_seconds"] < 60
    assert 0 <= normal['orderbridge_last_heard_seconds{side="crm"}'] < 10
    assert 'source="sweep"' not in str(normal)


def _sorted_labels(name: str) -> str:
    metric, _, labels = name.partition("{")
    return f"{metric}{{{','.join(sorted(labels.rstrip('}').split(',')))}}}" if labels else name


def test_where_the_environment_defines_all_there_is_no_label_says_so(db: None, client: Client, settings: Any) -> None:
    """And what was counted before there were names adds up with what is counted under one."""
    settings.METRICS_TOKEN = ""
    for slug, count in (("", 4), ("crm", 3)):
        RefusalCount.objects.create(source="crm", reason="bad_signature", connection=slug, count=count)
    told = client.get("/metrics").content.decode()
    assert 'orderbridge_refused_total{reason="bad_signature",source="crm"} 7.0' in told
    assert "bridge=" not in told


@pytest.fixture
def other(db: None) -> Bridge:
    """A second shop on the environment's CRM."""
    shop = Connection.objects.create(slug="shop-b", name="B", kind="woocommerce", settings={"url": "https://b.example"})
    crm = Connection.objects.get(slug="crm")
    return Bridge.objects.create(slug="b", name="B", shop=shop, crm=crm, external_id_prefix="b-", state="on")


def filled(bridge: Bridge, times: int) -> None:
    """Something of everything that hangs on an order."""
    for number in range(times):
        one = event(f"{bridge.pk}-{number}", bridge=bridge, duplicates=1, next_attempt_at=timezone.now() - timedelta(9))
        event(f"swept {bridge.pk}-{number}", bridge=bridge, source="sweep", state="parked", next_attempt_at=None)
        attempt = Attempt.objects.create(event=one, trigger="delivery", result="created")
        Call.objects.create(attempt=attempt, side="crm", method="GET", url="/", status=200, milliseconds=500)
        link = OrderLink.objects.create(bridge=bridge, woo_id=number, crm_order_id=f"C-{number}")
        StatusTransition.objects.create(link=link, from_status="a", to_status="b", decision="applied", reason="")
        DriftFinding.objects.create(bridge=bridge, kind="status", woo_id=number)
    raise_alarm("silence:shop", "It is quiet.", "Look at it.", bridge=bridge.pk)


@pytest.mark.usefixtures("well")
def test_what_hangs_on_an_order_is_told_for_each_bridge(client: Client, other: Bridge) -> None:
    filled(default_bridge(), 1)
    filled(other, 2)
    RefusalCount.objects.create(source="woocommerce", reason="bad_signature", connection="shop-b", count=4)
    RefusalCount.objects.create(source="crm", reason="bad_signature", connection="crm", count=5)
    normal = {_sorted_labels(name): value for name, value in scrape(client).items()}
    for slug, times in (("default", 1), ("b", 2)):
        expected = {
            f'orderbridge_deliveries_total{{answer="accepted",bridge="{slug}",source="woocommerce"}}': times,
            f'orderbridge_deliveries_total{{answer="duplicate",bridge="{slug}",source="woocommerce"}}': times,
            f'orderbridge_duplicates_total{{bridge="{slug}",source="woocommerce"}}': times,
            f'orderbridge_events{{bridge="{slug}",state="pending"}}': times,
            f'orderbridge_events{{bridge="{slug}",state="parked"}}': times,
            f'orderbridge_events{{bridge="{slug}",state="done"}}': 0,
            f'orderbridge_attempts_total{{bridge="{slug}",outcome="created"}}': times,
            f'orderbridge_calls_total{{bridge="{slug}",side="crm",status="200"}}': times,
            f'orderbridge_call_seconds_sum{{bridge="{slug}",side="crm"}}': times / 2,
            f'orderbridge_transitions_total{{bridge="{slug}",decision="applied"}}': times,
            f'orderbridge_drift{{bridge="{slug}",kind="status"}}': times,
            f'orderbridge_found_by_sweep_total{{bridge="{slug}",side="shop"}}': times,
            f'orderbridge_alarm{{bridge="{slug}",key="silence:shop"}}': 1,
        }
        assert {name: normal.get(name) for name in expected} == expected
        assert normal[f'orderbridge_oldest_due_seconds{{bridge="{slug}"}}'] > 9 * 24 * 3600
    # A refused delivery was for no bridge: the CRM has two, the shop only one.
    assert normal['orderbridge_deliveries_total{answer="refused",bridge="b",source="woocommerce"}'] == 4
    assert normal['orderbridge_deliveries_total{answer="refused",bridge="",source="crm"}'] == 5
    assert normal['orderbridge_refused_total{connection="crm",reason="bad_signature",source="crm"}'] == 5


@pytest.mark.usefixtures("well")
def test_a_scrape_asks_no_more_for_more_bridges(client: Client, other: Bridge) -> None:
    filled(default_bridge(), 1)
    client.get("/metrics")  # remembers where the counts begin
    with CaptureQueriesContext(connection) as for_one:
        client.get("/metrics")
    filled(other, 2)
    for number in range(3):
        shop = Connection.objects.create(slug=f"shop-{number}", name="More", kind="woocommerce")
        filled(Bridge.objects.create(slug=f"more-{number}", name="More", shop=shop, crm=other.crm, state="on"), 1)
    with CaptureQueriesContext(connection) as for_many:
        client.get("/metrics")
    assert len(for_many) <= len(for_one)


@pytest.mark.usefixtures("well")
def test_an_archived_connection_is_nobodys_concern(client: Client, other: Bridge) -> None:
    long_ago = timezone.now() - timedelta(days=9)
    SideState.objects.filter(name="shop-b").update(last_heard_at=long_ago, opened_at=long_ago)
    assert {'orderbridge_breaker_open{side="shop-b"}', 'orderbridge_last_heard_seconds{side="shop-b"}'} <= scrape(
        client
    ).keys()
    Bridge.objects.filter(pk=other.pk).update(state="paused")
    assert 'orderbridge_last_heard_seconds{side="shop-b"}' not in scrape(client)
    Connection.objects.filter(slug="shop-b").update(archived_at=timezone.now())
    assert not [name for name in scrape(client) if 'side="shop-b"' in name]


@pytest.mark.usefixtures("well")
def test_a_side_that_is_away_excuses_the_events_of_its_bridges_alone(client: Client, other: Bridge) -> None:
    late()
    SideState.objects.filter(name="shop-b").update(paused=True)
    assert list(client.get("/readyz").json()["wrong"]) == ["oldest_due"]
    WebhookEvent.objects.update(bridge=other)
    assert client.get("/readyz").json()["wrong"] == {}
    SideState.objects.filter(name="shop-b").update(paused=False)
    assert list(client.get("/readyz").json()["wrong"]) == ["oldest_due"]
    SideState.objects.filter(name="crm").update(opened_at=timezone.now())
    assert client.get("/readyz").json()["wrong"] == {}


@pytest.mark.usefixtures("db")
def test_every_name_of_the_contract(client: Client) -> None:
    text = client.get("/metrics").content.decode()
    names = ["deliveries_total", "refused_total", "duplicates_total", "events", "oldest_due_seconds", "attempts_total"]
    names += ["calls_total", "call_seconds", "breaker_open", "transitions_total", "last_heard_seconds", "drift"]
    names += ["found_by_sweep_total", "alarm"]
    for name in names:
        assert f"# TYPE orderbridge_{name} " in text


@pytest.mark.usefixtures("db")
def test_what_was_missed_and_what_needs_a_person(client: Client) -> None:
    for number in range(2):
        event(f"sweep-{number}", source="sweep")
    raise_alarm("webhook:order.updated", "It is disabled.", "Repair it.")
    raise_alarm("silence:crm", "It is quiet.", "Look at it.")
    clear("silence:crm")
    lines = client.get("/metrics").content.decode().splitlines()
    assert 'orderbridge_found_by_sweep_total{side="shop"} 2.0' in lines
    assert 'orderbridge_found_by_sweep_total{side="crm"} 0.0' in lines
    assert [line for line in lines if line.startswith("orderbridge_alarm{")] == [
        'orderbridge_alarm{bridge="",key="webhook:order.updated"} 1.0'
    ]


@pytest.mark.usefixtures("db")
def test_metrics_without_a_token_are_for_this_machine(client: Client) -> None:
    for address in ("127.0.0.1", "::1", "127.1.2.3"):
        assert client.get("/metrics", REMOTE_ADDR=address).status_code == 200
    for address in ("203.0.113.9", "10.0.0.1", "", "unix:"):
        assert client.get("/metrics", REMOTE_ADDR=address).status_code == 403


@pytest.mark.usefixtures("db")
def test_a_proxy_on_this_machine_is_not_this_machine(client: Client) -> None:
    assert (
        client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403
    )


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("header", ["X-Forwarded-Proto", "X-Real-IP", "Forwarded"])
def test_so_is_one_that_names_nobody(client: Client, header: str) -> None:
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers={header: "https"}).status_code == 403


@pytest.mark.usefixtures("well")
def test_where_all_is_https_machines_are_not_redirected_and_people_are(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path, REMOTE_ADDR="127.0.0.1").status_code == 200
    for path in ("/webhooks/woocommerce", "/webhooks/woocommerce/", "/webhooks/crm", "/webhooks/crm/"):
        assert client.post(path, b"{}", content_type="application/json").status_code == 401
    for path in ("/admin/", "/metricsX", "/readyz/"):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"]) == (301, f"https://testserver{path}")


@pytest.mark.usefixtures("db")
def test_metrics_with_a_token(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "t0ken-ü"
    assert client.get("/metrics").status_code == 401
    for wrong in ("Bearer no", "Bearer ", "Basic t0ken-ü", "t0ken-ü", "Bearer t0ken-üü"):
        answer = client.get("/metrics", headers={"Authorization": wrong})
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    right = {"Authorization": "Bearer t0ken-ü"}
    assert client.get("/metrics", headers=right, REMOTE_ADDR="203.0.113.9").status_code == 200


def test_unknown_hosts_are_refused(client: Client) -> None:
    assert client.get("/metrics", headers={"Host": "elsewhere.example"}).status_code == 400


@pytest.mark.usefixtures("db")
def test_metrics_while_the_database_is_away(client: Client) -> None:
    with mock.patch.object(health.FromTheDatabase, "collect", side_effect=OperationalError("secret")):
        answer = client.get("/metrics")
    assert answer.status_code == 503
    assert b"secret" not in answer.content
