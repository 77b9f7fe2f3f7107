"""Whatever a side answers, each list ends: with its elements, or with an error that says why."""

import itertools
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import CommandError, call_command

from orders.models import OrderLink
from sync import tasks
from sync.alarms import open_alarms
from sync.clients import crm as crm_backends
from sync.clients import paging
from sync.clients.errors import Endless, ServerTrouble, SideError, TooLarge, Unreadable
from sync.clients.paging import alone, pages
from sync.jobs import backfill, engine
from sync.models import Run
from sync.monitoring import doctor
from sync.sandbox.orders import dated, new_order
from sync.sandbox.server import Answer, Request
from tests.factories import OrderLinkFactory
from tests.sync.conftest import NEW_YEAR, TwoSides

Page = tuple[list[int], str | None]


def read(fetch: Callable[[str], Page], **options: Any) -> list[int]:
    listed = pages(fetch, "", side="crm", what="orders", name=lambda one: one, **options)
    return [one for page in listed for one in page]


def answering(*answers: Page) -> Callable[[str], Page]:
    rest = iter(answers)
    return lambda place: next(rest)


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ([([], None)], []),
        ([([1, 2], None)], [1, 2]),
        ([([1, 2], "a"), ([3], None)], [1, 2, 3]),
        ([([], "a"), ([], "b"), ([1], None)], [1]),
        ([([1], "a"), ([1], None)], [1, 1]),
        ([([1], "a"), ([], "a")], [1]),
    ],
)
def test_a_list_that_ends_is_read_to_its_end(answers: list[Page], shown: list[int]) -> None:
    assert read(answering(*answers)) == shown


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([([1], "a"), ([1], "b")], "page 2 is one that came before"),
        ([([1], "a"), ([2], "b"), ([1], "c")], "page 3 is one that came before"),
        ([([1], "a"), ([2], "a")], "page 2 leads back"),
        ([([1], "a"), ([2], "b"), ([3], "a")], "page 3 leads back"),
        ([([1], "")], "page 1 leads back"),
    ],
)
def test_a_list_that_goes_round_in_circles_is_told_at_once(answers: list[Page], why: str) -> None:
    with pytest.raises(Endless, match=f"crm's list of orders does not end: {why}"):
        read(answering(*answers))


@pytest.mark.parametrize("page", [lambda n: [n], lambda n: []], ids=["ever new", "ever empty"])
def test_a_list_that_has_no_end_is_read_up_to_a_limit(page: Callable[[int], list[int]], settings: Any) -> None:
    settings.LIST_MAX_PAGES = 50
    asked = itertools.count(1)
    with pytest.raises(Endless, match=r"more than 50 pages.*raise LIST_MAX_PAGES"):
        read(lambda place: (page(n := next(asked)), str(n)))
    assert next(asked) == 51


def test_pages_that_take_too_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0, 7)
    monkeypatch.setattr(paging.time, "monotonic", lambda: next(now))
    asked = itertools.count(1)
    with pytest.raises(Endless, match="3 pages took 21 s"):
        read(lambda place: ([n := next(asked)], str(n)), longest=20)


def test_a_list_may_take_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the second; the last page is never too late."""
    now = itertools.count(0, 7)
    monkeypatch.setattr(paging.time, "monotonic", lambda: next(now))
    assert read(answering(([1], "a"), ([2], "b"), ([3], None)), longest=14) == [1, 2, 3]


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ([([1], "a"), ([1], "b")], {}),
        ([([1], "a"), ([2], "a")], {}),
        ([([1], "a"), ([2], "b")], {"most": 2}),
        ([([1], "a"), ([2], "b")], {"longest": -1}),
    ],
    ids=["the same page", "a circle", "too many", "too long"],
)
def test_a_list_without_an_end_is_named_with_its_side_and_with_advice(
    answers: list[Page], options: dict[str, Any]
) -> None:
    with pytest.raises(Endless, match="The crm's list of orders does not end: ") as raised:
        read(answering(*answers), **options)
    assert raised.value.side == "crm"
    assert raised.value.advice == "See whether a cache or a plugin answers in its place."


@pytest.mark.parametrize(
    "error", [TooLarge, ServerTrouble], ids=["too large at once", "fails twice while the side answers"]
)
def test_an_order_that_can_not_be_read_is_told_as_its_answer_was(error: type[SideError]) -> None:
    def read_one() -> None:
        raise error("It broke.", advice="Mend it.", side="shop", status=502, code="bad")

    with pytest.raises(Unreadable) as raised:
        alone(read_one, lambda: None)
    found = raised.value
    assert (found.message, found.advice, found.side, found.status, found.code) == (
        "It broke.",
        "Mend it.",
        "shop",
        502,
        "bad",
    )


def test_no_page_is_kept() -> None:
    asked = itertools.count(1)
    listed = pages(
        lambda place: ([bytes(100_000)], str(next(asked))), "", side="crm", what="x", name=lambda one: next(asked)
    )
    tracemalloc.start()
    for _ in itertools.islice(listed, 100):
        pass
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


# --- whoever reads a list of a side --------------------------------------------------------------------------------

Content = Callable[[int], list[Any]]


def hooks(page: int) -> list[Any]:
    """A page of webhooks that are nobody's."""
    hook = {"topic": "order.created", "status": "active", "delivery_url": "http://127.0.0.1/elsewhere"}
    dates = {"date_created_gmt": "2026-01-01T00:00:00", "date_modified_gmt": None}
    return [{"id": page * 1000 + n, **hook, **dates} for n in range(100)]


