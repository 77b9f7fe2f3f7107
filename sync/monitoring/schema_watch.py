"""What is mapped and is not there any more in the CRM: a stage, a field, a pipeline. And what ends there by itself.

The CRM is asked every night, soon after a write that it refused, and every few minutes while something is amiss. A
status counts as gone if the CRM had it once: the map that a bridge begins with may name more than its CRM has.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Max, Q

from orders.models import StatusRule
from sync import alarms
from sync.clients.bridged import crm_of
from sync.clients.crm.base import Crm, Expires
from sync.clients.errors import Hidden, NotFound, Rejected, SideError
from sync.clients.mapping.field_map import field_map
from sync.models import Attempt, Condition, Severity, SideState
from sync.registry import NIGHT
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.masking import masked_text
from webhooks.models import Side

T = TypeVar("T")

SCHEMA, EXPIRY = "schema", "expires"
"""The keys of the two alarms. The condition `schema:1` remembers what the CRM of bridge 1 had."""
REFUSALS = tuple(one.__name__ for one in (Rejected, NotFound, Hidden))
"""Results of attempts after which the CRM is asked whether something is gone."""
SOON, VERY_SOON = timedelta(days=14), timedelta(days=2)
NAMED = 5


def on_schedule() -> None:
    """Those that were not looked at since the night, and those with an alarm: it ends soon after it is mended."""
    amiss = alarms.open_alarms().filter(key__in=(SCHEMA, EXPIRY)).values_list("bridge", flat=True)
    night = _last_night(clock.now()).isoformat()
    for bridge in Bridge.objects.on():
        if bridge.pk in {*amiss} or _memory(bridge).get("looked", "") < night:
            look(bridge)


def _last_night(now: datetime) -> datetime:
    tonight = datetime.combine(now.date(), NIGHT, tzinfo=now.tzinfo)
    return tonight if tonight <= now else tonight - timedelta(days=1)


def after_refusals() -> None:
    """Every minute: the bridges of orders that the CRM refused since the last time."""
    newest = Attempt.objects.aggregate(pk=Max("pk"))["pk"] or 0
    seen, made = Condition.objects.get_or_create(
        key=f"{SCHEMA}-up-to", defaults={"since": clock.now(), "value": {"attempt": newest}}
    )
    up_to = newest if made else seen.value.get("attempt", 0)
    if newest == up_to:
        return
    Condition.objects.filter(pk=seen.pk).update(value={"attempt": newest})
    refused = Attempt.objects.filter(pk__gt=up_to, pk__lte=newest, result__in=REFUSALS, event__side=Side.SHOP)
    of = set(refused.values_list("event__bridge", flat=True))
    for bridge in Bridge.objects.on().filter(pk__in=of):
        look(bridge)


def look(bridge: Bridge) -> None:
    """Ask the CRM what it has. One that is away is asked another time, and says nothing of what is gone."""
    if not _answers(bridge):
        return
    try:
        crm = crm_of(bridge)
        _see(bridge, [*_gone(bridge, crm)])
        _see_what_expires(bridge, crm)
    except SideError:
        return
    _remember(bridge, looked=clock.now().isoformat())


def _answers(bridge: Bridge) -> bool:
    held = Q(paused=True) | Q(opened_at__isnull=False) | Q(wait_until__gt=clock.now())
    return not SideState.objects.filter(held, name=bridge.slug_of(Side.CRM)).exists()


# --- what is gone --------------------------------------------------------------------------------------------------


def _gone(bridge: Bridge, crm: Crm) -> Iterator[str]:
    """In words, one for each. Raises SideError where nobody can tell."""
    statuses, why = _listed(crm.statuses)
    if why:
        yield f"the statuses cannot be listed ({why})"
    fields, why = _listed(crm.fields)
    if why:
        yield f"the fields cannot be listed ({why})"
    there = {one.name for one in statuses}
    if there:
        known = there.union(_memory(bridge).get("statuses", ()))
        _remember(bridge, statuses=sorted(known))
        rules = StatusRule.objects.filter(bridge=bridge, crm_status__in=known - there).order_by("crm_status")
        for crm_status, woo_status in rules.values_list("crm_status", "woo_status"):
            yield f"status {crm_status!r} (mapped to {woo_status!r})"
    mapped = field_map(bridge.field_map)
    if fields and mapped:
        targets = [*(row.target for row in mapped.rows), *mapped.broken]
        yield from (f"field {one!r}" for one in sorted({*targets} - {field.name for field in fields}))


def _listed(ask: Callable[[], Sequence[T]]) -> tuple[Sequence[T], str]:
    """The list; or why there is none, which waiting does not change: a pipeline was deleted, say."""
    try:
        return ask(), ""
    except SideError as error:
        if error.again:
            raise
        return (), masked_text(str(error))


def _memory(bridge: Bridge) -> dict[str, Any]:
    """When it was looked at, and the statuses that its CRM has or had."""
    known = Condition.objects.filter(key=f"{SCHEMA}:{bridge.pk}").values_list("value", flat=True).first()
    return known or {}


def _remember(bridge: Bridge, **more: Any) -> None:
    value = {**_memory(bridge), **more}
    Condition.objects.update_or_create(
        key=f"{SCHEMA}:{bridge.pk}", defaults={"value": value}, create_defaults={"value": value, "since": clock.now()}
    )


def _see(bridge: Bridge, gone: Sequence[str]) -> None:
    if not gone:
        alarms.clear(SCHEMA, bridge=bridge.pk)
        return
    named = ", ".join(gone[:NAMED]) + (f", and {len(gone) - NAMED} more" if len(gone) > NAMED else "")
    words = f"{bridge}: the CRM does not have any more what is mapped: {named}."
    advice = (
        f"Add it again in the CRM, or map another one: statuses at /admin/webhooks/bridge/{bridge.pk}/statuses/, "
        "fields on the bridge's page. It is looked at again every few minutes."
    )
    alarms.raise_alarm(SCHEMA, words, advice, Severity.CRITICAL, bridge=bridge.pk)


# --- what ends by itself -------------------------------------------------------------------------------------------


def _see_what_expires(bridge: Bridge, crm: Crm) -> None:
    now, ends = clock.now(), crm.expires_at() if isinstance(crm, Expires) else {}
    soon = sorted((at, what) for what, at in ends.items() if at - now < SOON)
    if not soon:
        alarms.clear(EXPIRY, bridge=bridge.pk)
        return
    named = ", ".join(_ends(what, at, now) for at, what in soon)
    severity = Severity.CRITICAL if soon[0][0] - now < VERY_SOON else Severity.WARNING
    advice = "Renew it in the CRM, and enter the new one on the connection's page. Events wait once it has ended."
    alarms.raise_alarm(EXPIRY, f"{bridge}, in the CRM: {named}.", advice, severity, bridge=bridge.pk)


def _ends(what: str, at: datetime, now: datetime) -> str:
    return f"{what} {'ends' if at > now else 'ended'} on {at:%Y-%m-%d %H:%M} UTC"
