"""One page of truths about this installation, each with what to do about it. Nothing is written to either side."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max
from django_q.models import Schedule

from orders.lifecycle import shop_lint_warnings
from orders.models import OrderLink
from orders.rules import current_lifecycle, gone_statuses
from sync.alarms import open_alarms
from sync.clients import causes, installation
from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.addresses import is_private
from sync.clients.deadline import Bounds, bounds
from sync.clients.errors import AuthFailed, GivenUp, NotConfigured, SideError
from sync.clients.http import CallRecord, bound
from sync.models import Heartbeat
from sync.monitoring import preparing, shop_webhooks
from sync.monitoring.overview import ALIVE
from sync.pipeline.whose import external_id
from sync.queue import schedules
from webhooks import clock
from webhooks.models import Side

PING_SECONDS = 5.0
"""As long as WooCommerce waits for the answer to its ping (FACTS A10)."""
WOO_PORTS = (None, 80, 443, 8080)
"""WooCommerce delivers to no other (FACTS A1)."""
SKEW = timedelta(minutes=1)
SIGNED_WITHIN = timedelta(minutes=5)
"""Deliveries with an older or newer timestamp are refused (CONTRACT section 2)."""
LATE = timedelta(minutes=10)
CHANGES_LOOKED_AT = 500
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "afs"})
MOUNTS = Path("/proc/self/mounts")

IN_ORDER = "Check DATABASE_URL and that the database runs, then run `python manage.py migrate`."

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`error`: it needs a person. `advice`: what to do."""

    check: str
    level: Level
    words: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]

_until: ContextVar[tuple[float, str]] = ContextVar("until", default=(float("inf"), ""))
"""When the checks of this thread have to be over, by the monotonic clock, and what is said if they are not."""
ASK_THE_COMMAND = "Run `python manage.py doctor`. It waits for the answer."


def in_time() -> None:
    """Before each call to a side: a check that was given up asks nobody any more. Raises GivenUp."""
    until, words = _until.get()
    if time.monotonic() > until:
        raise GivenUp(words)


def is_configured() -> bool:
    """Something is set, so that there is something to examine."""
    return bool(settings.WOO_URL or settings.CRM_URL or settings.CRM_BACKEND != "rest")


def examine() -> list[Finding]:
    """Every check, also if another one fails; a side that does not answer is a finding of its own."""
    return [finding for name in CHECKS for finding in _examine(name)]


