"""Our webhooks in the shop: what is wrong with one, and what mends it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from sync import tasks
from sync.clients.shop import Hook
from sync.models import Alarm, Run, SideState
from sync.monitoring import shop_webhooks
from sync.monitoring.shop_webhooks import Facts, WebhookVerdict, changes_for, judge_webhook
from sync.sandbox.orders import dated
from sync.sandbox.server import Answer
from sync.sandbox.shop import SandboxShop
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.models import RefusedDelivery, State

T = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
URL = "https://bridge.example/webhooks/woocommerce/"


def hook(number: int = 4, status: str = "active", topic: str = "order.updated") -> Hook:
    return Hook(number=number, topic=topic, status=status, url=URL, created_at=T - 9 * HOUR, touched_at=T)


def facts(**known: Any) -> Facts:
    return Facts(**{"topic": "order.updated", "ours": (hook(),), "created_at": T - 9 * HOUR, **known})


HEARD = {"heard_at": T - HOUR, "any_heard_at": T - HOUR}


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (facts(), "ok"),
        (facts(ours=()), "missing"),
        (facts(ours=(), elsewhere=True), "elsewhere"),
        (facts(ours=(hook(status="disabled"),)), "disabled"),
        (facts(ours=(hook(status="paused"),)), "paused"),
        (facts(ours=(hook(4, "disabled"), hook(5))), "doubled"),
        (facts(ours=(hook(4), hook(5))), "doubled"),
        (facts(**HEARD, tried_at=T), "ok"),
        (facts(**HEARD, unreadable_at=T), "no_permission"),
        (facts(**HEARD, unreadable_at=T - 2 * HOUR), "ok"),
        (facts(**HEARD, refused_at=T, tried_at=T), "refused"),
        (facts(**HEARD, refused_at=T, tried_at=T - 2 * HOUR), "ok"),
        (facts(**HEARD, too_large_at=T, tried_at=T), "too_large"),
        (facts(**HEARD, too_large_at=T, tried_at=T, ours=(hook(status="disabled"),)), "too_large"),
        (facts(**HEARD, too_large_at=T - 2 * HOUR, tried_at=T), "ok"),
        (facts(**HEARD, refused_at=T - 2 * HOUR, tried_at=T), "ok"),
        (facts(**HEARD, tried_at=T, any_missed_at=T), "blocked"),
        (facts(tried_at=T, any_missed_at=T), "blocked"),
        (facts(**HEARD, tried_at=T - 58 * HOUR / 60, any_missed_at=T), "ok"),
        (facts(heard_at=T - HOUR, any_heard_at=T, tried_at=T, any_missed_at=T - HOUR), "ok"),
        (facts(**HEARD, tried_at=T - HOUR, missed_at=T, any_missed_at=T), "stuck"),
        (facts(**HEARD, tried_at=T - HOUR, any_missed_at=T), "ok"),
    ],
)
def test_what_is_wrong_with_one(known: Facts, state: str) -> None:
    assert judge_webhook(known).state == state


def test_every_state_has_words_and_what_is_wrong_has_advice() -> None:
    for state, (words, advice) in shop_webhooks.WEBHOOK_WORDS.items():
        assert words
        assert bool(advice) == (state != "ok")


@pytest.mark.parametrize(
    ("action", "state", "wanted"),
    [
        ("check", "disabled", []),
        ("ensure", "ok", []),
        ("ensure", "disabled", []),
        ("ensure", "missing", ["create order.updated"]),
        ("ensure", "elsewhere", ["create order.updated"]),
        ("repair", "missing", ["create order.updated"]),
        ("repair", "disabled", ["create order.updated", "delete order.updated (4)"]),
        ("repair", "blocked", []),
        ("repair", "stuck", []),
        ("remove", "ok", ["delete order.updated (4)"]),
        ("remove", "missing", []),
    ],
)
def test_what_an_action_changes(action: str, state: Any, wanted: list[str]) -> None:
    numbers = () if state in ("missing", "elsewhere") else (4,)
    assert [
        str(step) for step in changes_for(action, [WebhookVerdict(topic="order.updated", state=state, numbers=numbers)])
    ] == (wanted)


# --- with a shop ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(two_sides: TwoSides, settings: Any) -> Iterator[SandboxShop]:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    settings.WOO_WEBHOOK_SECRETS = ["first-secret", "old-secret"]
    return two_sides.shop


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("shop_webhooks", *arguments, stdout=out)
    return out.getvalue()


def fails(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as failure:
        command(*arguments)
    return failure.value


def linked_to_another_shop(shop: SandboxShop) -> None:
    """Its order has the number of a linked one, and was made at another time."""
    woo_id = shop.create_order()["id"]
    shop.requests.clear()
    OrderLinkFactory(woo_id=woo_id)
    WebhookEventFactory(order_ref=str(woo_id), body=b'{"date_created_gmt":"2020-01-01T00:00:00"}')


def at_home(shop: SandboxShop) -> dict[str, dict[str, Any]]:
    return {one["topic"]: one for one in shop.webhooks.values() if one["delivery_url"].startswith("http://127.0.0.1:9")}


def test_ensure_makes_four_with_our_secret_once(shop: SandboxShop) -> None:
    assert "create order.restored" in command("ensure")
    assert set(at_home(shop)) == set(shop_webhooks.TOPICS)
    assert {one["secret"] for one in shop.webhooks.values()} == {"first-secret"}
    assert {one["delivery_url"] for one in shop.webhooks.values()} == {"http://127.0.0.1:9/webhooks/woocommerce/"}
    command("ensure")
    assert len(shop.webhooks) == 4
    command("check")
    assert not Alarm.objects.filter(cleared_at=None).exists()


def test_check_names_what_is_missing_and_raises_an_alarm_until_it_is_there(
    shop: SandboxShop, caplog: pytest.LogCaptureFixture
) -> None:
    assert fails("check").returncode == 1
    assert not caplog.records  # they would stand between the lines of its table
    assert Alarm.objects.filter(cleared_at=None).count() == 4
    assert Alarm.objects.filter(key="webhook:order.updated", advice__contains="ensure").exists()
    command("ensure")
    assert not Alarm.objects.filter(cleared_at=None).exists()


def test_a_disabled_one_is_made_again_and_what_it_did_not_tell_is_fetched(shop: SandboxShop) -> None:
    command("ensure")
    woo_id = shop.create_order()["id"]
    for n in range(7):
        shop.settle()
        shop.edit(woo_id, customer_note=str(n))
    shop.settle()
    old = at_home(shop)["order.updated"]
    assert old["status"] == "disabled"
    assert "order.updated disabled" in str(fails("check"))
    command("repair")
    new = at_home(shop)["order.updated"]
    assert (new["status"], new["failure_count"]) == ("active", 0)
    assert new["id"] != old["id"]
    assert len(shop.webhooks) == 4
    assert Run.objects.get().counts["shop"] == 1
    assert Run.objects.get().reason == "repair"


def test_others_webhooks_are_left_alone(shop: SandboxShop) -> None:
    shop.register_webhooks("https://erp.example/hook", "theirs")
    shop.register_webhooks("https://staging.example/webhooks/woocommerce/", "theirs")
    assert "order.created elsewhere" in str(fails("check"))
    command("repair")
    command("remove")
    assert len(shop.webhooks) == 8
    assert not at_home(shop)


def test_a_dry_run_changes_nothing(shop: SandboxShop) -> None:
    assert "would create order.created" in command("ensure", "--dry-run")
    assert not shop.webhooks
    assert not Alarm.objects.exists()
    told = json.loads(command("repair", "--dry-run", "--json"))
    assert told["done"] == [f"create {topic}" for topic in shop_webhooks.TOPICS]
    assert {one["state"] for one in told["webhooks"]} == {"missing"}


def test_the_address_with_and_without_the_last_slash_is_ours(shop: SandboxShop) -> None:
    shop.register_webhooks("http://127.0.0.1:9/webhooks/woocommerce", "first-secret")
    command("ensure")
    assert len(shop.webhooks) == 4


def test_a_webhook_that_signs_with_another_secret(shop: SandboxShop) -> None:
    command("ensure")
    number = at_home(shop)["order.updated"]["id"]
    headers = {"X-WC-Webhook-ID": str(number)}
    soon = timezone.now() + timedelta(seconds=90)
    RefusedDelivery.objects.create(source="woocommerce", reason="bad_signature", headers=headers, received_at=soon)
    command("check")  # so far anybody may have sent it
    shop.webhooks[number].update(dated("date_modified", soon))
    assert "order.updated refused" in str(fails("check"))
    command("repair")
    assert at_home(shop)["order.updated"]["id"] != number


def test_a_webhook_whose_owner_may_not_read_orders(shop: SandboxShop) -> None:
    command("ensure")
    body = b'{"code":"woocommerce_rest_cannot_view","message":"Sorry.","data":{"status":401}}'
    soon = timezone.now() + timedelta(seconds=2)
    late = {"received_at": soon, "state": State.PARKED, "next_attempt_at": None}
    WebhookEventFactory(topic="order.updated", order_ref="", body=body, **late)
    WebhookEventFactory(topic="order.created", order_ref="", body=b'{"data":{"status":404}}', **late)
    assert str(fails("check")).endswith("order.updated no_permission.")


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(hours=-6), timedelta(hours=6)])
def test_attempts_that_move_on_while_the_inbox_stays_empty(shop: SandboxShop, ahead: timedelta) -> None:
    """By the shop's own clock, however wrong it is."""
    shop.clock_is_ahead = ahead
    command("ensure")
    made = timezone.now() - timedelta(hours=3)
    for one in shop.webhooks.values():
        one.update(**dated("date_created", made + ahead), **dated("date_modified", made + ahead))
    WebhookEventFactory(topic="order.created", received_at=timezone.now() - timedelta(hours=2))
    WebhookEventFactory(topic="order.updated", source="sweep", received_at=timezone.now())
    assert str(fails("check")).endswith("Not well: order.updated stuck.")
    shop.webhooks[at_home(shop)["order.updated"]["id"]].update(dated("date_modified", timezone.now() + ahead))
    assert str(fails("check")).endswith("Not well: order.updated blocked.")
    WebhookEventFactory(topic="order.updated", received_at=timezone.now())
    command("check")


