"""One customer's personal data goes, wherever it stands, and nobody else's does."""

import json
from collections.abc import Iterator
from io import StringIO
from itertools import chain, islice
from random import Random
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from orders import audit
from orders.models import OrderLink, StaffAction
from orders.verification import Checkup
from sync.jobs import erasure
from sync.jobs.erasure import Customer
from sync.models import Alarm, Call, Run, SideState
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.filled import every_row
from webhooks.customers import hashed
from webhooks.models import Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
ANN = "ann.lee+shop@example.org"
MAY_REMAIN = {
    *("orders.StatusTransition", "orders.StaffAction", "orders.AuditSeal", "orders.ChainHead"),
    *("orders.HistoricalStatusRule", "orders.HistoricalAllowedMove"),
    *("auth.User", "auth.Group", "auth.Permission", "contenttypes.ContentType"),
    *("sync.Heartbeat", "sync.Lease", "sync.Counted", "sync.SideState", "sync.TodoItem", "django_q.Task"),
    *("orders.OrderLink", "webhooks.WebhookEvent", "sync.DriftFinding", "sync.MonthEndOrder", "sessions.Session"),
    "sync.Condition",
}
"""Append-only, accounts, and what has the address in its key or in an order's id."""
WITHOUT_TEXT = {
    "auth.User_groups",
    "axes.AccessAttemptExpiration",
    "sync.Intent",
    "sync.SideState",
    "webhooks.RefusalCount",
}


def erase(*args: str, email: str = ANN) -> dict[str, Any]:
    out = StringIO()
    try:
        call_command("erase_customer", email, "--json", *args, stdout=out)
    except CommandError as error:
        assert error.returncode == 1
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def event(order: str, said: Any, side: str = Side.SHOP, **fields: Any) -> WebhookEvent:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    done = {"state": State.DONE, "next_attempt_at": None, "customer": "c" * 32}
    made: WebhookEvent = WebhookEventFactory(side=side, order_ref=order, body=body, **{**done, **fields})
    return made


def cut_off() -> Iterator[list[int]]:
    raise KeyboardInterrupt
    yield


def emptied() -> set[int]:
    return set(WebhookEvent.objects.filter(body=b"", headers={}, customer=None).values_list("pk", flat=True))


@pytest.fixture
def link() -> OrderLink:
    made: OrderLink = OrderLinkFactory(woo_id=70, crm_order_id="C-70")
    return made


def test_all_events_of_the_customers_orders_are_emptied_on_both_sides(link: OrderLink) -> None:
    ours = {
        event("70", {"id": 70, "billing": {"email": ANN.upper(), "first_name": "Ann"}}).pk,
        event("70", {"id": 70, "billing": {"first_name": "Ann"}}).pk,
        event("C-70", {"crm_order_id": "C-70", "note": "Ann called"}, side=Side.CRM).pk,
    }
    theirs = {event("71", {"id": 71, "billing": {"email": "bob@example.org"}}).pk}
    told = erase("--reason", "asked on 3 March")
    assert (told["orders"], told["events"]) == ([70], 3)
    assert emptied() == ours
    assert not emptied() & theirs


def test_what_comes_in_later_is_found_by_the_record_of_the_first_time(link: OrderLink) -> None:
    event("70", {"billing": {"email": ANN}})
    erase()
    later = event("C-70", {"crm_order_id": "C-70", "note": "Ann called"}, side=Side.CRM)
    assert erase()["orders"] == [70]
    assert later.pk in emptied()


def test_an_order_that_the_crm_alone_tells_of_is_found(link: OrderLink) -> None:
    first = event("70", {"id": 70})
    event("C-70", {"customer": {"email": ANN}}, side=Side.CRM)
    assert erase()["orders"] == [70]
    assert first.pk in emptied()


def test_calls_words_and_small_tables_are_seen_to(link: OrderLink) -> None:
    one = event("70", {"billing": {"email": ANN}}, reason=f"Rejected: {ANN} is no customer")
    attempt = AttemptFactory(event=one, error=f"Rejected: {ANN}", reasons=[["gave_up", f"said {ANN}"]])
    CallFactory(attempt=attempt, request_body=f'{{"email": "{ANN}"}}', response_body=ANN, url=f"/orders?email={ANN}")
    other = CallFactory(response_body=f'[{{"note": "see {ANN}"}}]')
    SideState.objects.filter(name="crm").update(last_error=f"500: {ANN}")
    Alarm.objects.create(key="x", words=f"{ANN} again", advice="Look.")
    erase()
    attempt.refresh_from_db()
    one.refresh_from_db()
    assert "Rejected" in attempt.error
    assert "Rejected" in one.reason
    told = [attempt.error, attempt.reasons, one.reason, *Call.objects.values(), *SideState.objects.values()]
    told += Alarm.objects.values()
    assert "ann.lee" not in str(told)
    assert Call.objects.get(pk=other.pk).response_body == ""