def examine_within(seconds: float) -> list[Finding]:
    """The same for somebody who waits at a page: all checks at once, and those that take longer are named."""
    pool = ThreadPoolExecutor(len(CHECKS), thread_name_prefix="doctor")
    late = f"Not finished within {seconds:.0f} s."
    until = time.monotonic() + seconds
    asked = {name: pool.submit(_examine_apart, name, until, late) for name in CHECKS}
    wait(asked.values(), timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return [
        finding
        for name, answer in asked.items()
        for finding in (
            answer.result()
            if answer.done()
            else [Finding(check=name, level="error", words=late, advice=ASK_THE_COMMAND)]
        )
    ]


def _examine_apart(name: str, until: float, late: str) -> list[Finding]:
    _until.set((until, late))  # a thread has a context of its own
    try:
        return _examine(name)
    finally:
        connection.close()


def _examine(name: str) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in CHECKS[name]():
            found.append(finding)
    except SideError as error:
        found.append(Finding(check=name, level="error", words=error.message, advice=error.advice or _advice(error)))
    except DatabaseError as error:
        words = f"The database cannot be read ({type(error).__name__}: {error})."
        found.append(Finding(check=name, level="error", words=words, advice=IN_ORDER))
    return found


def _advice(error: SideError) -> str:
    if isinstance(error, GivenUp):
        return ASK_THE_COMMAND
    if isinstance(error, NotConfigured):
        return "Correct .env, then restart the web server and the worker."
    if isinstance(error, AuthFailed):
        return "Make a key with the permission Read/Write for a user who may manage the shop."
    return "Check its address in .env, and that nothing blocks the connection."


# --- here ----------------------------------------------------------------------------------------------------------


def _settings() -> Iterator[Finding]:
    messages = [one for one in checks.run_checks() if str(one.id).startswith("orderbridge.")]
    for one in messages:
        level: Level = "error" if one.level >= checks.ERROR else "warning"
        yield Finding(check="settings", level=level, words=one.msg, advice=one.hint or "")
    if not messages:
        yield Finding(check="settings", level="ok", words="Addresses, keys and webhook secrets are set.")


def _installation() -> Iterator[Finding]:
    if words := installation.displaced():
        yield Finding(check="installation", level="error", words=words, advice=installation.ADVICE)
    else:
        yield Finding(check="installation", level="ok", words="The database belongs to this installation.")


def _public_url() -> Iterator[Finding]:
    url = shop_webhooks.delivery_url()
    yield _answers(url)
    parts = urlsplit(url)
    if not is_private(urlsplit(settings.WOO_URL).hostname or "") and (
        is_private(parts.hostname or "") or parts.port not in WOO_PORTS
    ):
        yield Finding(
            check="public_url",
            level="error",
            words=f"WooCommerce does not deliver to {parts.netloc}: it is private, or the port is not 80, 443 or 8080.",
            advice="Set PUBLIC_URL to a public address on one of these ports.",
        )


def _answers(url: str) -> Finding:
    """WooCommerce's own ping. A redirect looks like a success to it, and loses every delivery (FACTS A6)."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            bound(session)
            bounds.set(Bounds(time.monotonic() + PING_SECONDS, PING_SECONDS, 100_000))
            session.headers["Accept-Encoding"] = "identity"
            form = {"webhook_id": "1"}
            # Nothing of it is unpacked: whoever sits at that address may have packed anything.
            with session.post(url, data=form, timeout=PING_SECONDS, allow_redirects=False, stream=True) as answer:
                said = answer.raw.read(100, decode_content=False)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        why, advice = causes.of_silence(error, "PUBLIC_URL", url)
        return Finding(
            check="public_url",
            level="error",
            words=f"{url} does not answer when called from here: {why}.",
            advice=f"Start the web server if it is not running. {advice}",
        )
    if 300 <= answer.status_code < 400:
        words = f"{url} redirects to {answer.headers.get('Location', 'nowhere')}: every delivery would be lost."
        advice = "Correct PUBLIC_URL, or exempt /webhooks/ from the redirect of the proxy."
        return Finding(check="public_url", level="error", words=words, advice=advice)
    if answer.status_code != 200 or b'"ping"' not in said:
        words = f"{url} answers WooCommerce's ping with {answer.status_code}, and not as this service does."
        advice = "Check that PUBLIC_URL leads to this service and that the proxy passes POST requests on."
        return Finding(check="public_url", level="error", words=words, advice=advice)
    return Finding(check="public_url", level="ok", words=f"{url} answers and does not redirect.")


def _database() -> Iterator[Finding]:
    if connection.vendor != "sqlite":
        yield Finding(check="database", level="ok", words=f"{connection.display_name} answers.")
        return
    name = str(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    kind = fs_type(name, MOUNTS.read_text() if MOUNTS.exists() else "")
    if kind in NETWORK:
        words = f"SQLite is on a network file system ({kind}). Its locks are not reliable there."
        advice = "Move it to a local disk, or set DATABASE_URL to PostgreSQL."
        yield Finding(check="database", level="error", words=words, advice=advice)
    elif mode not in ("wal", "memory"):
        words = f"SQLite runs in mode {mode}. Readers and writers wait for each other."
        yield Finding(
            check="database", level="warning", words=words, advice="Move it to a local disk; WAL works there."
        )
    else:
        yield Finding(check="database", level="ok", words=f"SQLite answers and runs in mode {mode}.")


def fs_type(path: str, mounts: str) -> str:
    """Of the file system that holds the path, by the lines of /proc/mounts; the longest mount point counts."""
    lines = [line.split(" ") for line in mounts.splitlines() if line.count(" ") >= 2]
    at = [(point, kind) for _, point, kind, *_ in lines if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    return max(at, key=lambda one: len(one[0]))[1] if at else ""


def _host_clock() -> Iterator[Finding]:
    words = clock.trouble()
    if words:
        yield Finding(check="host_clock", level="warning", words=words, advice=clock.ADVICE)
    else:
        yield Finding(check="host_clock", level="ok", words="The clock of this host agrees with the database's clock.")


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        words = f"{missing} migrations are not applied."
        yield Finding(check="migrations", level="error", words=words, advice="Run `python manage.py migrate`.")
    else:
        yield Finding(check="migrations", level="ok", words="All migrations are applied.")


def _queue() -> Iterator[Finding]:
    last = Heartbeat.objects.aggregate(at=Max("at"))["at"]
    if last is None or clock.now() - last > ALIVE:
        words = f"No worker is running{f'. The last one was seen at {last:%Y-%m-%d %H:%M:%S} UTC' if last else ''}."
        yield Finding(check="queue", level="error", words=words, advice="Start `python manage.py qcluster`.")
    else:
        yield Finding(check="queue", level="ok", words="A worker is running.")


def _schedules() -> Iterator[Finding]:
    next_runs = dict(Schedule.objects.values_list("name", "next_run"))
    names = [one.name for one in schedules.planned()]
    missing = [name for name in names if name not in next_runs]
    late = [name for name in names if name in next_runs and next_runs[name] < clock.now() - LATE]
    if missing:
        words = f"Not scheduled: {', '.join(missing)}."
        advice = "Run `python manage.py migrate`. A running `qcluster` also repairs this."
        yield Finding(check="schedules", level="error", words=words, advice=advice)
    if late:
        words = f"Overdue: {', '.join(late)}."
        yield Finding(check="schedules", level="error", words=words, advice="Restart `python manage.py qcluster`.")
    if not missing and not late:
        yield Finding(check="schedules", level="ok", words=f"Scheduled: {', '.join(names)}.")


def _alarms() -> Iterator[Finding]:
    """Those of the webhooks are examined anew, and so is the installation."""
    for alarm in open_alarms().exclude(key__startswith="webhook:").exclude(key=installation.ALARM):
        yield Finding(check="alarms", level="error", words=alarm.words, advice=alarm.advice)


# --- the shop ------------------------------------------------------------------------------------------------------


def _shop() -> Iterator[Finding]:
    calls: list[CallRecord] = []
    shop = shop_client.connect(on_call=calls.append, before_call=in_time)
    shop.ping()
    yield Finding(check="shop", level="ok", words="The key may read orders.")
    # OAuth, which is used over http, has a timestamp of its own.
    yield from _clock(Side.SHOP, calls, 3 * SIGNED_WITHIN if settings.WOO_URL.startswith("http://") else None)
    yield Finding(check="shop", level="ok", words=f"The shop's time zone is {shop.time_zone()}. We ask it in UTC.")
    yield from _statuses(shop)
    shop.prove_write()
    yield Finding(check="shop", level="ok", words="The key may write orders.")


GONE_STATUS_ADVICE = "Activate the plugin that added the status, or give these orders another status in the shop."


def _statuses(shop: shop_client.Shop) -> Iterator[Finding]:
    known, lifecycle = shop.statuses(), current_lifecycle()
    wanted = {woo: crm for crm, woo in lifecycle.status_map.items()}
    unknown = {woo: crm for woo, crm in wanted.items() if woo not in known}
    for woo, crm in sorted(unknown.items()):
        words = f"The CRM's {crm!r} is mapped to {woo!r}, which the shop does not know."
        advice = f"Correct /admin/orders/statusrule/. The shop has: {', '.join(sorted(known))}."
        yield Finding(check="statuses", level="error", words=words, advice=advice)
    for warning in shop_lint_warnings(lifecycle, known):
        yield Finding(check="statuses", level="warning", words=warning.words, advice="See /admin/orders/allowedmove/.")
    for status, number in gone_statuses(known):
        words = f"{number} linked orders are {status!r}. The shop has no such status, so no list shows them."
        yield Finding(check="statuses", level="warning", words=words, advice=GONE_STATUS_ADVICE)
    if not unknown:
        yield Finding(check="statuses", level="ok", words="The shop knows every status that the map names.")


def _webhooks() -> Iterator[Finding]:
    for one in shop_webhooks.look(before_call=in_time):
        level: Level = "ok" if one.state == "ok" else "error"
        yield Finding(check="webhooks", level=level, words=f"{one.topic}: {one.words}", advice=one.advice)


def _clock(side: Side, calls: list[CallRecord], limit: timedelta | None) -> Iterator[Finding]:
    """`limit`: beyond it, what is signed with a time is refused."""
    ahead = next((call.clock_is_ahead for call in reversed(calls) if call.clock_is_ahead is not None), None)
    if ahead is None:
        words, level = f"{side.label}: its answers contain no time, so we cannot compare its clock.", "warning"
    elif abs(ahead) < SKEW:
        words, level = f"{side.label}: its clock agrees with ours.", "ok"
    else:
        way = "ahead of" if ahead > timedelta() else "behind"
        words = f"{side.label}: its clock is {abs(ahead) // timedelta(seconds=1)} s {way} ours."
        level = "error" if limit is not None and abs(ahead) > limit else "warning"
    advice = "" if level == "ok" else "Synchronise both clocks with NTP."
    yield Finding(check="clock", level=level, words=words, advice=advice)  # type: ignore[arg-type]


# --- the CRM -------------------------------------------------------------------------------------------------------


def _crm() -> Iterator[Finding]:
    calls: list[CallRecord] = []
    crm = crm_backends.connect(on_call=calls.append, before_call=in_time)
    crm.ping()
    yield Finding(check="crm", level="ok", words="The key may read orders.")
    yield from _clock(Side.CRM, calls, SIGNED_WITHIN if settings.CRM_SIGNATURE == "standard-webhooks" else None)
    if lacks := preparing.lacking(crm):
        yield from (Finding(check="crm", level="error", words=words, advice=advice) for words, advice in lacks)
        return
    calls.clear()
    if crm.find(f"orderbridge-{secrets.token_hex(8)}") is not None or len(calls) > 1:
        words = "The CRM ignores the filter external_id, so each look-up reads its whole list."
        yield Finding(check="crm", level="warning", words=words, advice="Ask the CRM's provider to add it.")
    link = OrderLink.objects.exclude(crm_updated_at=None).order_by("-crm_updated_at").first()
    if link is None or link.crm_updated_at is None:
        words = "No order is linked yet, so the CRM's look-ups were not tested."
        yield Finding(check="crm", level="ok", words=words)
        return
    name = link.external_id or external_id(link.woo_id, settings.EXTERNAL_ID_PREFIX)
    found = crm.find(name)
    if found is None or found.crm_order_id != link.crm_order_id:
        words = f"The CRM does not find {link.crm_order_id} by its external_id {name}."
        advice = "Check whether the CRM has that order. Without this look-up an order may be created twice."
        yield Finding(check="crm", level="error", words=words, advice=advice)
    else:
        yield Finding(check="crm", level="ok", words="The CRM finds orders by external_id.")
    changed = islice(crm.changed_since(link.crm_updated_at), CHANGES_LOOKED_AT)
    if all(one.crm_order_id != link.crm_order_id for one in changed):
        words = (
            f"The CRM's list of changes lacks {link.crm_order_id}, changed {link.crm_updated_at:%Y-%m-%d %H:%M} UTC."
        )
        advice = "Without it `reconcile` cannot see changes in the CRM. Ask the CRM's provider about updated_since."
        yield Finding(check="crm", level="error", words=words, advice=advice)
    else:
        yield Finding(check="crm", level="ok", words="The CRM lists its changes.")
    words = f"We do not test Idempotency-Key, because we search before each creation ({_lag()})."
    yield Finding(check="crm", level="ok", words=words)


def _lag() -> str:
    return f"CRM_LIST_LAG {settings.CRM_LIST_LAG:g} s before a repeat"


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "database": _database,
    "host_clock": _host_clock,
    "migrations": _migrations,
    "queue": _queue,
    "schedules": _schedules,
    "installation": _installation,
    "public_url": _public_url,
    "shop": _shop,
    "webhooks": _webhooks,
    "crm": _crm,
    "alarms": _alarms,
}
