"""Is the process alive, is the service ready, and how is it doing?"""

import hmac
import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, product
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily

from orders.models import AuditSeal
from sync.alarms import open_alarms
from sync.clients import installation
from sync.models import DriftFinding, Heartbeat, SideState
from sync.monitoring.counting import (
    ATTEMPTS,
    CALLS,
    DUPLICATES,
    EVENTS,
    STATES,
    TRANSITIONS,
    WAIT_FOR_A_PERSON,
    Counts,
    count_rows,
)
from sync.pipeline.internal_events import SWEEP
from webhooks import clock
from webhooks.connections import CRM, DEFAULT_BRIDGE, SHOP, Bridge, Connection
from webhooks.durations import durations, histograms
from webhooks.models import DELIVERED, RefusalCount, Side, State, WebhookEvent
from webhooks.refusals import refusals

HEARTBEAT_SECONDS = 180
OVERDUE_SECONDS = 300
NO_WORKER = "no worker has reported yet: start `python manage.py qcluster`"
OF_ANOTHER = "the database belongs to another PUBLIC_URL, so no side is called: see the home page, or `doctor`"
PROXY_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@csrf_exempt
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process lives. It touches nothing else, so it is what a load balancer may ask."""
    return HttpResponse("ok", content_type="text/plain")


# --- ready ---------------------------------------------------------------------------------------------------------


@csrf_exempt
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200, or 503 that names what is wrong."""
    paused = {}
    try:
        wrong = what_is_wrong(clock.now())
        # Not unready: whoever moves an installation has to get to its pages to confirm it.
        if "migrations" not in wrong and installation.displaced_lately():
            paused = {"paused": {"installation": OF_ANOTHER}}
    except Error as error:
        wrong = {"database": f"cannot be asked ({type(error).__name__}): check DATABASE_URL and that it runs"}
    if wrong:
        return JsonResponse({"status": "not_ready", "wrong": wrong, **paused}, status=503)
    return JsonResponse({"status": "ready", "wrong": {}, **paused})


def what_is_wrong(now: datetime) -> dict[str, str]:
    """Empty: all is well. A database that cannot be asked raises."""
    missing = migrations_are_applied()
    if missing:
        # Without its tables nothing else can be asked.
        return {"migrations": missing}
    found = {"heartbeat": heartbeat_trouble(now), "oldest_due": _oldest_due(now)}
    return {name: text for name, text in found.items() if text}


class _Migrations:
    """Once applied they stay applied as long as this process runs its code."""

    applied = False


def migrations_are_applied() -> str:
    """Empty, or what is missing. Only the good news is remembered."""
    if _Migrations.applied:
        return ""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        first = plan[0][0]
        return f"{len(plan)} not applied, first {first.app_label}.{first.name}: run `python manage.py migrate`"
    _Migrations.applied = True
    return ""


def heartbeat_trouble(now: datetime) -> str:
    """Empty: some worker works."""
    newest: datetime | None = Heartbeat.objects.aggregate(newest=Max("at"))["newest"]
    if newest is None:
        return NO_WORKER
    age = (now - newest).total_seconds()
    if age <= HEARTBEAT_SECONDS:
        return ""
    return f"no worker has worked for {age:.0f} s: restart `python manage.py qcluster`, it may live and yet be deaf"


def _oldest_due(now: datetime) -> str:
    """Events that wait for a side of their bridge that is away, paused or asked for patience are not late."""
    held = SideState.objects.filter(Q(opened_at__isnull=False) | Q(paused=True) | Q(wait_until__gt=now)).values("name")
    held_up = Bridge.objects.filter(Q(shop__slug__in=held) | Q(crm__slug__in=held)).values("pk")
    due = WebhookEvent.objects.due(now).exclude(bridge__in=held_up)
    oldest: datetime | None = due.aggregate(oldest=Min("next_attempt_at"))["oldest"]
    age = (now - oldest).total_seconds() if oldest else 0.0
    if age <= OVERDUE_SECONDS or installation.displaced_lately():
        return ""
    return f"the oldest due event has waited for {age:.0f} s: more workers, or see `explain` and the attempts"


# --- metrics -------------------------------------------------------------------------------------------------------