@pytest.mark.parametrize("name", ["WOO_URL", "WOO_WEBHOOK_SECRETS"])
def test_without_settings_it_says_so(shop: SandboxShop, settings: Any, name: str) -> None:
    setattr(settings, name, [] if name.endswith("S") else "")
    failure = fails("ensure")
    assert (failure.returncode, f"{name} is not set" in str(failure)) == (2, True)
    assert not shop.webhooks


@pytest.mark.parametrize("arguments", [("ensure",), ("repair",), ("remove",), ("repair", "--dry-run")])
def test_another_shop_behind_the_address_is_left_alone(
    shop: SandboxShop, settings: Any, arguments: tuple[str, ...]
) -> None:
    """Webhooks are the shop's business alone: the CRM need not be there."""
    settings.CRM_URL = ""
    linked_to_another_shop(shop)
    failure = fails(*arguments)
    assert (failure.returncode, "does not have the orders that are linked here" in str(failure)) == (2, True)
    assert {call.method for call in shop.requests} == {"GET"}
    assert fails("check").returncode == 1


def test_a_shop_that_does_not_answer_is_one_clear_line(shop: SandboxShop) -> None:
    shop.stop()
    failure = fails("check")
    assert (failure.returncode, "cannot be reached" in str(failure)) == (1, True)


