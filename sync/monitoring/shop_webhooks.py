"""Our webhooks in the shop: made, watched and mended. WooCommerce disables them in silence (FACTS A7)."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Max, QuerySet
from django.utils import timezone

from sync import alarms
from sync.clients.bridged import shop_of
from sync.clients.causes import told
from sync.clients.errors import AuthFailed, Blocked, NotConfigured, Rejected, SideError
from sync.clients.http import CallRecord, nothing
from sync.clients.shop import Hook, Shop
from sync.models import SideState
from sync.pipeline.internal_events import SWEEP
from webhooks.connections import Bridge, default_bridge
from webhooks.models import RefusedDelivery, Side, WebhookEvent
from webhooks.signatures import usable
from webhooks.texts import is_number

TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")
PATH = "/webhooks/woocommerce"
LOOK_BACK = timedelta(days=1)
GRACE = timedelta(minutes=5)
"""A delivery may be that late: the shop's queue runs once a minute (FACTS C)."""
UNSEEN_ALARM = "webhooks"
"""The alarm for webhooks that we cannot check."""
DELIVERIES_READ = 200
"""Refused and unreadable deliveries that are looked at."""

WebhookState = Literal[
    "ok",
    "missing",
    "elsewhere",
    "doubled",
    "disabled",
    "paused",
    "refused",
    "too_large",
    "no_permission",
    "blocked",
    "stuck",
]
WEBHOOK_WORDS: dict[WebhookState, tuple[str, str]] = {
    "ok": ("It is active.", ""),
    "missing": ("The shop has no such webhook.", "Run `shop_webhooks ensure`."),
    "elsewhere": (
        "It delivers to another address than PUBLIC_URL.",
        "If PUBLIC_URL is right, run `shop_webhooks ensure`. Delete the other one in the shop if nobody uses it.",
    ),
    "doubled": ("There is more than one, so each change is reported twice.", "Run `shop_webhooks repair`."),
    "disabled": (
        "WooCommerce disabled it after seven failed deliveries in a row.",
        "Check that the shop can reach PUBLIC_URL, then run `shop_webhooks repair`.",
    ),
    "paused": ("Somebody paused it in the shop.", "Run `shop_webhooks repair`, or activate it in the shop."),
    "refused": (
        "Its deliveries are signed with a secret that is not in WOO_WEBHOOK_SECRETS.",
        "Run `shop_webhooks repair`. It creates the webhook again with the first of WOO_WEBHOOK_SECRETS.",
    ),
    "too_large": (
        "A delivery was larger than MAX_BODY_BYTES and got a 413. After seven, WooCommerce disables the webhook.",
        "Set MAX_BODY_BYTES above the size shown in Refused deliveries, restart web, then run `shop_webhooks repair`.",
    ),
    "no_permission": (
        "The owner of the webhook may not read orders in the shop: deleted, or without the permission.",
        "Give WOO_CONSUMER_KEY to a user who may manage the shop, then run `shop_webhooks repair`.",
    ),
    "blocked": (
        "The shop tries to deliver, but nothing arrives here.",
        "Look for a firewall, a redirect or a wrong certificate between the shop and PUBLIC_URL. `doctor` tests it.",
    ),
    "stuck": (
        "Orders change, but the shop does not even try to deliver: its queue is not running.",
        "Look at WooCommerce → Status → Scheduled actions. A shop without visitors needs a real cron job.",
    ),
}
MADE_AGAIN = ("doubled", "disabled", "paused", "refused", "too_large", "no_permission")
"""A new webhook has a clean failure counter, our secret, and the owner of our key (FACTS A7, A10)."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the webhook of one topic. All times are by our clock; None: not within the last day."""

    topic: str
    ours: tuple[Hook, ...] = ()
    elsewhere: bool = False
    "There is one to the same path of another host."
    created_at: datetime | None = None
    tried_at: datetime | None = None
    "The last delivery that the shop tried, good or bad."
    heard_at: datetime | None = None
    "The last delivery of this topic that came and named an order."
    any_heard_at: datetime | None = None
    "The same of any topic: they all come by the same way."
    refused_at: datetime | None = None
    too_large_at: datetime | None = None
    unreadable_at: datetime | None = None
    missed_at: datetime | None = None
    "The last time that the sweep found what this topic should have told."
    any_missed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookVerdict:
    topic: str
    state: WebhookState
    numbers: tuple[int, ...] = ()
    "Of our webhooks in the shop."

    @property
    def words(self) -> str:
        return WEBHOOK_WORDS[self.state][0]

    @property
    def advice(self) -> str:
        return WEBHOOK_WORDS[self.state][1]