@csrf_exempt
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text, computed from the database, so that any web process tells about all of them."""
    refusal = _not_for(request)
    if refusal:
        return refusal
    refusals.flush()
    durations.flush()
    registry = CollectorRegistry(auto_describe=False)
    try:
        registry.register(FromTheDatabase())
        text: bytes = generate_latest(registry)
    except Error as error:
        return HttpResponse(f"# the database cannot be asked: {type(error).__name__}\n", content_type=PLAIN, status=503)
    return HttpResponse(text, content_type=PLAIN)


def _not_for(request: HttpRequest) -> HttpResponse | None:
    """None: it may read them. Without a token only this machine may, and not by way of a proxy that runs on it."""
    if settings.METRICS_TOKEN:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode())
        if scheme.lower() == "bearer" and right:
            return None
        answer = HttpResponse("a bearer token is needed\n", content_type="text/plain", status=401)
        answer["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return answer
    if is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(name in request.META for name in PROXY_HEADERS):
        return None
    return HttpResponse("loopback only: set METRICS_TOKEN\n", content_type="text/plain", status=403)


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


BY_CONNECTION = ("orderbridge_alarm", "orderbridge_delivery_seconds")
"""These have had their labels since they are there."""


class FromTheDatabase:
    """Every figure of CONTRACT section 7 that the tables know. Counters only grow, whatever is pruned. What hangs on an
    order says of which bridge it is, and comes for all bridges with the same statement. Where the environment defines
    all there is, no label says so: the names are those of before, and one bridge looks as simple as ever."""

    def __init__(self) -> None:
        self.bridges = {bridge.pk: bridge for bridge in Bridge.objects.with_connections()}
        self.slugs = _Slugs({pk: bridge.slug for pk, bridge in self.bridges.items()})
        self.used = [bridge.slug for bridge in self.bridges.values() if bridge.archived_at is None]

    def collect(self) -> Iterator[Any]:
        now = clock.now()
        is_simple = not Connection.objects.exclude(slug__in=(SHOP, CRM)).exists()
        for family in chain(self._inbox(now), self._work(), self._sides(now), self._missed()):
            yield _without(family, "bridge", "connection") if is_simple and family.name not in BY_CONNECTION else family

    def _inbox(self, now: datetime) -> Iterator[Any]:
        received = self._named(count_rows(EVENTS))
        yield from self._answers(received)
        # Nearly all of them are done. Those at work are few, and an index finds them; those that wait for a person may
        # have become many.
        at_work = [one for one in State.values if one not in (State.DONE, *WAIT_FOR_A_PERSON)]
        others = WebhookEvent.objects.order_by().filter(state__in=at_work)
        states: Counter[tuple[str, ...]] = Counter(dict.fromkeys(product(self.used, State.values), 0))
        for bridge, state, n in others.values_list("bridge", "state").annotate(n=Count("id")):
            states[self.slugs[bridge], state] = n
        for (state, bridge), (n, _) in self._named(count_rows(STATES)).items():
            if state in WAIT_FOR_A_PERSON:
                states[bridge, state] = n
        for (_, _, bridge), (n, _) in received.items():
            states[bridge, State.DONE.value] += n
        for (bridge, state), n in list(states.items()):
            if state != State.DONE:
                states[bridge, State.DONE.value] -= n
        of_all = [(labels, max(0, n)) for labels, n in states.items()]
        yield _gauge("events", "Events by state.", ("bridge", "state"), of_all)
        oldest = dict.fromkeys(self.used, 0.0)
        due = WebhookEvent.objects.due(now).order_by().values_list("bridge").annotate(at=Min("next_attempt_at"))
        oldest |= {self.slugs[bridge]: (now - at).total_seconds() for bridge, at in due}
        waits = [((bridge,), seconds) for bridge, seconds in oldest.items()]
        yield _gauge("oldest_due_seconds", "How long the oldest due event waits.", ("bridge",), waits)

    def _answers(self, received: Counts) -> Iterator[Any]:
        """A delivery of a CRM with several bridges counts in each of them. One that was refused was for nobody: it is
        its connection's, and of a bridge only where that has no other."""
        answers: Counter[tuple[str, ...]] = Counter()
        for (source, _, bridge), (n, _) in received.items():
            if source in DELIVERED:
                answers[bridge, source, "accepted"] += n
        duplicates = dict.fromkeys(product(self.used, DELIVERED), 0)
        for (source, bridge), (_, n) in self._named(count_rows(DUPLICATES)).items():
            if source in DELIVERED:
                duplicates[bridge, source] = n
        for (bridge, source), n in duplicates.items():
            answers[bridge, source, "duplicate"] = n
        refused = list(RefusalCount.objects.values_list("source", "reason", "connection", "count"))
        for source, _, slug, n in refused:
            answers[self._only_bridge_of(slug), source, "refused"] += n
        labels = ("bridge", "source", "answer")
        yield _counter("deliveries", "Events by what their delivery was answered.", labels, answers.items())
        yield _counter(
            "refused",
            "Deliveries not let in.",
            ("source", "reason", "connection"),
            [((source, why, slug), n) for source, why, slug, n in refused],
        )
        took = HistogramMetricFamily(
            "orderbridge_delivery_seconds",
            "Time until a delivery was answered with 200.",
            labels=("source", "connection"),
        )
        for names, (buckets, seconds) in sorted(histograms().items()):
            took.add_metric(names, buckets, seconds)
        yield took
        seen = [((bridge, source), n) for (bridge, source), n in duplicates.items()]
        yield _counter("duplicates", "Deliveries seen before.", ("bridge", "source"), seen)

    def _work(self) -> Iterator[Any]:
        tried = [((bridge, result), n) for (result, bridge), (n, _) in self._named(count_rows(ATTEMPTS)).items()]
        yield _counter("attempts", "Tries by result.", ("bridge", "outcome"), tried)
        calls = self._named(count_rows(CALLS))
        yield _counter(
            "calls",
            "Outgoing calls; status 0: no answer.",
            ("bridge", "side", "status"),
            [((bridge, side, str(status or 0)), n) for (side, status, bridge), (n, _) in calls.items()],
        )
        seconds = SummaryMetricFamily("orderbridge_call_seconds", "Time of outgoing calls.", labels=("bridge", "side"))
        for bridge, side in sorted({(bridge, side) for side, _, bridge in calls}):
            of_side = [numbers for (one, _, of), numbers in calls.items() if (of, one) == (bridge, side)]
            seconds.add_metric((bridge, side), sum(n for n, _ in of_side), sum(ms for _, ms in of_side) / 1000)
        yield seconds
        moves = [((bridge, how), n) for (how, bridge), (n, _) in self._named(count_rows(TRANSITIONS)).items()]
        yield _counter("transitions", "Decisions about a status.", ("bridge", "decision"), moves)

    def _sides(self, now: datetime) -> Iterator[Any]:
        """By connection. One that was archived is nobody's concern; nor how long one was silent that is not used."""
        sides = list(SideState.objects.in_use().order_by("name"))
        yield _gauge(
            "breaker_open", "1: events wait for this side.", ("side",), [((s.name,), bool(s.opened_at)) for s in sides]
        )
        at_work = {bridge.slug_of(side) for bridge in self.bridges.values() if bridge.is_on for side in Side.values}
        heard = [
            ((side.name,), (now - side.last_heard_at).total_seconds())
            for side in sides
            if side.last_heard_at and side.name in at_work
        ]
        yield _gauge("last_heard_seconds", "Since the last good answer of this side.", ("side",), heard)
        drifted = dict.fromkeys(product(self.used, DriftFinding.Kind.values), 0)
        open_ones = DriftFinding.objects.open(now).order_by().values_list("bridge", "kind").annotate(n=Count("id"))
        drifted |= {(self.slugs[bridge], kind): n for bridge, kind, n in open_ones}
        yield _gauge(
            "drift", "Orders that differ, as the last run of drift found them.", ("bridge", "kind"), drifted.items()
        )

    def _missed(self) -> Iterator[Any]:
        """How reliable the webhooks are, and what needs a person."""
        swept = dict.fromkeys(product(self.used, Side.values), 0)
        for (source, side, bridge), (n, _) in self._named(count_rows(EVENTS)).items():
            if source == SWEEP:
                swept[bridge, side] = n
        yield _counter("found_by_sweep", "Changes that no delivery told us of.", ("bridge", "side"), swept.items())
        alarms = open_alarms().values_list("bridge", "key")
        raised = [((self.slugs[bridge] if bridge else "", key), 1) for bridge, key in alarms]
        yield _gauge("alarm", "1: this needs a person.", ("bridge", "key"), raised)
        # Whoever keeps these keeps a proof: a number that goes back, or another hash under it, is an older database.
        last = AuditSeal.objects.order_by("-sequence").values_list("sequence", "hash").first()
        sealed = [((f"{last[0]}:{last[1][:16]}",), last[0])] if last else []
        yield _gauge("audit_checkpoint", "The number of the newest checkpoint of the audit.", ("seal",), sealed)

    def _named(self, found: Counts) -> Counts:
        """With the slugs of the bridges."""
        return {(*key, self.slugs[bridge]): numbers for (*key, bridge), numbers in found.items()}

    def _only_bridge_of(self, connection: str) -> str:
        """Empty: it is in none, or in several. What was refused before there were several names no connection."""
        of = [one.slug for one in self.bridges.values() if connection in (one.shop.slug, one.slug_of(Side.CRM))]
        return self.slugs[DEFAULT_BRIDGE] if not connection else of[0] if len(of) == 1 else ""


class _Slugs(dict[int, str]):
    """Of a bridge that was made a moment ago: its number."""

    def __missing__(self, bridge: int) -> str:
        return str(bridge)


Sample = tuple[tuple[str, ...], float]


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Any:
    return _filled(CounterMetricFamily(f"orderbridge_{name}", text, labels=labels), samples)


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Any:
    return _filled(GaugeMetricFamily(f"orderbridge_{name}", text, labels=labels), samples)


def _without(family: Any, *labels: str) -> Any:
    """What differs in these labels alone is one."""
    whole: dict[Any, Any] = {}
    for one in family.samples:
        named = {name: value for name, value in one.labels.items() if name not in labels}
        key = (one.name, *sorted(named.items()))
        value = one.value + (whole[key].value if key in whole else 0)
        whole[key] = one._replace(labels=named, value=value)
    family.samples = list(whole.values())
    return family


def _filled(family: Any, samples: Iterable[Sample]) -> Any:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