def test_more_webhooks_than_a_page_holds(shop: SandboxShop) -> None:
    for n in range(30):
        shop.register_webhooks(f"https://erp.example/{n}", "theirs")
    shop.register_webhooks("http://127.0.0.1:9/webhooks/woocommerce/", "first-secret")
    command("check")


def test_the_schedule_checks_them_and_leaves_a_paused_shop_alone(shop: SandboxShop) -> None:
    tasks.watch()
    assert Alarm.objects.count() == 4
    SideState.objects.filter(name="shop").update(paused=True)
    shop.requests.clear()
    tasks.watch()
    assert shop.requests == []
    SideState.objects.filter(name="shop").update(paused=False)
    shop.stop()
    tasks.watch()


def test_a_shop_that_does_not_show_its_webhooks_raises_an_alarm_until_it_does(
    shop: SandboxShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders may be read all the same, so that no circuit breaker tells."""
    may = shop.handle

    def handle(request: Any, fault: Any) -> Any:
        if "/webhooks" in request.path:
            return Answer(403, {"code": "woocommerce_rest_cannot_view"})
        return may(request, fault)

    monkeypatch.setattr(shop, "handle", handle)
    tasks.watch()
    assert "cannot be checked" in Alarm.objects.get(cleared_at=None, key="webhooks").words
    monkeypatch.undo()
    tasks.watch()
    assert not Alarm.objects.filter(cleared_at=None, key="webhooks").exists()


def test_a_shop_that_is_away_for_a_moment_raises_none(shop: SandboxShop) -> None:
    shop.faults.add("502")
    tasks.watch()
    assert not Alarm.objects.exists()