@dataclass(frozen=True, kw_only=True)
class WebhookChange:
    """One change in the shop; `number`: the webhook that is deleted."""

    change: Literal["create", "delete"]
    topic: str
    number: int | None = None

    def __str__(self) -> str:
        return f"{self.change} {self.topic}{f' ({self.number})' if self.number else ''}"


# --- the rules -----------------------------------------------------------------------------------------------------


def judge_webhook(facts: Facts) -> WebhookVerdict:
    return WebhookVerdict(topic=facts.topic, state=_state(facts), numbers=tuple(hook.number for hook in facts.ours))


def _state(facts: Facts) -> WebhookState:
    if not facts.ours:
        return "elsewhere" if facts.elsewhere else "missing"
    statuses = {hook.status for hook in facts.ours}
    if _after(facts.too_large_at, facts.heard_at, facts.created_at) and _after(facts.tried_at, facts.heard_at):
        return "too_large"
    if "active" not in statuses:
        return "disabled" if "disabled" in statuses else "paused"
    if _after(facts.unreadable_at, facts.heard_at, facts.created_at):
        return "no_permission"
    # Anybody can send what is refused; only if the shop itself has tried, too, it is the shop's.
    if _after(facts.refused_at, facts.heard_at, facts.created_at) and _after(facts.tried_at, facts.heard_at):
        return "refused"
    if _after(facts.any_missed_at, facts.any_heard_at, facts.created_at):
        heard = max((at for at in (facts.any_heard_at, facts.created_at) if at), default=None)
        if _after(facts.tried_at, heard and heard + GRACE):
            return "blocked"
        if _after(facts.missed_at, heard and heard + GRACE):
            return "stuck"
    return "doubled" if len(facts.ours) > 1 else "ok"


def _after(at: datetime | None, *others: datetime | None) -> bool:
    return at is not None and all(other is None or at > other for other in others)


def changes_for(action: str, verdicts: Iterable[WebhookVerdict]) -> list[WebhookChange]:
    """What an action changes. The new one is made before the old is deleted, so that no change is told to nobody."""
    wanted: list[WebhookChange] = []
    for one in verdicts if action != "check" else ():
        again = action == "repair" and one.state in MADE_AGAIN
        if again or (action != "remove" and one.state in ("missing", "elsewhere")):
            wanted.append(WebhookChange(change="create", topic=one.topic))
        if again or action == "remove":
            wanted += [WebhookChange(change="delete", topic=one.topic, number=number) for number in one.numbers]
    return wanted


# --- the shop and the inbox ----------------------------------------------------------------------------------------


def delivery_url(bridge: Bridge | None = None) -> str:
    """Where the bridge's shop delivers; without one, the environment's."""
    named = f"{bridge.shop.slug}/" if bridge and not bridge.shop.is_environment else ""
    return f"{settings.PUBLIC_URL}{PATH}/{named}"


def look(bridge: Bridge | None = None, before_call: Callable[[], None] = nothing) -> list[WebhookVerdict]:
    """How each of the four is doing, in the shop of the bridge; without one, of the default one."""
    bridge, calls = bridge or default_bridge(), list[CallRecord]()
    hooks = shop_of(bridge, on_call=calls.append, before_call=before_call).webhooks()
    ahead = next((call.clock_is_ahead for call in calls if call.clock_is_ahead is not None), timedelta())
    return [judge_webhook(facts) for facts in gather(bridge, hooks, ahead)]


def check_webhooks(bridge: Bridge | None = None) -> list[WebhookVerdict]:
    """How each is doing, with an alarm for each that is not well."""
    bridge = bridge or default_bridge()
    verdicts = look(bridge)
    for one in verdicts:
        key = f"webhook:{one.topic}"
        if one.state == "ok":
            alarms.clear(key, bridge=bridge.pk)
        else:
            words, advice = (told(said, bridge.shop.slug) for said in (one.words, one.advice))
            alarms.raise_alarm(key, f"Webhook {one.topic}: {words}", advice, bridge=bridge.pk)
    return verdicts


def on_schedule() -> None:
    for bridge in Bridge.objects.on():
        _check_on_schedule(bridge)


def _check_on_schedule(bridge: Bridge) -> None:
    """Check, if the shop can be asked. That it is away is told by its circuit breaker; that it is there and does not
    show its webhooks, by nobody else."""
    if not SideState.objects.filter(name=bridge.shop.slug, paused=False, opened_at=None).exists():
        return
    try:
        check_webhooks(bridge)
        alarms.clear(UNSEEN_ALARM, bridge=bridge.pk)
    except (AuthFailed, Blocked, Rejected) as error:
        words = f"Our webhooks in the shop cannot be checked. Nobody would notice if they stopped: {error}"
        advice = "Run `doctor`. The key's user must be allowed to manage the shop."
        alarms.raise_alarm(UNSEEN_ALARM, words, advice, bridge=bridge.pk)
    except SideError:
        pass