def test_whom_a_note_mentions_does_not_own_the_order(link: OrderLink) -> None:
    mention = event("70", {"billing": {"email": "bob@example.org"}, "customer_note": f"write to {ANN}"})
    other = event("70", {"billing": {"email": "bob@example.org"}})
    told = erase()
    assert (told["orders"], told["events"]) == ([], 1)
    assert emptied() == {mention.pk}
    other.refresh_from_db()
    assert other.body


@pytest.mark.parametrize(
    "other",
    [
        "joann.lee+shop@example.org",
        "ann.lee+shop@example.org.au",
        "ann.lee@example.org",
        "x.ann.lee+shop@example.org",
        "n-ann.lee+shop@example.org",
    ],
)
def test_an_address_that_looks_alike_is_another(other: str) -> None:
    event("70", {"billing": {"email": other}})
    assert erase()["events"] == 0
    assert emptied() == set()


@pytest.mark.parametrize(
    "body",
    [
        b'{"billing": {"Email" : "Ann.Lee+Shop@Example.org"}}',
        b'{"billing_email":"ann.lee+shop@example.org", broken',
        b'[{"customer":{"email":"ann.lee+shop@example.org"}}]',
    ],
)
def test_it_is_met_in_every_spelling(body: bytes) -> None:
    event("70", body)
    assert erase()["orders"] == [70]


@pytest.mark.parametrize("body", [b"email=ann.lee%2Bshop%40example.org", b"\xff\xfe ann.lee+shop@example.org"])
def test_what_can_not_be_understood_is_emptied_too(body: bytes) -> None:
    one = event("", body, state=State.PARKED)
    erase()
    assert emptied() == {one.pk}


def test_addresses_beyond_ascii_are_met_as_php_and_python_write_them() -> None:
    assert Customer("jörg@example.org").owns('"email":"j\\u00f6rg@example.org"')
    assert Customer("jörg@example.org").owns('"email": "jörg@example.org"')


BESIDE = ("", " ", "\n", "\t", "\r", "\b", "\f", "\x7f", "\u00a0", "\u3000", "/", "<", ":", "\\", "\u306f", "- ", " -")
OUTSIDE_OF_JSON = (str, lambda one: f"&#{ord(one)};", lambda one: f"&#x{ord(one):x};", lambda one: f"%{ord(one):02X}")
SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", '"': '\\"', "\\": "\\\\", "/": "\\/"}


def spellings(one: str) -> list[str]:
    """All ways in which JSON lets a character be written."""
    bare = [] if one in '"\\' or one < " " else [one]
    return [*bare, *([SHORT[one]] if one in SHORT else []), f"\\u{ord(one):04x}", f"\\u{ord(one):04X}"]


def a_document(seed: int) -> str:
    """A JSON text with the address in it somewhere, also in JSON that is a string of JSON."""
    draw = Random(seed).choice
    ways = draw([(str,), OUTSIDE_OF_JSON])
    said = "".join(draw(ways)(draw([one, one.upper()])) for one in ANN)
    said = draw(BESIDE) + said + draw(BESIDE)
    for _ in range(draw([1, 1, 2, 3])):
        literal = f'"{"".join(draw(spellings(one)) for one in said)}"'
        said = draw(['{"note":%s}', '{"meta": [{"key": "x", "value": %s}]}', "{%s : 1}", "[1, %s]", "%s"]) % literal
    json.loads(said)
    return said


def as_escapes_only(email: str) -> Iterator[str]:
    yield json.dumps(email).replace("+", "\\u002B")
    yield json.dumps(email).replace("@", "\\u0040")
    yield '"' + "".join(f"\\u{ord(one):04x}" for one in email) + '"'
    yield json.dumps(f" {email}\n")
    yield json.dumps(f"Ann Lee <{email}>")


@given(st.integers(0, 2**32))
def test_the_address_is_met_in_every_spelling_of_json(seed: int) -> None:
    text = a_document(seed)
    assert Customer(ANN).is_mentioned(text)
    assert Customer(ANN).is_mentioned(text[:-1])