def orders_of_crm(page: int) -> list[Any]:
    at = (NEW_YEAR + timedelta(hours=page)).isoformat()
    return [{"id": f"C-{page}-{n}", "external_id": None, "status": "new", "updated_at": at} for n in range(20)]


def endless(sides: TwoSides, way: str) -> None:
    """Both sides' lists have no end. `way`: the same page for ever, ever new ones, or a cursor that comes again."""
    shop, crm, asked = sides.shop, sides.crm, itertools.count(1)
    shop_handle, crm_handle = shop.handle, crm.handle

    def of_shop(request: Request, fault: Any) -> Answer:
        if request.method == "GET" and request.path == "/wp-json/wc/v3/webhooks":
            return Answer(200, hooks(1 if way == "the same page" else next(asked)))
        if request.query.get("orderby") != "modified":
            return shop_handle(request, fault)
        n = 1 if way == "the same page" else next(asked)
        at = NEW_YEAR + timedelta(hours=n)
        page = [{**new_order(n * 10 + k, at, shop.url, {}), **dated("date_modified", at)} for k in range(3)]
        page[-1].update(dated("date_modified", at + timedelta(minutes=1)))
        return Answer(200, page, {"X-WP-Total": "1000000", "X-WP-TotalPages": "1000000"})

    def of_crm(request: Request, fault: Any) -> Answer:
        is_list = request.method == "GET" and request.path == "/orders"
        if not is_list or set(request.query) == {"limit"} or request.query.get("external_id", "").isdigit():
            return crm_handle(request, fault)
        n = next(asked)
        cursor = {"the same page": f"c{n}", "ever new pages": f"c{n}", "a circle": f"c{n % 3}"}[way]
        return Answer(200, {"results": orders_of_crm(1 if way == "the same page" else n), "next_cursor": cursor})

    shop.handle, crm.handle = of_shop, of_crm  # type: ignore[method-assign]


WAYS = ["the same page", "ever new pages", "a circle"]


def first_alarms() -> str:
    return " ".join(open_alarms().values_list("words", flat=True))