def make_changes(shop: Shop, wanted: Sequence[WebhookChange], bridge: Bridge | None = None) -> None:
    """Raises NotConfigured without a secret: an unsigned webhook would be refused here."""
    bridge = bridge or default_bridge()
    secrets = [one for one in bridge.shop_config.webhook_secrets if usable("woocommerce", one)]
    if not secrets and any(step.change == "create" for step in wanted):
        if bridge.is_environment:
            raise NotConfigured("WOO_WEBHOOK_SECRETS is not set. Put it into .env.", side="shop")
        words = f"The connection {bridge.shop.slug} has no webhook secret. Enter it on the connection's page."
        raise NotConfigured(words, side="shop")
    for step in wanted:
        if step.number is not None:
            shop.delete_webhook(step.number)
        else:
            name = f"Orderbridge {step.topic}"
            shop.create_webhook(name=name, topic=step.topic, url=delivery_url(bridge), secret=secrets[0])


def gather(bridge: Bridge, hooks: Sequence[Hook], ahead: timedelta) -> list[Facts]:
    """`ahead`: how far the shop's clock is ahead of ours."""
    since, url = timezone.now() - LOOK_BACK, delivery_url(bridge)
    path = urlsplit(url).path.rstrip("/")
    ours = {topic: tuple(h for h in hooks if h.topic == topic and _is(h.url, url)) for topic in TOPICS}
    events = WebhookEvent.objects.filter(bridge=bridge, received_at__gte=since, side=Side.SHOP).order_by()
    heard = _latest(events.filter(source="woocommerce").exclude(order_ref=""))
    missed = _latest(events.filter(source=SWEEP))
    unreadable = _unreadable(bridge, since)
    refused, too_large = _refused(bridge, "bad_signature", since), _refused(bridge, "too_large", since)
    return [
        Facts(
            topic=topic,
            ours=ours[topic],
            elsewhere=any(h.topic == topic and urlsplit(h.url).path.rstrip("/").endswith(path) for h in hooks),
            created_at=max((hook.created_at - ahead for hook in ours[topic] if hook.created_at), default=None),
            tried_at=max((at - ahead for hook in ours[topic] if (at := _used_at(hook))), default=None),
            heard_at=heard.get(topic),
            any_heard_at=max(heard.values(), default=None),
            refused_at=max((refused[h.number] for h in ours[topic] if h.number in refused), default=None),
            too_large_at=max((too_large[h.number] for h in ours[topic] if h.number in too_large), default=None),
            unreadable_at=unreadable.get(topic),
            missed_at=missed.get(topic),
            any_missed_at=max(missed.values(), default=None),
        )
        for topic in TOPICS
    ]


def _latest(events: QuerySet[WebhookEvent]) -> dict[str, datetime]:
    return dict(events.values_list("topic").annotate(at=Max("received_at")))


def _used_at(hook: Hook) -> datetime | None:
    """The last time since it was made."""
    return hook.touched_at if _after(hook.touched_at, hook.created_at) else None


def _is(url: str, other: str) -> bool:
    return url.rstrip("/").lower() == other.rstrip("/").lower()


def _refused(bridge: Bridge, reason: str, since: datetime) -> dict[int, datetime]:
    """The last delivery that was refused for this reason, by the webhook that it claims to be of."""
    rows = RefusedDelivery.objects.filter(
        source="woocommerce", connection__in=(bridge.shop.slug, ""), reason=reason, received_at__gte=since
    )
    found: dict[int, datetime] = {}
    for headers, at in rows.order_by("-pk").values_list("headers", "received_at")[:DELIVERIES_READ]:
        number = _header(headers, "x-wc-webhook-id")
        if is_number(number):
            found.setdefault(int(number), at)
    return found


def _unreadable(bridge: Bridge, since: datetime) -> dict[str, datetime]:
    """The last delivery, by topic, in which the shop tells that it may not show the order (FACTS A5)."""
    rows = WebhookEvent.objects.filter(bridge=bridge, source="woocommerce", order_ref="", received_at__gte=since)
    found: dict[str, datetime] = {}
    for topic, body, at in rows.order_by("-received_at").values_list("topic", "body", "received_at")[:DELIVERIES_READ]:
        if _forbidden(bytes(body)):
            found.setdefault(topic, at)
    return found


def _forbidden(body: bytes) -> bool:
    try:
        return json.loads(body)["data"]["status"] in (401, 403)
    except (ValueError, TypeError, KeyError):
        return False


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