@pytest.mark.parametrize("spelled", [*as_escapes_only(ANN)])
@pytest.mark.parametrize(
    "around", ['{"email":%s}', '{"em\\u0061il" : %s', '{"emails": [{"value": %s}]}', '{"emailAddress":%s}']
)
def test_whose_order_it_is_is_told_in_every_spelling(link: OrderLink, spelled: str, around: str) -> None:
    own = event("70", (around % spelled).encode()).pk
    nested = event("71", {"payload": around % spelled}).pk
    assert erase()["orders"] == [70, 71]
    assert emptied() == {own, nested}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_json_in_other_encodings_is_read(encoding: str) -> None:
    event("70", json.dumps({"email": ANN}).encode(encoding))
    assert erase()["orders"] == [70]


def test_whom_only_the_hash_names_owns_the_order(link: OrderLink) -> None:
    own = {event("70", {"id": 70}, customer=hashed(ANN)).pk, event("C-70", {"note": "Ann"}, side=Side.CRM).pk}
    event("71", {"id": 71}, customer=hashed("bob@example.org"))
    assert erase()["orders"] == [70]
    assert emptied() == own


def test_columns_lose_it_in_every_spelling() -> None:
    """JSON that is kept as JSON, JSON that is kept as text, and words."""
    escaped = ANN.replace("@", "\\u0040")
    alarm = Alarm.objects.create(key="x", words=f'{{"email":"{escaped}"}}', advice=f"to:\n{ANN}")
    run = Run.objects.create(kind="replay", options={"words": [f"to:\n{ANN}", escaped], f"\t{ANN}": 1})
    told = erase()
    assert told["elsewhere"] == {"sync.Alarm.words": 1, "sync.Alarm.advice": 1, "sync.Run.options": 1}
    alarm.refresh_from_db()
    run.refresh_from_db()
    assert "ann" not in f"{alarm.words}{alarm.advice}{run.options}"


def test_of_a_delivery_with_several_events_the_whole_goes(link: OrderLink) -> None:
    elements = [{"crm_order_id": "C-1"}, {"crm_order_id": "C-70"}]
    shared = {"side": Side.CRM, "body_sha256": "a" * 64}
    first = event("C-1", elements, body_index=0, **shared)
    second = event("C-70", elements[1], body_index=1, **shared)
    owner = event("70", {"billing": {"email": ANN}})
    assert erase()["orders"] == [70]
    assert emptied() == {first.pk, second.pk, owner.pk}


def test_what_still_waits_is_named_and_left_to_a_second_time(link: OrderLink) -> None:
    waiting = event("70", {"billing": {"email": ANN}}, state=State.PENDING, next_attempt_at="2026-01-01T00:00Z")
    with pytest.raises(CommandError, match=f"left alone: {waiting.pk}. Run this again") as raised:
        call_command("erase_customer", ANN, stdout=StringIO())
    assert raised.value.returncode == 1
    assert emptied() == set()
    WebhookEvent.objects.update(next_attempt_at=None)
    assert erase()["events"] == 1


def test_the_deed_is_recorded_and_does_not_tell_of_the_customer(link: OrderLink, caplog: Any) -> None:
    caplog.set_level("INFO")
    event("70", {"billing": {"email": ANN}})
    erase("--reason", f"{ANN} asked")
    begun, done = StaffAction.objects.order_by("id")
    for row in (begun, done):
        assert (row.action, row.actor, row.details["orders"]) == ("erase customer", "command", [70])
    assert (begun.result, done.result) == ("begun", "1 events of 1 orders emptied, 0 still wait")
    assert "ann.lee" not in str(StaffAction.objects.values())
    assert "ann.lee" not in caplog.text
    erase(email="bob@example.org")
    erase(email=ANN.upper())
    ann, ann_done, bob, bob_done, again, _ = [row.details["customer"] for row in StaffAction.objects.order_by("id")]
    assert ann == ann_done == again != bob == bob_done


