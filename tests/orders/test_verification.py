"""Whatever somebody with all rights in the database does to history is found and named."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from threading import Barrier, Thread
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from orders import audit, verification
from orders.append_only import GUARDS
from orders.checkpoints import make_checkpoint
from orders.models import HASHED, AuditSeal, ChainHead, OrderLink, StaffAction, StatusTransition
from orders.verification import AuditFinding, Checkup
from tests import stored
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory

pytestmark = pytest.mark.django_db


def verified() -> list[AuditFinding]:
    """As a run that dies after each page and is taken up by another process."""
    checkup = Checkup()
    while next(checkup.go_on(), "the end") is None:
        checkup = Checkup.from_json(checkup.as_json())
    return checkup.findings


def named() -> list[tuple[str, int | None]]:
    return [(one.what, one.row) for one in verified()]


@pytest.fixture
def history(db: None) -> list[list[StatusTransition]]:
    """Two orders with four transitions each, some of them made in turn, and a few staff actions."""
    event = WebhookEventFactory()
    links = [OrderLinkFactory(woo_id=70), OrderLinkFactory(woo_id=80)]
    for _ in range(4):
        for link in links:
            StatusTransitionFactory(link=link, event=event, crm_version=1, crm_answer={"status": "paid", "n": 1.5})
        audit.record("replay", actor="ann", reason="CRM mended", event=event, link=links[0])
    connection.check_constraints()  # PostgreSQL lets nobody near a table while checks wait
    return [list(link.transitions.order_by("sequence")) for link in links]


@pytest.fixture
def disarmed(history: None) -> Iterator[Callable[..., None]]:
    """SQL as the owner of the database may run it: he takes the triggers away meanwhile."""
    with connection.cursor() as cursor:

        def run(sql: str, *values: Any) -> None:
            connection.check_constraints()  # PostgreSQL lets nobody near a table while checks wait
            for guard in GUARDS:
                for statement in guard.disarm(connection.vendor):
                    cursor.execute(statement)
            cursor.execute(sql, values)
            connection.check_constraints()
            for guard in GUARDS:
                for statement in guard.arm(connection.vendor):
                    cursor.execute(statement)

        yield run


def other(value: Any) -> Any:
    if isinstance(value, str):
        return "f" * 64 if len(value) == 64 else f"{value}x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return '{"status": "forged"}'
    return value + timedelta(seconds=1) if value is not None else "0"


CHANGE = "UPDATE orders_statustransition SET {} = %s WHERE id = %s"
COLUMNS = [
    *("sequence", "from_status", "to_status", "decision", "reason", "crm_status", "crm_version", "crm_answer"),
    *("actor", "created_at", "previous_hash", "hash", "version", "schema"),
]


def test_what_nobody_touched_is_proved(history: list[list[StatusTransition]]) -> None:
    assert verified() == []
    make_checkpoint()
    assert verified() == []


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_any_column_is_found(
    history: list[list[StatusTransition]], disarmed: Callable[..., None], column: str, place: int
) -> None:
    row = history[1][place]
    value = other(getattr(row, column)) if column != "sequence" else 99
    disarmed(CHANGE.format(column), value, row.pk)
    first, *_ = verified()
    assert (first.what, first.order) == ("transition", 80)
    changed = {row.pk, history[1][min(3, place + 1)].pk}  # a row that moved away is missed by the one that follows
    assert first.row in (changed if column == "sequence" else {row.pk})


@pytest.mark.parametrize("release", ["0.1.0"])
def test_a_chain_goes_on_over_an_upgrade_and_each_row_is_verified_as_it_was_hashed(
    disarmed: Callable[..., None], release: str
) -> None:
    stored.load(release)
    old = StatusTransition.objects.filter(version=None).order_by("pk").last()
    assert old is not None and old.hash
    new = StatusTransitionFactory(link=old.link, schema="rest/1")
    assert (new.version, new.previous_hash) == (HASHED, old.hash)
    make_checkpoint()
    assert verified() == []
    for row, column, value in ((old, "version", HASHED), (old, "schema", "rest/1"), (new, "version", None)):
        disarmed(CHANGE.format(column), value, row.pk)
        assert ("transition", row.pk) in named()
        disarmed(CHANGE.format(column), getattr(row, column), row.pk)
        assert verified() == []


def test_a_row_of_a_newer_release_is_no_forgery_but_cannot_be_proved(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    row = history[0][3]
    disarmed(CHANGE.format("version"), HASHED + 1, row.pk)
    assert [(one.row, one.words) for one in verified()] == [
        (row.pk, f"it was hashed as of version {HASHED + 1}, which only a newer release knows")
    ]


@pytest.mark.parametrize("column", ["event_id", "link_id"])
def test_a_row_given_to_another_is_found(
    history: list[list[StatusTransition]], disarmed: Callable[..., None], column: str
) -> None:
    row = history[1][3]
    value = WebhookEventFactory().pk if column == "event_id" else OrderLinkFactory(woo_id=90).pk
    disarmed(CHANGE.format(column), value, row.pk)
    assert ("transition", row.pk) in named()


def test_another_id_is_found_once_a_checkpoint_covers_it(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    make_checkpoint()
    unused = StatusTransition.objects.latest("pk").pk + 1000  # a sequence may have passed any number that stands here
    disarmed("UPDATE orders_statustransition SET id = %s WHERE id = %s", unused, history[1][3].pk)
    [finding] = verified()
    assert "covered 8 transitions" in finding.words
    assert finding.words.endswith("7 are left")


@pytest.mark.parametrize(
    ("gone", "names", "words"),
    [
        ([0], 1, "but number 1 is missing"),
        ([1], 2, "but number 2 is missing"),
        ([1, 2], 3, "but number 2 to 3 is missing"),
        ([3], 2, "the newest row is gone after this one: 3 of 4 are left"),
        ([2, 3], 1, "the newest 2 rows are gone after this one: 2 of 4 are left"),
        ([0, 1, 2, 3], None, "all 4 rows are gone"),
    ],
)
def test_a_row_that_is_gone_is_missed(
    history: list[list[StatusTransition]],
    disarmed: Callable[..., None],
    gone: list[int],
    names: int | None,
    words: str,
) -> None:
    for place in gone:
        disarmed("DELETE FROM orders_statustransition WHERE id = %s", history[1][place].pk)
    [finding] = verified()
    assert (finding.order, finding.row) == (80, history[1][names].pk if names is not None else None)
    assert words in finding.words


def test_the_newest_row_of_all_stays_missed_when_the_order_goes_on(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    disarmed("DELETE FROM orders_statustransition WHERE id = %s", history[1][3].pk)
    later = StatusTransitionFactory(link=history[1][0].link)
    assert later.sequence == 5
    assert named() == [("transition", later.pk)]


def test_all_history_of_all_orders_is_missed(disarmed: Callable[..., None]) -> None:
    disarmed("DELETE FROM orders_statustransition")
    assert [finding.order for finding in verified()] == [70, 80]


def test_an_order_that_vanished_with_its_link_and_its_head_is_missed_by_the_checkpoint(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    make_checkpoint()
    link = history[1][0].link_id
    disarmed("DELETE FROM orders_statustransition WHERE link_id = %s", link)
    disarmed("DELETE FROM orders_chainhead WHERE id = %s", link)
    disarmed("DELETE FROM orders_orderlink WHERE id = %s", link)
    [finding] = verified()
    assert (finding.what, finding.row) == ("checkpoint", AuditSeal.objects.get().pk)
    assert "covered 8 transitions" in finding.words
    assert finding.words.endswith("4 are left")


def test_two_rows_that_changed_places_are_found(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    one, two = history[1][1:3]
    for row, sequence in ((one, 99), (two, one.sequence), (one, two.sequence)):
        disarmed("UPDATE orders_statustransition SET sequence = %s WHERE id = %s", sequence, row.pk)
    assert named()[0] == ("transition", two.pk)


def forged(link: OrderLink, sequence: int, previous: str) -> StatusTransition:
    """A row that is right in itself, as somebody makes it who knows how the hash is made."""
    row = StatusTransitionFactory.build(link=link, sequence=sequence, previous_hash=previous, reason="forged")
    row.hash = row.content_hash()
    StatusTransition.objects.bulk_create([row])
    return row


def test_a_row_that_was_inserted_at_the_end_is_found(history: list[list[StatusTransition]]) -> None:
    row = forged(history[1][3].link, 5, history[1][3].hash)
    [finding] = verified()
    assert (finding.what, finding.row, finding.order) == ("transition", row.pk, 80)
    assert "inserted" in finding.words


def test_a_row_that_was_inserted_stays_found_and_does_not_stop_the_order(
    history: list[list[StatusTransition]],
) -> None:
    row = forged(history[1][3].link, 5, history[1][3].hash)
    assert StatusTransitionFactory(link=history[1][3].link).sequence == 6
    assert named() == [("transition", row.pk)]


def test_an_unreadable_row_that_was_inserted_does_not_stop_what_staff_do() -> None:
    audit.record("replay", actor="anna")
    when = "2025-13-45 00:00:00" if connection.vendor == "sqlite" else "infinity"
    columns = ", ".join(field.column for field in StaffAction._meta.concrete_fields if not field.primary_key)
    forged_ones = columns.replace("sequence", "2").replace("created_at", f"'{when}'")
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO orders_staffaction ({columns}) SELECT {forged_ones} FROM orders_staffaction")  # noqa: S608
    audit.record("replay", actor="anna")
    assert StaffAction.objects.order_by("-id").values_list("sequence", flat=True)[0] == 3


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_row_that_was_replaced_by_one_that_is_right_in_itself_is_found(
    history: list[list[StatusTransition]], disarmed: Callable[..., None], place: int
) -> None:
    old = history[1][place]
    disarmed("DELETE FROM orders_statustransition WHERE id = %s", old.pk)
    row = forged(old.link, old.sequence, old.previous_hash)
    assert ("transition", row.pk) in named()


def test_a_whole_chain_written_anew_is_found_as_nobody_else_can_sign_its_head(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    link, previous = history[1][0].link, ""
    disarmed("DELETE FROM orders_statustransition WHERE link_id = %s", link.pk)
    for sequence in range(1, 5):
        previous = forged(link, sequence, previous).hash
    disarmed("UPDATE orders_chainhead SET hash = %s WHERE id = %s", previous, link.pk)
    [finding] = verified()
    assert finding.order == 80
    assert "signed by somebody else" in finding.words


def test_a_chain_head_that_was_removed_is_missed_for_ever(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    link = history[1][0].link
    disarmed("DELETE FROM orders_chainhead WHERE id = %s", link.pk)
    assert [finding.order for finding in verified()] == [80]
    later = StatusTransitionFactory(link=link)
    assert later.sequence == 5
    assert named() == [("transition", later.pk)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE orders_staffaction SET reason = 'forged' WHERE sequence = 2", "its content was changed"),
        ("UPDATE orders_staffaction SET details = '{\"n\": 1}' WHERE sequence = 4", "its content was changed"),
        ("DELETE FROM orders_staffaction WHERE sequence = 1", "number 1 is missing"),
        ("DELETE FROM orders_staffaction WHERE sequence = 4", "the newest row is gone"),
        ("DELETE FROM orders_staffaction", "all 4 rows are gone"),
    ],
)
def test_the_chain_of_staff_actions_is_kept_as_well(disarmed: Callable[..., None], sql: str, words: str) -> None:
    disarmed(sql)
    [finding] = verified()
    assert finding.what == "staff action"
    assert words in finding.words


def test_staff_actions_that_vanished_with_their_head_are_missed_by_a_checkpoint(disarmed: Callable[..., None]) -> None:
    make_checkpoint()
    disarmed("DELETE FROM orders_staffaction")
    disarmed("DELETE FROM orders_chainhead WHERE id = 0")
    assert "staff action number 4" in verified()[0].words


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM orders_auditseal WHERE sequence = {}", "UPDATE orders_auditseal SET upto = 1 WHERE sequence = {}"],
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_checkpoints_are_a_chain_as_well(
    history: list[list[StatusTransition]], disarmed: Callable[..., None], sql: str, number: int
) -> None:
    for _ in range(3):
        StatusTransitionFactory(link=history[0][0].link)
        assert make_checkpoint() is not None
    disarmed(sql.format(number))
    assert {finding.what for finding in verified()} == {"checkpoint"}


def test_a_checkpoint_is_made_only_if_there_is_something_new(history: list[list[StatusTransition]]) -> None:
    assert [bool(make_checkpoint()), bool(make_checkpoint())] == [True, False]
    audit.record("replay", actor="ann")
    assert make_checkpoint() is not None
    StatusTransitionFactory()
    assert make_checkpoint() is not None
    assert list(AuditSeal.objects.order_by("id").values_list("sequence", "rows")) == [(1, 8), (2, 0), (3, 1)]


def test_rows_that_are_added_while_it_is_at_work_are_no_findings(
    history: list[list[StatusTransition]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "VERIFY_PAGE", 2)
    checkup = Checkup()
    for n, _ in enumerate(checkup.go_on()):
        if n < 8:
            StatusTransitionFactory(link=history[n % 2][0].link)
            StatusTransitionFactory()
            audit.record("replay", actor="ann")
            make_checkpoint()
    assert checkup.findings == []


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_the_size_of_a_page_hides_nothing(
    history: list[list[StatusTransition]],
    disarmed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    monkeypatch.setattr(verification, "VERIFY_PAGE", page)
    disarmed("DELETE FROM orders_statustransition WHERE id = %s", history[0][3].pk)
    disarmed("DELETE FROM orders_statustransition WHERE id = %s", history[1][1].pk)
    assert [finding.order for finding in verified()] == [70, 80]


def test_a_key_can_be_changed_as_long_as_the_old_one_is_named(
    history: list[list[StatusTransition]], settings: Any
) -> None:
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10
    assert len(verified()) == 6  # the heads of two orders, of staff actions and of checkpoints, and two pairs of ids
    settings.AUDIT_KEYS = ["another" * 10, old]
    assert verified() == []


def test_numbers_that_a_database_writes_in_its_own_way_break_nothing(history: list[list[StatusTransition]]) -> None:
    strange = {"big": 1e16, "huge": [1e300], "zero": -0.0, "small": 1e-7, "one": 1.0, "text": "ä\u2028", "int": 2**70}
    StatusTransitionFactory(link=history[0][0].link, crm_answer=strange)
    audit.record("replay", actor="ann", numbers=strange)
    assert verified() == []


def test_history_that_is_older_than_its_heads_gets_them(
    history: list[list[StatusTransition]], disarmed: Callable[..., None]
) -> None:
    disarmed("DELETE FROM orders_chainhead")
    assert len(verified()) == 4
    import_module("orders.migrations.0005_anchors").fill(apps, None)
    import_module("orders.migrations.0010_signed_pairs").anchor(apps, None)
    assert verified() == []
    assert ChainHead.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_several_at_once_take_their_places_one_after_the_other() -> None:
    link = OrderLinkFactory()
    together, errors = Barrier(4), list[Exception]()

    def work(name: str) -> None:
        try:
            together.wait(60)
            for _ in range(5):
                audit.record("replay", actor=name)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work, args=(f"worker {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert list(StaffAction.objects.order_by("id").values_list("sequence", flat=True)) == list(range(1, 21))
    StatusTransitionFactory(link=link)
    assert verified() == []


def test_the_first_row_may_come_while_another_one_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, came = ChainHead._lock, list[str]()

    def interrupted(chain: int) -> ChainHead | None:
        found = lock(chain)
        if not came:
            came.append("somebody else")
            audit.record("replay", actor="somebody else")
        return found

    monkeypatch.setattr(ChainHead, "_lock", interrupted)
    audit.record("replay", actor="anna")
    audit.record("replay", actor="anna")
    assert list(StaffAction.objects.order_by("id").values_list("sequence", flat=True)) == [1, 2, 3]
    assert verified() == []


def test_a_chain_head_only_grows(history: list[list[StatusTransition]]) -> None:
    head = ChainHead.objects.get(pk=history[0][0].link_id)
    assert (head.length, head.hash) == (4, history[0][3].hash)
    assert StaffAction.objects.count() == 4
    assert timezone.now() > history[0][0].created_at
