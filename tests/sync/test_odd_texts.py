"""Whatever text a side puts into an order: the worker lives, nothing is written twice, and there is a reason."""

import copy
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError
from django.utils import timezone

from orders.models import OrderLink
from sync.clients import paging
from sync.clients.crm import rest
from sync.clients.errors import Odd, SideError
from sync.clients.shop import _snapshot
from sync.models import Attempt, Run
from sync.pipeline import failures, links, record
from sync.pipeline.batch import Batch
from sync.pipeline.whose import identity
from sync.sandbox.server import Answer, LoopbackServer, Request
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.models import Side, State, WebhookEvent
from webhooks.texts import fit

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = {
    1: "\ud800x",
    2: "a\0b",
    3: "x" * 10_000,
    4: "💥",
    5: "\u200f\u202eabc",
    6: "\udfff\ud800",
}
"""By the order that has it. The last one is as it should be."""
GOOD = 7
REST = {
    "shop": "number order_key currency total transaction_id created_via customer_note date_created_gmt billing.email "
    "billing.city meta_data _links payment_method_title",
    "crm": "more order.customer_note order.order_key order.billing.email order.total order.date_created_gmt",
}
"""What need not be good."""
FIELDS = [
    *(("shop", name) for name in ("status", "date_modified_gmt", REST["shop"])),
    *(("crm", name) for name in ("id", "external_id", "status", "updated_at", "version", REST["crm"])),
]


def put(order: dict[str, Any], path: str, text: str) -> None:
    name, _, rest_of = path.partition(".")
    if rest_of:
        inner = order.get(name)
        order[name] = inner if isinstance(inner, dict) else {}
        put(order[name], rest_of, text)
    elif name in ("meta_data", "_links"):
        order[name] = [{"id": 1, "key": text, "value": {text: text}}]
    elif name == "updated_at" or name.startswith("date_"):
        order[name] = f"2026-01-01{text}10:00:00"
    elif name == "version":
        order[name] = text
    else:
        order[name] = f"{order.get(name) or ''}{text}"


def spoil(server: LoopbackServer, fields: list[str], texts: dict[str, str], known_by: str) -> None:
    """Each answer of this side shows these orders with these texts."""
    handle = server.handle

    def spoiled(request: Request, fault: Any) -> Answer:
        answer = handle(request, fault)
        content = copy.deepcopy(answer.content)
        shown = content.get("results", [content]) if isinstance(content, dict) else content
        for order in shown if isinstance(shown, list) else []:
            text = texts.get(str(order.get(known_by))) if isinstance(order, dict) else None
            for field in fields if text else []:
                if field in order or "_fields" not in request.query:
                    put(order, field, str(text))
        return Answer(answer.status, content, answer.headers)

    server.handle = spoiled  # type: ignore[method-assign]


def spoil_side(sides: TwoSides, side: str, field: str) -> None:
    texts = {str(n): text for n, text in TEXTS.items()}
    spoil(sides.shop if side == "shop" else sides.crm, field.split(), texts, "id" if side == "shop" else "external_id")


def drain() -> None:
    for _ in range(400):
        if not pipeline.work_once() and not WebhookEvent.objects.unfinished().exists():
            return
    raise AssertionError("the events do not end")


def run(*arguments: str) -> None:
    with suppress(CommandError):  # what was left out is told by the exit code
        call_command(*arguments)


def event(side: str, ref: str) -> None:
    WebhookEventFactory(side=side, source="woocommerce" if side == "shop" else "crm", order_ref=ref)


def created(sides: TwoSides) -> None:
    for n in (*TEXTS, GOOD):
        event("shop", str(n))
    drain()


def updated(sides: TwoSides) -> None:
    for n in (*TEXTS, GOOD):
        sides.shop.edit(n, customer_note="the back door")
        event("shop", str(n))
    drain()


def moved(sides: TwoSides) -> None:
    for crm_id in list(sides.crm.orders):
        sides.crm.set_status(crm_id, "shipped", notify=False)
        event("crm", crm_id)
    drain()


def reconciled(sides: TwoSides) -> None:
    for n, crm_id in zip((*TEXTS, GOOD), list(sides.crm.orders), strict=True):
        sides.crm.set_status(crm_id, "shipped", notify=False)
        if n % 2:
            sides.shop.edit(n, customer_note="the back door")
    run("reconcile", "--since", "24h")
    drain()


def backfilled(sides: TwoSides) -> None:
    run("backfill")
    drain()


def drifted(sides: TwoSides) -> None:
    for crm_id in list(sides.crm.orders):
        sides.crm.set_status(crm_id, "shipped", notify=False)
    run("drift")


WAYS: dict[str, tuple[bool, Callable[[TwoSides], None]]] = {
    "created": (False, created),
    "backfilled": (False, backfilled),
    "updated": (True, updated),
    "moved": (True, moved),
    "reconciled": (True, reconciled),
    "drifted": (True, drifted),
}
"""Whether the orders are linked before, and what is done then."""


@pytest.fixture
def prepared(two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch) -> TwoSides:
    settings.RETRY_MAX_ATTEMPTS, settings.RETRY_MAX_SECONDS = 3, 0.02
    monkeypatch.setattr(paging, "SIZES", (8, 2, 1))
    start = timezone.now() - timedelta(hours=5)
    for n in (*TEXTS, GOOD):
        two_sides.order(n, start + timedelta(minutes=n), status="processing")
    return two_sides