@pytest.fixture
def short(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.LIST_MAX_PAGES = 30
    monkeypatch.setattr("sync.clients.shop.MOST_HOOK_PAGES", 30)
    monkeypatch.setattr("sync.clients.crm.rest.LOOK_PAGES", 30)
    monkeypatch.setattr("sync.jobs.halves.PATIENCE", 0.1)
    settings.WOO_WEBHOOK_SECRETS = ["s" * 20]


@pytest.mark.cases_alike
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "command",
    [
        ["backfill"],
        ["reconcile"],
        ["reconcile", "--deep"],
        ["reconcile", "--dry-run"],
        ["drift"],
        ["resync", "--since", "2025-12-01"],
        ["shop_webhooks", "check"],
        ["shop_webhooks", "ensure", "--dry-run"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_a_command_ends_and_says_why(two_sides: TwoSides, short: None, command: list[str], way: str) -> None:
    """Each command reads at least one of the lists."""
    if command[0] in ("drift", "resync", "doctor"):
        OrderLinkFactory(woo_id=two_sides.order(1)["id"], crm_order_id="C-0", crm_updated_at=NEW_YEAR)
    endless(two_sides, way)
    out = StringIO()
    with pytest.raises(CommandError) as failure:
        call_command(*command, stdout=out)
    assert failure.value.returncode == 1
    assert "does not end" in f"{failure.value} {out.getvalue()}"
    assert len(two_sides.shop.requests) + len(two_sides.crm.requests) < 400


@pytest.mark.cases_alike
@pytest.mark.parametrize("way", WAYS)
def test_what_runs_on_a_schedule_ends_and_says_why(two_sides: TwoSides, short: None, way: str) -> None:
    endless(two_sides, way)
    tasks.reconcile()
    tasks.drift_nightly()
    errors = list(Run.objects.values_list("state", "error"))
    assert len(errors) == 2 and all(state == Run.State.FAILED and "does not end" in why for state, why in errors)
    tasks.watch()
    assert "does not end" in first_alarms()


def test_a_look_up_that_does_not_end_is_an_error_of_that_event(two_sides: TwoSides, short: None) -> None:
    """A CRM that ignores the filter."""
    endless(two_sides, "ever new pages")
    with pytest.raises(Endless, match="more than 30 pages"):
        crm_backends.connect().find("a filter that is ignored")


IGNORED = ["modified_after", "page", "per_page", "orderby", "order", "everything"]


@pytest.mark.cases_alike
@pytest.mark.parametrize("ignored", IGNORED)
@pytest.mark.parametrize("crowded", [False, True], ids=["spread", "of one second"])
def test_a_shop_that_ignores_what_it_is_asked_for_is_read_whole_or_says_so(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, ignored: str, crowded: bool
) -> None:
    monkeypatch.setattr(paging, "SIZES", (4, 2, 1))
    ids = set(two_sides.orders(30, every=timedelta(seconds=0 if crowded else 20)))
    listed = two_sides.shop._list

    def deaf(request: Request, fault: Any) -> Answer:
        if request.query.get("orderby") == "modified":
            names = [ignored] if ignored != "everything" else ["modified_after", "modified_before", *IGNORED]
            left = [(name, value) for name, value in request.pairs if name not in names]
            request = replace(request, target=f"{request.path}?{urlencode(left)}")
        return listed(request, fault)

    monkeypatch.setattr(two_sides.shop, "_list", deaf)
    run = backfill.start(actor="anna")
    engine.carry_out(run)
    linked = set(OrderLink.objects.values_list("woo_id", flat=True))
    assert linked == ids if run.state == Run.State.DONE else "does not end" in run.error
    assert len(two_sides.shop.requests) < 300


def test_what_the_doctors_page_gave_up_asks_nobody_any_more(two_sides: TwoSides, settings: Any) -> None:
    settings.LIST_MAX_PAGES = 10**9
    OrderLinkFactory(woo_id=two_sides.order(1)["id"], crm_order_id="C-0", crm_updated_at=NEW_YEAR)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sync.clients.shop.MOST_HOOK_PAGES", 10**9)
        patched.setattr("sync.clients.crm.rest.LOOK_PAGES", 10**9)
        patched.setattr("sync.clients.crm.rest.LOOK_SECONDS", 1e9)
        endless(two_sides, "ever new pages")
        findings = doctor.examine_within(1.0)
        assert {one.check for one in findings if one.words.startswith("Not finished")} >= {"webhooks", "crm"}
        for thread in threading.enumerate():
            if thread.name.startswith("doctor"):
                thread.join(60)
                assert not thread.is_alive()


# --- one bad element -----------------------------------------------------------------------------------------------


def failing(*answers: Exception | int) -> Callable[[], int]:
    rest = iter(answers)

    def ask() -> int:
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


TROUBLE, LARGE = ServerTrouble("500", side="shop"), TooLarge("too large", side="shop")


@pytest.mark.parametrize(
    ("reads", "pings", "came"),
    [
        ([7], [], 7),
        ([TROUBLE, 7], [0], 7),
        ([TROUBLE, TROUBLE], [0], Unreadable),
        ([TROUBLE, 7], [TROUBLE], ServerTrouble),
        ([LARGE], [], Unreadable),
    ],
    ids=["good", "once", "again while the side is well", "the side itself", "too large"],
)
def test_whether_it_is_the_order_or_the_side(
    reads: list[Exception | int], pings: list[Exception | int], came: type[SideError] | int
) -> None:
    read, ping = failing(*reads), failing(*pings)
    if isinstance(came, int):
        assert alone(read, ping) == came  # type: ignore[arg-type]
        return
    with pytest.raises(came) as raised:
        alone(read, ping)  # type: ignore[arg-type]
    assert type(raised.value) is came
