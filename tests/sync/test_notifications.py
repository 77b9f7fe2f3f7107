"""Alarms and summaries reach people, over real SMTP and HTTP, by a clock that the test moves."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as wall
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as settings_of_project
from django.core.management import CommandError, call_command
from django.utils import timezone

from sync import alarms, tasks
from sync.alarms import clear, raise_alarm
from sync.clients import installation
from sync.models import Alarm, DriftFinding, Installation, Notification, Recipient, Severity, TodoItem
from sync.monitoring import lasting
from sync.notifications import outbox, recipients, rounds, sending
from tests.people import signed_in
from tests.sync.receivers import Mailbox, Receiver, free_port, http_receiver, mail_server, silent_server
from webhooks.connections import Bridge, Connection
from webhooks.masking import quoted

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
State, Kind = Notification.State, Notification.Kind


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    with http_receiver() as server:
        yield server


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    with mail_server() as server:
        settings.EMAIL_PORT = server.port
        yield server


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def on(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr("webhooks.clock.now", clock)
    monkeypatch.setattr("django.utils.timezone.now", clock)
    return clock


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[sending.Message]:
    """In the place of the network, for what is about when and what, not how."""
    messages: list[sending.Message] = []

    def take(some: list[sending.Message], deadline: float = 0) -> dict[int, str]:
        messages.extend(some)
        return {one.recipient: "" for one in some}

    monkeypatch.setattr(sending, "send_all", take)
    return messages


def recipient(address: str = "json://hooks.example/x", **rules: Any) -> Recipient:
    row = Recipient(**{"name": address[:80], "daily_at": None, "created_at": NOON - timedelta(days=3), **rules})
    row.store_address(address)
    row.save()
    return row


def states() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("state", flat=True))


# --- over the network ----------------------------------------------------------------------------------------------


def test_an_alarm_is_sent_when_it_is_raised_and_when_it_clears(
    receiver: Receiver, mailbox: Mailbox, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    recipient(receiver.url("ok"))
    recipient("ops@example.com")
    raise_alarm("silence:shop", "Shop: there was no delivery for 90 minutes.", "Look at the webhooks.")
    assert rounds.send_due() == {receiver.url("ok"): "", "ops@example.com": ""}
    clear("silence:shop")
    rounds.send_due()
    assert [(one["title"], one["type"]) for one in receiver.got] == [
        ("[Orderbridge] Warning: Shop: there was no delivery for 90 minutes.", "warning"),
        ("[Orderbridge] Cleared: Shop: there was no delivery for 90 minutes.", "success"),
    ]
    link = f"https://bridge.example/admin/sync/alarm/{Alarm.objects.get().pk}/change/"
    assert all(link in one["message"] for one in receiver.got)
    assert [one["To"] for one in mailbox.got] == ["ops@example.com"] * 2
    text = mailbox.got[0].get_content()
    assert link in text and "What to do: Look at the webhooks." in text
    assert rounds.send_due() == {}  # once
    assert states() == [State.SENT] * 4


def test_one_that_hangs_one_that_refuses_and_one_that_breaks_keep_nothing_from_the_others(
    receiver: Receiver, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending.send_all, "__defaults__", (1.5,))
    nobody = free_port()
    for path in ("ok", "broken", "hangs", "elsewhere"):
        recipient(receiver.url(path), name=path)
    recipient(f"json://127.0.0.1:{nobody}/secret-token-4711", name="away")
    recipient("ops@example.com", name="mail")
    recipient("refused@example.com", name="no such user")
    raise_alarm("audit", "The audit is broken.", "Look.", Severity.CRITICAL)
    began = time.monotonic()
    results = rounds.send_due()
    assert time.monotonic() - began < sending.DEADLINE  # it did not wait for the one that hangs
    assert (results["ok"], results["mail"]) == ("", "")
    assert "500" in results["broken"]
    assert "no answer within 1.5 s" in results["hangs"]
    assert "302" in results["elsewhere"]  # a redirect could lead anywhere
    assert "Connection error" in results["away"] and "secret-token-4711" not in results["away"]
    assert "550" in results["no such user"] and "refused@example.com" not in results["no such user"]
    assert len(receiver.got) == len(mailbox.got) == 1
    kept = dict(Notification.objects.values_list("to", "state"))
    assert kept == {
        **dict.fromkeys(("ok", "mail"), State.SENT),
        **dict.fromkeys(("broken", "hangs", "elsewhere", "away", "no such user"), State.WAITING),
    }


def test_a_mail_server_that_is_away_or_silent_is_named(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", free_port(), 5
    message = sending.Message(recipient=1, address="ops@example.com", title="t", body="b")
    assert "refused" in sending.send_all([message])[1].lower()
    with silent_server() as port:
        settings.EMAIL_PORT = port
        assert "no answer within 0.3 s" in sending.send_all([message], 0.3)[1]


def test_a_name_that_leads_inside_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """What DNS says is known only when it is asked; a redirect asks it, too."""
    from sync.notifications import guard

    with http_receiver() as server:
        inside = [(2, 1, 6, "", ("127.0.0.1", server.server_port))]
        monkeypatch.setattr(guard, "_getaddrinfo", lambda *args, **kwargs: inside)
        message = sending.Message(
            recipient=1, address=f"json://hooks.example.com:{server.server_port}/ok", title="t", body="b"
        )
        said = sending.send_all([message])[1]
        assert "hooks.example.com leads into this network" in said and "ALLOW_PRIVATE_ADDRESSES" in said
        assert server.asked == []


def test_the_worker_only_starts_a_process_that_sends(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append(command))
    tasks.notify()
    assert started == []
    recipient(receiver.url("hangs"))
    raise_alarm("audit", "The audit is broken.", "Look.")
    tasks.notify()
    assert [command[0] for command in started] == [sys.executable]
    assert [command[-1] for command in started] == ["notify"]
    assert receiver.asked == []  # the worker itself called nobody


def test_the_process_sends_and_ends_although_one_hangs(receiver: Receiver, migrated: Path, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    shutil.copy(migrated, database)
    urls = [receiver.url("hangs"), receiver.url("ok")]
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{database}",
        "NOTIFY_URLS": ",".join(urls),
        "ALLOW_PRIVATE_ADDRESSES": "true",
        "TESTS_NOTIFY_SECONDS": "3",
    }
    command = [sys.executable, "manage.py", "notify", "--test", "--json"]
    done = subprocess.run(command, env=env, cwd=settings_of_project.BASE_DIR, capture_output=True, timeout=60)
    assert done.returncode == 1  # one did not answer
    assert json.loads(done.stdout)["failed"] == {
        "json, from the environment": "There was no answer within 3 s. It may have arrived."
    }
    assert [one["title"] for one in receiver.got] == ["[Orderbridge] Test"]


# --- what is told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
def test_each_link_of_a_message_opens_the_page_that_it_names(
    sent: list[sending.Message], settings: Any, several: bool
) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    bridge, client = 1, signed_in("viewer")
    if several:
        shop = Connection.objects.create(slug="two", name="Two", kind="woocommerce", settings={"url": "https://two"})
        bridge = Bridge.objects.create(slug="two", name="Two", shop=shop, external_id_prefix="b-").pk
    long_ago = NOON - timedelta(days=3)
    for number, of in enumerate((1, bridge)):
        TodoItem.objects.create(bridge_id=of, cause="dead", order=f"woo:{number}", words="look", opened_at=long_ago)
    DriftFinding.objects.create(bridge_id=bridge, kind="status", woo_id=1, found_at=long_ago)
    recipient()
    lasting.on_schedule()
    rounds.send_due()
    links = re.findall(r"\S+/admin/\S*[^\s.]", " ".join(one.body for one in sent))
    of_bridge = f"&bridge={bridge}" if several else ""
    assert f"https://bridge.example/admin/sync/todoitem/?cause__exact=dead{of_bridge}" in links
    for link in links:
        path = link.removeprefix("https://bridge.example")
        assert path.startswith("/admin/") and client.get(path).status_code == 200, link
    listed = client.get(f"/admin/sync/todoitem/?cause__exact=dead{of_bridge}").context["cl"].result_list
    assert {item.bridge_id for item in listed} == {bridge}


def test_no_message_names_a_customer(sent: list[sending.Message]) -> None:
    recipient()
    raise_alarm(
        "left_out", f"Left out: order 14: {quoted('Zaphod Quill, 12 Main Street')} z.quill@home.example", "Look."
    )
    rounds.send_due()
    (message,) = sent
    assert "order 14" in message.body
    assert "Zaphod" not in message.title + message.body and "z.quill" not in message.title + message.body


def test_only_what_is_severe_enough_goes_to_a_recipient(sent: list[sending.Message]) -> None:
    everything, critical = recipient(min_severity=Severity.INFO), recipient("json://b.example/", min_severity=30)
    for key, severity in (("one", Severity.INFO), ("two", Severity.WARNING), ("three", Severity.CRITICAL)):
        raise_alarm(key, f"It is {key}.", "Look.", severity)
    rounds.send_due()
    bodies = {one.recipient: one.body for one in sent}
    assert all(f"It is {key}." in bodies[everything.pk] for key in ("one", "two", "three"))
    assert "It is three." in bodies[critical.pk] and "It is two." not in bodies[critical.pk]


def test_what_is_muted_is_not_sent_however_often_it_comes_back_and_is_told_when_the_mute_ends(
    sent: list[sending.Message], clock: Clock
) -> None:
    recipient()
    raise_alarm("silence:crm", "The CRM is quiet.", "Look.")
    rounds.send_due()
    Alarm.objects.update(muted_until=clock.now + timedelta(hours=2))
    for _ in range(3):
        clear("silence:crm")
        raise_alarm("silence:crm", "The CRM is quiet.", "Look.")
        clock.on(minutes=20)
        rounds.send_due()
    assert len(sent) == 1
    clock.on(hours=2)
    rounds.send_due()
    assert [one.title for one in sent[1:]] == ["[Orderbridge] Warning: The CRM is quiet."]


def test_an_open_alarm_that_was_muted_is_told_again_as_still_open(sent: list[sending.Message], clock: Clock) -> None:
    recipient()
    raise_alarm("silence:crm", "The CRM is quiet.", "Look.")
    rounds.send_due()
    Alarm.objects.update(muted_until=clock.now + timedelta(hours=2))
    clock.on(hours=3)
    rounds.send_due()
    rounds.send_due()
    assert [one.title for one in sent[1:]] == ["[Orderbridge] Warning, still open: The CRM is quiet."]


def test_a_critical_one_comes_again_until_somebody_acknowledges_it(sent: list[sending.Message], clock: Clock) -> None:
    recipient()
    raise_alarm("audit", "The audit is broken.", "Look.", Severity.CRITICAL)
    raise_alarm("drift", "They differ.", "Look.")
    rounds.send_due()
    for _ in range(2):
        clock.on(hours=4, minutes=1)
        rounds.send_due()
    assert [one.title for one in sent[1:]] == ["[Orderbridge] Critical, still open: The audit is broken."] * 2
    Alarm.objects.filter(key="audit").update(acknowledged_at=clock.now)
    clock.on(hours=9)
    rounds.send_due()
    assert len(sent) == 3


def test_one_that_was_over_before_it_was_told_is_told_all_the_same(sent: list[sending.Message], clock: Clock) -> None:
    recipient()
    raise_alarm("queue", "Removed from the queue.", "Look.")
    clear("queue")
    rounds.send_due()
    assert [one.title for one in sent] == ["[Orderbridge] Alarms: 1 raised, 1 cleared"]
    raise_alarm("queue", "Removed again.", "Look.")
    clear("queue")
    clock.on(hours=2)
    assert rounds.send_due() == {}


def test_a_copy_of_the_database_tells_of_nothing_else(sent: list[sending.Message], settings: Any) -> None:
    recipient(daily_at=wall(8))
    raise_alarm("audit", "The audit is broken.", "Look.")
    outbox.fill(NOON)
    Installation.objects.update_or_create(pk=Installation.ONLY, defaults={"public_url": "https://bridge.example"})
    settings.PUBLIC_URL = "https://copy.example"
    raise_alarm("silence:shop", "Quiet.", "Look.")
    raise_alarm(installation.ALARM, "This is a copy.", "Confirm.")
    rounds.send_due()
    assert [one.title for one in sent] == ["[Orderbridge] Warning: This is a copy."]


# --- how much, and when --------------------------------------------------------------------------------------------


def alarm_of(number: int, severity: Severity = Severity.WARNING) -> None:
    raise_alarm(f"key:{number}", f"Number {number}.", "Look.", severity)


def test_five_an_hour_and_the_rest_in_a_digest(sent: list[sending.Message], clock: Clock) -> None:
    recipient()
    for number in range(12):
        alarm_of(number)
        rounds.send_due()
        clock.on(minutes=2)
    assert [one.title for one in sent] == [f"[Orderbridge] Warning: Number {number}." for number in range(5)]
    clock.on(minutes=40)
    rounds.send_due()
    assert sent[5].title == "[Orderbridge] Alarms: 7 raised"
    assert all(f"Number {number}." in sent[5].body for number in range(5, 12))
    assert "Some of this waited" in sent[5].body


def test_fifteen_a_day_and_the_rest_when_the_next_may_go(sent: list[sending.Message], clock: Clock) -> None:
    recipient()
    for number in range(40):
        alarm_of(number)
        rounds.send_due()
        clock.on(minutes=20)
    assert len(sent) == 15
    clock.on(hours=11)
    rounds.send_due()
    assert sent[15].title == "[Orderbridge] Alarms: 25 raised"
    assert set(states()) == {State.SENT}


def test_each_recipient_has_limits_of_its_own(sent: list[sending.Message], clock: Clock, settings: Any) -> None:
    settings.NOTIFY_PER_HOUR = 1
    first = recipient()
    alarm_of(1)
    rounds.send_due()
    second = recipient("json://b.example/")
    alarm_of(2)
    rounds.send_due()
    assert [one.recipient for one in sent] == [first.pk, second.pk]


def test_quiet_hours_hold_back_all_but_what_is_critical(sent: list[sending.Message], clock: Clock) -> None:
    sleeper = {"quiet_from": wall(22), "quiet_until": wall(7), "time_zone": "Europe/Berlin"}
    recipient(**sleeper)
    deaf = recipient("json://b.example/", quiet_but_critical=False, **sleeper)
    clock.now = datetime(2026, 6, 10, 21, 30, tzinfo=UTC)  # 23:30 in Berlin
    alarm_of(1)
    rounds.send_due()
    assert sent == []
    raise_alarm("audit", "The audit is broken.", "Look.", Severity.CRITICAL)
    rounds.send_due()
    assert [one.title for one in sent] == ["[Orderbridge] Critical: The audit is broken."]
    clock.now = datetime(2026, 6, 11, 4, 59, tzinfo=UTC)
    rounds.send_due()
    clock.on(minutes=1)  # 7:00 in Berlin
    assert [one.recipient for one in sent] != [deaf.pk]
    rounds.send_due()
    told = {one.recipient: one.title for one in sent[-2:]}
    assert told[deaf.pk].startswith("[Orderbridge] Alarms: 2 raised")


def test_the_daily_summary_says_that_all_is_well_or_what_is_not(sent: list[sending.Message], clock: Clock) -> None:
    recipient(daily_at=wall(8), time_zone="Europe/Berlin")
    clock.now = datetime(2026, 6, 11, 5, 59, tzinfo=UTC)
    rounds.send_due()
    assert sent == []
    clock.on(minutes=1)
    for _ in range(3):
        rounds.send_due()
        clock.on(hours=1)
    assert [(one.title, one.is_bad) for one in sent] == [("[Orderbridge] All is well", False)]
    raise_alarm("audit", "The audit is broken.", "Look.", Severity.CRITICAL)
    rounds.send_due()
    clock.now = datetime(2026, 6, 12, 6, 0, tzinfo=UTC)
    Alarm.objects.update(acknowledged_at=clock.now, acknowledged_by="ada")
    rounds.send_due()
    assert (sent[-1].title, sent[-1].is_bad) == ("[Orderbridge] 1 alarm is open, the worst is critical", True)
    assert "Critical (acknowledged by ada): The audit is broken." in sent[-1].body


def test_a_test_goes_at_once_past_quiet_hours_and_limits(
    sent: list[sending.Message], clock: Clock, settings: Any
) -> None:
    settings.NOTIFY_PER_HOUR = 0
    row = recipient(quiet_from=wall(0), quiet_until=wall(23, 59))
    alarm_of(1)
    outbox.ask_for_test(row, clock.now)
    rounds.send_due()
    assert [one.title for one in sent] == ["[Orderbridge] Test"]
    assert sorted(states()) == [State.SENT, State.WAITING]


# --- when it fails -------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[[bool], None]:
    answer = {"words": "It broke."}
    monkeypatch.setattr(sending, "send_all", lambda some, deadline=0: {one.recipient: answer["words"] for one in some})
    return lambda fails: answer.update(words="It broke." if fails else "")


def test_what_fails_is_tried_again_later_and_later_and_given_up(failing: Any, clock: Clock) -> None:
    recipient()
    alarm_of(1)
    tries = []
    for _ in range(100):
        if rounds.send_due():
            tries.append(clock.now - NOON)
        clock.on(minutes=1)
    assert [span // timedelta(minutes=1) for span in tries] == [0, 1, 6, 26, 86]
    first = Notification.objects.order_by("pk")[0]
    assert (first.state, first.tries, first.error) == (State.FAILED, 5, "It broke.")


def test_that_one_cannot_be_reached_is_told_to_the_others_until_it_can(failing: Any, clock: Clock) -> None:
    lost = recipient()
    alarm_of(1)
    rounds.send_due()
    clock.on(minutes=2)
    rounds.send_due()
    (alarm,) = alarms.open_alarms().filter(key=f"notify:{lost.pk}")
    assert "It broke." in alarm.words
    outbox.fill(clock.now)
    assert not Notification.objects.filter(alarm=alarm).exists()  # not by the way that is broken
    failing(False)
    clock.on(minutes=10)
    rounds.send_due()
    assert not alarms.open_alarms().filter(key=f"notify:{lost.pk}").exists()


@pytest.mark.parametrize("how", ["removed", "switched off", "gone from the environment"])
def test_of_a_recipient_who_is_not_there_any_more_no_alarm_stays(
    failing: Any, clock: Clock, settings: Any, how: str
) -> None:
    settings.NOTIFY_URLS = ["json://hooks.example/x"]
    recipients.keep_in_step()
    Recipient.objects.update(daily_at=None)
    alarm_of(1)
    for _ in range(2):
        rounds.send_due()
        clock.on(minutes=2)
    assert alarms.open_alarms().filter(key__startswith="notify:").exists()
    if how == "gone from the environment":
        settings.NOTIFY_URLS = []
    elif how == "removed":
        Recipient.objects.all().delete()
    else:
        Recipient.objects.update(enabled=False)
    rounds.start_if_needed()
    assert not alarms.open_alarms().filter(key__startswith="notify:").exists()


def test_what_came_last_is_not_given_up_with_what_came_first(failing: Any, clock: Clock) -> None:
    """The mail server is away for an hour and a half; an alarm of its end was sent to it once."""
    recipient()
    alarm_of(1)
    for minute in range(90):
        if minute == 80:
            alarm_of(2)
        rounds.send_due()
        clock.on(minutes=1)
    assert dict(Notification.objects.values_list("words", "state")) == {
        "Number 1.": State.FAILED,
        "Number 2.": State.WAITING,
    }
    failing(False)
    clock.on(minutes=60)
    rounds.send_due()
    assert Notification.objects.get(words="Number 2.").state == State.SENT


def test_a_corrected_address_is_tested_at_once_and_what_waited_follows(failing: Any, clock: Clock) -> None:
    row = recipient()
    alarm_of(1)
    for minutes in (0, 2, 6, 21):
        clock.on(minutes=minutes)
        assert rounds.send_due()
    assert rounds.send_due() == {}  # an hour to wait
    failing(False)
    outbox.ask_for_test(row, clock.now)
    rounds.send_due()
    assert states() == [State.WAITING, State.SENT]
    rounds.send_due()
    assert states() == [State.SENT, State.SENT]


def test_whoever_is_killed_while_it_sends_has_used_up_a_try(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(some: Any, deadline: float = 0) -> dict[int, str]:
        raise Killed

    monkeypatch.setattr(sending, "send_all", die)
    recipient()
    alarm_of(1)
    with pytest.raises(Killed):
        rounds.send_due()
    assert outbox.due(clock.now) == []  # no second process sends it meanwhile
    clock.on(minutes=2)
    assert len(outbox.due(clock.now)) == 1


def test_the_log_is_bounded_and_forgets_nothing_that_waits(
    sent: list[sending.Message], clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(rounds, "KEPT", 3)
    settings.NOTIFY_PER_HOUR = 1
    recipient()
    for number in range(6):
        clock.on(hours=1)
        alarm_of(number)
        rounds.send_due()
    for number in (6, 7):
        alarm_of(number)
        rounds.send_due()
    kept = Notification.objects.order_by("pk").values_list("words", "state")
    assert [words for words, _ in kept] == [f"Number {number}." for number in range(3, 8)]
    assert [state for _, state in kept] == [State.SENT] * 3 + [State.WAITING] * 2
    clock.on(days=8)
    outbox.fill(clock.now)
    assert "It waited for a week." in Notification.objects.order_by("-pk")[0].error


def test_an_address_that_cannot_be_decrypted_is_said_and_not_sent(settings: Any, clock: Clock) -> None:
    settings.CREDENTIAL_KEYS = ["one key"]
    recipient()
    settings.CREDENTIAL_KEYS = ["another key"]
    alarm_of(1)
    assert rounds.send_due() == {"json://hooks.example/x": "Its address cannot be read: enter it again."}


# --- the environment -----------------------------------------------------------------------------------------------


def test_the_entries_of_the_environment_are_rows_without_their_address(settings: Any) -> None:
    settings.NOTIFY_URLS = ["json://hooks.example/token-4711", "ops@example.com"]
    recipients.keep_in_step()
    recipients.keep_in_step()
    rows = {one.name: one for one in Recipient.objects.all()}
    assert sorted(rows) == ["E-mail, from the environment", "json, from the environment"]
    assert {one.address for one in rows.values()} == {""}
    assert recipients.address_of(rows["json, from the environment"]) == "json://hooks.example/token-4711"
    rows["E-mail, from the environment"].delete()
    settings.NOTIFY_URLS = settings.NOTIFY_URLS[1:]
    recipients.keep_in_step()
    assert Recipient.objects.count() == 2
    assert [one.name for one in recipients.told()] == ["E-mail, from the environment"]


def test_an_entry_that_was_gone_for_a_while_is_told_again_by_its_own_rules(
    sent: list[sending.Message], settings: Any
) -> None:
    """Of a host whose .env was older, say. Whoever staff switched off stays so."""
    entries = ["json://hooks.example/ours", "json://hooks.example/off"]
    settings.NOTIFY_URLS = entries
    rounds.send_due()
    ours, off = Recipient.objects.order_by("pk")
    Recipient.objects.update(min_severity=Severity.CRITICAL, daily_at=None)
    Recipient.objects.filter(pk=off.pk).update(enabled=False)
    settings.NOTIFY_URLS = []
    alarm_of(1, Severity.CRITICAL)
    rounds.send_due()
    assert sent == [] and not Notification.objects.exists()
    settings.NOTIFY_URLS = entries
    alarm_of(2, Severity.CRITICAL)
    alarm_of(3)
    rounds.send_due()
    assert [(one.recipient, one.title) for one in sent] == [(ours.pk, "[Orderbridge] Critical: Number 2.")]


def test_the_command_sends_a_test_and_says_what_failed(receiver: Receiver, capsys: Any) -> None:
    with pytest.raises(CommandError, match="There is no recipient"):
        call_command("notify", "--test")
    recipient(receiver.url("ok"), name="here")
    call_command("notify", "--test", "--json")
    assert '{"sent": 1, "failed": {}}' in capsys.readouterr().out
    recipient(receiver.url("broken"), name="there")
    with pytest.raises(CommandError, match=r"1 could not be sent. there: .*500") as caught:
        call_command("notify", "--test")
    assert caught.value.returncode == 1
    assert len(receiver.got) == 2


def test_a_dry_run_sends_nothing(receiver: Receiver, capsys: Any) -> None:
    recipient(receiver.url("ok"), name="here")
    alarm_of(1)
    outbox.fill(timezone.now())
    call_command("notify", "--dry-run", "--json")
    assert '"would_send": {"here": ["Number 1."]}' in capsys.readouterr().out
    assert receiver.asked == []