def writes(sides: TwoSides) -> Counter[str]:
    calls = [("shop", one) for one in sides.shop.requests] + [("crm", one) for one in sides.crm.requests]
    return Counter(
        f"{side} {call.method} {call.path} {call.json().get('external_id')}"
        for side, call in calls
        if call.method in ("PUT", "POST", "PATCH")
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("side", "field"), FIELDS, ids=lambda value: value.partition(" ")[0])
def test_no_text_of_an_order_stops_the_worker_or_repeats_a_write(
    prepared: TwoSides, way: str, side: str, field: str
) -> None:
    is_linked, go = WAYS[way]
    if is_linked:
        created(prepared)
        assert OrderLink.objects.count() == len(TEXTS) + 1
    prepared.forget_calls()
    spoil_side(prepared, side, field)
    go(prepared)
    assert {name: count for name, count in writes(prepared).items() if count > 1} == {}
    for one in WebhookEvent.objects.all():
        assert one.state in (State.DONE, State.PARKED, State.DEAD), one.state
        assert one.reason or one.outcome
    bad = ("WorkerLost", "UnicodeEncodeError", "DataError", "ValueError", "OverflowError", "Unkept", "TypeError")
    assert list(Attempt.objects.filter(result__in=bad).values_list("result", "error")) == []
    assert not Run.objects.exclude(state=Run.State.DONE).exists()
    last = WebhookEvent.objects.filter(order_ref__in=[str(GOOD), f"C-{GOOD}"]).order_by("pk").last()
    assert way == "drifted" or (last is not None and last.state == State.DONE)


# --- at the source -------------------------------------------------------------------------------------------------

ORDER = {"id": 14, "status": "processing", "date_modified_gmt": "2026-01-01T10:00:00"}
ONE = {"id": "C-1", "external_id": "14", "status": "new", "version": 1, "updated_at": "2026-01-01T10:00:00Z"}


@pytest.mark.parametrize("text", ["\ud800x", "a\0b", "�", "x" * 65, "\u200f"])
@pytest.mark.parametrize("raw", [True, False], ids=["as it came", "as the client marks it"])
def test_a_status_an_id_or_a_date_that_is_none_is_odd(text: str, raw: bool) -> None:
    text = text if raw else fit(text)
    for wrong in ({"status": text}, {"date_modified_gmt": f"2026-01-01{text}10:00:00"}):
        with pytest.raises(Odd):
            _snapshot(ORDER | wrong)
    for theirs in ({"status": text}, {"id": text}, {"version": text}, {"updated_at": f"2026-01-01{text}10:00:00"}):
        with pytest.raises(Odd):
            rest.snapshot(ONE | theirs)


@pytest.mark.parametrize("text", ["\ud800x", "14\0", "�"])
def test_a_spoiled_external_id_is_odd(text: str) -> None:
    with pytest.raises(Odd, match="external_id"):
        rest.snapshot(ONE | {"external_id": text})


def test_an_id_beyond_64_bits_is_odd() -> None:
    with pytest.raises(Odd, match="no good id"):
        _snapshot(ORDER | {"id": 2**63})


def test_a_tiny_amount_is_none() -> None:
    assert "total" not in identity({"total": "1e-999999"})
    assert identity({"total": "0.00"}) == {"total": "0"}


# --- where something gets past that ----------------------------------------------------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The database can not hold what a side, of whatever backend, has answered."""

    def refused(*args: Any) -> None:
        raise error

    monkeypatch.setattr(links, "save_all", refused)


ERRORS = [DataError("value too long"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), OverflowError("int")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_write_whose_answer_can_not_be_recorded_is_not_repeated(
    prepared: TwoSides, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    created(prepared)
    prepared.forget_calls()
    refuse(monkeypatch, error)
    prepared.shop.edit(GOOD, customer_note="the back door")
    event("shop", str(GOOD))
    drain()
    last = WebhookEvent.objects.latest("pk")
    assert (last.state, set(writes(prepared).values())) == (State.PARKED, {1})
    assert "was written to" in last.reason


def test_a_failure_that_can_not_be_recorded_whole_is_recorded_without_what_was_seen(
    prepared: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(attempt: Any, call: Any) -> Any:
        raise DataError("value too long")

    monkeypatch.setattr(record, "_row", refused)
    monkeypatch.setattr(record.log, "disabled", True)  # what pytest keeps of it could not be sent between its processes
    prepared.shop.orders.pop(GOOD)
    event("shop", str(GOOD))
    work = pipeline.take(Side.SHOP, str(GOOD))
    assert work is not None
    work.calls = [None]  # type: ignore[list-item]
    with failures.recorded(Batch([work]), work):
        raise ValueError("\ud800 and \0 of a side")
    last = WebhookEvent.objects.latest("pk")
    assert last.state == State.RETRYING
    assert "� and � of a side" in last.reason
    assert Attempt.objects.get(event=last).result == "ValueError"


def test_a_patch_whose_answer_is_odd_is_made_once_where_the_order_itself_can_be_read(prepared: TwoSides) -> None:
    created(prepared)
    prepared.forget_calls()
    handle = prepared.crm.handle

    def odd(request: Request, fault: Any) -> Answer:
        answer = handle(request, fault)
        return Answer(200, answer.content | {"status": "\ud800"}) if request.method == "PATCH" else answer

    prepared.crm.handle = odd  # type: ignore[method-assign]
    prepared.shop.edit(GOOD, customer_note="the back door")
    event("shop", str(GOOD))
    drain()
    assert (WebhookEvent.objects.latest("pk").state, set(writes(prepared).values())) == (State.DONE, {1})


def test_an_error_of_a_side_can_be_kept_whatever_it_quotes() -> None:
    error = SideError("\ud800", advice="\0")
    assert str(error) == "� �"
