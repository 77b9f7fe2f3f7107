"""Tables with as many rows as years would bring, made by a few statements."""

from collections.abc import Mapping
from typing import Any

from django.db import connection, models
from django.utils import timezone

from orders.models import OrderLink, StaffAction, StatusTransition
from sync.models import Attempt, Call, DriftFinding, Run
from tests.benchmarks.running import say
from webhooks.models import RefusedDelivery, WebhookEvent

AT_ONCE = 50_000
PARKED_EVERY, DEAD_EVERY, RETRYING_EVERY = 400, 700, 1000


def history(events: int) -> None:
    """So many finished events, with what each of them leaves behind; half of them of the shop, half of the CRM."""
    postgres = connection.vendor == "postgresql"
    ago = f"7 * ({events} - i)"  # the newest has the highest id
    when = (
        f"now() - ({ago}) * interval '1 second'"
        if postgres
        else f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', (-({ago})) || ' seconds')"
    )
    email = """',"billing":{"email":"customer' || i || '@example.test"}'"""
    said = f"""'{{"id":' || i || {email} || ',"note":"{"x" * 1200}"}}'"""
    body = f"convert_to({said}, 'UTF8')" if postgres else f"CAST({said} AS blob)"
    state = (
        f"CASE WHEN i %% {PARKED_EVERY} = 0 THEN 'parked' WHEN i %% {DEAD_EVERY} = 0 THEN 'dead' "
        f"WHEN i %% {RETRYING_EVERY} = 0 THEN 'retrying' ELSE 'done' END"
    )
    orders = max(1, events // 4)
    is_crm = "i %% 2 = 1"
    order = f"1 + (i / 4) %% {orders}"
    _fill(
        OrderLink,
        orders,
        woo_id="i",
        crm_order_id="'C-' || i",
        crm_status="'shipped'",
        woo_status="'completed'",
        created_at=when,
        verified_at=when,
    )
    _fill(
        WebhookEvent,
        events,
        side=f"CASE WHEN {is_crm} THEN 'crm' ELSE 'shop' END",
        source=f"CASE WHEN {is_crm} THEN 'crm' ELSE 'woocommerce' END",
        topic=f"CASE WHEN {is_crm} THEN 'order.status_changed' ELSE 'order.updated' END",
        order_ref=f"CASE WHEN {is_crm} THEN 'C-' || ({order}) ELSE CAST({order} AS varchar(64)) END",
        body=body,
        delivery_id="'delivery-' || i",
        dedupe_key="'filled:' || i",
        duplicates="CASE WHEN i %% 100 = 0 THEN 1 ELSE 0 END",
        received_at=when,
        stored_at=when,
        state=state,
        outcome=f"CASE WHEN ({state}) = 'done' THEN 'no_change' ELSE '' END",
        reason="'Both sides already agree about this order.'",
        next_attempt_at=f"CASE WHEN i %% {RETRYING_EVERY} = 0 AND ({state}) = 'retrying' THEN {_later(postgres)} END",
        finished_at=when,
    )
    _fill(
        Attempt,
        events,
        event_id="i",
        started_at=when,
        result="'no_change'",
        trigger="'delivery'",
        milliseconds="i %% 900",
    )
    _fill(
        Call,
        2 * events,
        attempt_id=f"1 + i / 2 - i / (2 * {events})",
        side="CASE WHEN i %% 2 = 0 THEN 'crm' ELSE 'shop' END",
        method="'GET'",
        url="'https://shop.example/wp-json/wc/v3/orders/' || i",
        status="200",
        milliseconds="i %% 900",
        at=when,
    )
    _fill(
        StatusTransition,
        orders,
        link_id="i",
        sequence="1",
        from_status="'processing'",
        to_status="'completed'",
        decision="CASE WHEN i %% 50 = 0 THEN 'refused' ELSE 'applied' END",
        reason="'The CRM says shipped.'",
        event_id="i",
        created_at=when,
        hash="'0'",
    )
    some = max(20, events // 50)
    _fill(
        StaffAction,
        some,
        sequence="i",
        action="'replay'",
        actor="'ada'",
        reason="'asked for'",
        created_at=when,
        hash="'0'",
    )
    _fill(
        DriftFinding,
        some,
        kind="'status'",
        woo_id="i",
        crm_order_id="'C-' || i",
        found_at=when,
        seen_at=when,
        gone_at=when,
    )
    _fill(Run, some // 10, kind="'reconcile'", state="'done'", started_at=when, finished_at=when, beat_at=when)
    _fill(RefusedDelivery, 1000, source="'crm'", reason="'bad_signature'", received_at=when)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _later(postgres: bool) -> str:
    return "now() + interval '1 hour'" if postgres else "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '1 hour')"


def _fill(model: type[models.Model], count: int, **columns: str) -> None:
    """Rows 1 to `count`, each column an SQL expression over `i`; the others have their defaults."""
    rest = {
        field.attname: field.get_db_prep_save(_default(field), connection)
        for field in model._meta.concrete_fields
        # What only the database knows the default of, it fills in itself.
        if not field.primary_key
        and field.attname not in columns
        and (field.has_default() or not field.has_db_default())
    }
    into = ", ".join((*columns, *rest))
    values = ", ".join((*columns.values(), *_places(model, rest)))
    rows = "WITH RECURSIVE n(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
    for start in range(1, count + 1, AT_ONCE):
        until = min(start + AT_ONCE - 1, count)
        with connection.cursor() as cursor:
            # Nothing from outside stands in it.
            sql = f"INSERT INTO {model._meta.db_table} ({into}) {rows} SELECT {values} FROM n"  # noqa: S608
            cursor.execute(sql, [start, until, *rest.values()])
    say(f"    {count} {model._meta.verbose_name_plural}")


def _places(model: type[models.Model], rest: Mapping[str, Any]) -> list[str]:
    """PostgreSQL has to be told of what type a bare value is."""
    if connection.vendor != "postgresql":
        return ["%s"] * len(rest)
    types = {field.attname: field.db_type(connection) for field in model._meta.concrete_fields}
    return [f"CAST(%s AS {types[name]})" for name in rest]


def _default(field: models.Field) -> Any:
    return timezone.now() if isinstance(field, models.DateTimeField) and not field.null else field.get_default()
