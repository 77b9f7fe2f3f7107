"""Is the process alive, is the service ready, and how is it doing?"""

import hmac
import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime
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
from sync.jobs.drift import counted
from sync.models import DriftFinding, Heartbeat, SideState
from sync.monitoring.counting import ATTEMPTS, CALLS, DUPLICATES, EVENTS, TRANSITIONS, Counts, count_rows
from sync.pipeline.internal_events import SWEEP
from webhooks import clock
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
    """Events that wait for a side that is away, paused or asked for patience are not late."""
    age = oldest_due_seconds(now)
    if age <= OVERDUE_SECONDS:
        return ""
    held = Q(opened_at__isnull=False) | Q(paused=True) | Q(wait_until__gt=now)
    if SideState.objects.filter(held).exists() or installation.displaced_lately():
        return ""
    return f"the oldest due event has waited for {age:.0f} s: more workers, or see `explain` and the attempts"


def oldest_due_seconds(now: datetime) -> float:
    oldest: datetime | None = WebhookEvent.objects.due(now).aggregate(oldest=Min("next_attempt_at"))["oldest"]
    return (now - oldest).total_seconds() if oldest else 0.0


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
    registry.register(FromTheDatabase())
    try:
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


class FromTheDatabase:
    """Every figure of CONTRACT section 7 that the tables know. Counters only grow, whatever is pruned."""

    def collect(self) -> Iterator[Any]:
        now = clock.now()
        yield from self._inbox(now)
        yield from self._work()
        yield from self._sides(now)
        yield from self._missed()

    def _inbox(self, now: datetime) -> Iterator[Any]:
        events = WebhookEvent.objects.order_by()
        all_of_them = _by(count_rows(EVENTS), 0)
        accepted = [(source, n) for source, n in all_of_them.items() if source in DELIVERED]
        repeated = count_rows(DUPLICATES).items()
        duplicates = dict.fromkeys(DELIVERED, 0) | {one: n for (one,), (_, n) in repeated if one in DELIVERED}
        refused = list(RefusalCount.objects.values_list("source", "reason", "count"))
        answers = [((source, "accepted"), n) for source, n in accepted]
        answers += [((source, "duplicate"), n) for source, n in duplicates.items()]
        for source in sorted({source for source, _, _ in refused}):
            answers.append(((source, "refused"), sum(n for one, _, n in refused if one == source)))
        yield _counter("deliveries", "Events by what their delivery was answered.", ("source", "answer"), answers)
        yield _counter(
            "refused",
            "Deliveries not let in.",
            ("source", "reason"),
            [((source, why), n) for source, why, n in refused],
        )
        took = HistogramMetricFamily(
            "orderbridge_delivery_seconds",
            "Time until a delivery was answered with 200.",
            labels=("source", "connection"),
        )
        for labels, (buckets, seconds) in sorted(histograms().items()):
            took.add_metric(labels, buckets, seconds)
        yield took
        yield _counter(
            "duplicates", "Deliveries seen before.", ("source",), [((one,), n) for one, n in duplicates.items()]
        )
        # Nearly all of them are done; the others are few, and an index finds them.
        others = events.filter(state__in=[one for one in State.values if one != State.DONE])
        states = {**dict.fromkeys(State.values, 0), **dict(others.values_list("state").annotate(n=Count("id")))}
        states[State.DONE] = max(0, sum(all_of_them.values()) - sum(states.values()))
        yield _gauge("events", "Events by state.", ("state",), [((state,), n) for state, n in states.items()])
        yield _gauge("oldest_due_seconds", "How long the oldest due event waits.", (), [((), oldest_due_seconds(now))])

    def _work(self) -> Iterator[Any]:
        tried = [((result,), n) for (result,), (n, _) in count_rows(ATTEMPTS).items()]
        yield _counter("attempts", "Tries by result.", ("outcome",), tried)
        calls = count_rows(CALLS)
        yield _counter(
            "calls",
            "Outgoing calls; status 0: no answer.",
            ("side", "status"),
            [((side, str(status or 0)), n) for (side, status), (n, _) in calls.items()],
        )
        seconds = SummaryMetricFamily("orderbridge_call_seconds", "Time of outgoing calls.", labels=("side",))
        for side in sorted({side for side, _ in calls}):
            of_side = [numbers for (one, _), numbers in calls.items() if one == side]
            seconds.add_metric((side,), sum(n for n, _ in of_side), sum(ms for _, ms in of_side) / 1000)
        yield seconds
        moves = [((decision,), n) for (decision,), (n, _) in count_rows(TRANSITIONS).items()]
        yield _counter("transitions", "Decisions about a status.", ("decision",), moves)

    def _sides(self, now: datetime) -> Iterator[Any]:
        sides = list(SideState.objects.order_by("name"))
        yield _gauge(
            "breaker_open", "1: events wait for this side.", ("side",), [((s.name,), bool(s.opened_at)) for s in sides]
        )
        heard = [((s.name,), (now - s.last_heard_at).total_seconds()) for s in sides if s.last_heard_at]
        yield _gauge("last_heard_seconds", "Since the last good answer of this side.", ("side",), heard)
        drifted = counted(DriftFinding.objects.open(clock.now()))
        yield _gauge(
            "drift",
            "Orders that differ, as the last run of drift found them.",
            ("kind",),
            [((kind,), n) for kind, n in drifted.items()],
        )

    def _missed(self) -> Iterator[Any]:
        """How reliable the webhooks are, and what needs a person."""
        swept = {side: n for (source, side), (n, _) in count_rows(EVENTS).items() if source == SWEEP}
        found = [((side,), swept.get(side, 0)) for side in Side.values]
        yield _counter("found_by_sweep", "Changes that no delivery told us of.", ("side",), found)
        alarms = [((key,), 1) for key in open_alarms().values_list("key", flat=True)]
        yield _gauge("alarm", "1: this needs a person.", ("key",), alarms)
        # Whoever keeps these keeps a proof: a number that goes back, or another hash under it, is an older database.
        last = AuditSeal.objects.order_by("-sequence").values_list("sequence", "hash").first()
        sealed = [((f"{last[0]}:{last[1][:16]}",), last[0])] if last else []
        yield _gauge("audit_checkpoint", "The number of the newest checkpoint of the audit.", ("seal",), sealed)


def _by(found: Counts, place: int) -> dict[str, int]:
    """Added up by one of the columns."""
    totals: dict[str, int] = {}
    for key, (n, _) in found.items():
        totals[key[place]] = totals.get(key[place], 0) + n
    return totals


Sample = tuple[tuple[str, ...], float]


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Any:
    return _filled(CounterMetricFamily(f"orderbridge_{name}", text, labels=labels), samples)


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Any:
    return _filled(GaugeMetricFamily(f"orderbridge_{name}", text, labels=labels), samples)


def _filled(family: Any, samples: Iterable[Sample]) -> Any:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