def test_one_that_died_on_the_way_has_recorded_whose_orders_these_were(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (event(order, {"billing": {"email": ANN}}).pk for order in ("70", "71"))
    chunks = erasure._chunks
    with monkeypatch.context() as dying:
        dying.setattr(erasure, "CHUNK", 1)
        dying.setattr(erasure, "_chunks", lambda rows: chain(islice(chunks(rows), 1), cut_off()))
        with pytest.raises(KeyboardInterrupt):
            erase()
    assert emptied() == {first}
    assert StaffAction.objects.get().details["orders"] == [70, 71]
    assert erase()["orders"] == [70, 71]
    assert emptied() == {first, second}


def test_the_audit_stays_whole_and_rows_that_can_not_be_changed_are_counted(link: OrderLink) -> None:
    event("70", {"billing": {"email": ANN}})
    StatusTransitionFactory(link=link, crm_answer={"email": ANN})
    audit.record("force", actor="bob", link=link)
    assert erase()["kept_in_audit"] == 1
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    assert checkup.findings == []


def test_a_dry_run_changes_nothing(link: OrderLink) -> None:
    event("70", {"billing": {"email": ANN}})
    told = erase("--dry-run")
    assert (told["dry_run"], told["orders"], told["events"]) == (True, [70], 1)
    assert emptied() == set()
    assert not StaffAction.objects.exists()


def test_it_says_what_it_can_not_erase(link: OrderLink) -> None:
    out = StringIO()
    call_command("erase_customer", ANN, stdout=out)
    for word in ("shop", "CRM", "Backups", "Log files", "new delivery"):
        assert word in out.getvalue()


@pytest.mark.parametrize("email", ["ann", "", "@example.org", "x" * 10_000])
def test_what_is_no_address_is_wrong_use(email: str) -> None:
    with pytest.raises(CommandError, match="no e-mail address") as raised:
        call_command("erase_customer", email)
    assert raised.value.returncode == 2


def test_the_address_can_be_kept_out_of_the_shells_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(f"{ANN}\n"))
    event("70", {"billing": {"email": ANN}})
    assert erase(email="-")["orders"] == [70]


def test_what_tells_an_order_from_others_tells_of_nobody(link: OrderLink) -> None:
    """Only an order that has neither key nor creation time is told by its customer."""
    event("70", {"billing": {"email": ANN}})
    for known in ({"customer": "c" * 32, "total": "10"}, {"key": "k" * 32, "created": "2026-01-01T00:00:00"}):
        OrderLink.objects.update(identity=known)
        erase()
        link.refresh_from_db()
        assert link.identity == ({} if "customer" in known else known)


# --- every table ---------------------------------------------------------------------------------------------------


def mentions() -> set[str]:
    """Each column of each table in which the address is."""
    found = set()
    for model in (one for one in apps.get_models(include_auto_created=True) if not one._meta.proxy):
        columns = {field.attname: field.name for field in model._meta.concrete_fields}
        for values in model._base_manager.values():
            for name, value in values.items():
                text = bytes(value).decode() if isinstance(value, bytes | memoryview) else str(value)
                if "ann.lee" in text.lower():
                    found.add(f"{model._meta.label}.{columns[name]}")
    return found


def test_in_every_column_of_every_table_it_is_gone_or_named(capsys: Any) -> None:
    rows = every_row(ANN)
    WebhookEvent.objects.update(next_attempt_at=None)
    session = SessionStore()
    session["_messages"] = f"No order of {ANN}"
    session.save()
    before = mentions()
    assert {"axes.AccessAttempt.username", "sync.Run.options", "sync.DriftFinding.ignored_because"} <= before
    assert {model._meta.label for model in rows} - {place.rpartition(".")[0] for place in before} <= WITHOUT_TEXT
    told = erase()
    assert mentions() == {place for place in told["remains"] if "." in place}
    assert {place.rpartition(".")[0] for place in told["remains"]} <= MAY_REMAIN
    assert not Session.objects.filter(pk=session.session_key).exists()
    out = StringIO()
    with pytest.raises(CommandError, match=r"stays in rows that no command may change: .*orders.StaffAction") as raised:
        call_command("erase_customer", ANN, stdout=out)
    assert raised.value.returncode == 1
    assert "orders.StatusTransition.crm_answer: the address stays in 1 rows." in out.getvalue()


def test_a_dry_run_tells_of_every_table_and_changes_none() -> None:
    every_row(ANN)
    WebhookEvent.objects.update(next_attempt_at=None)
    before = mentions()
    told = erase("--dry-run")
    assert mentions() == before
    assert {"sync.Run.options", "axes.AccessAttempt.username"} <= set(told["elsewhere"])
    assert "orders.StaffAction.details" in told["remains"]


def test_what_is_unique_stays_so() -> None:
    for number in (1, 2):
        event("", {}, dedupe_key=f"{number}:{ANN}")
    erase()
    assert len(set(WebhookEvent.objects.values_list("dedupe_key", flat=True))) == 2
    assert "ann.lee" not in str(WebhookEvent.objects.values())


def test_of_an_event_that_waits_nothing_is_taken_out_of() -> None:
    one = event("", {}, topic=f"about {ANN}", state=State.PENDING, next_attempt_at="2026-01-01T00:00Z")
    assert erase()["waiting"] == [one.pk]
    one.refresh_from_db()
    assert ANN in one.topic


def test_nothing_remains_of_whom_nobody_knows() -> None:
    every_row("bob@example.org")
    call_command("erase_customer", ANN, stdout=StringIO())
    told = erase("--dry-run")
    assert (told["elsewhere"], told["remains"], told["kept_in_audit"]) == ({}, {}, 0)
