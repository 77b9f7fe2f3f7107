"""Who hears of alarms: which addresses are taken, when it is quiet there, and the pages."""

from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.models import StaffAction
from sync.alarms import raise_alarm
from sync.models import Alarm, Notification, Recipient
from sync.notifications import addresses
from sync.notifications.addresses import Refused
from sync.notifications.timing import is_quiet, summary_is_due
from tests.people import signed_in
from webhooks.credentials import decrypt

EVENING, MORNING = wall(22), wall(7)
BERLIN = "Europe/Berlin"


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "ops@example.com",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "ntfys://topic",
        "ntfys://ntfy.sh/topic",
        "jsons://hooks.example.com/x?format=text",
        "workflows://prod.westeurope.example.com:443/abc/def",
        "mailtos://user:password@example.com",
    ],
)
def test_an_address_that_leads_outside_is_taken(address: str) -> None:
    addresses.check_wholly(address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("file:///etc/passwd", "file:// is none of the services"),
        ("syslog://", "syslog:// is none of the services"),
        ("dbus://", "dbus:// is none of the services"),
        ("exec://rm", "exec:// is none of the services"),
        ("something", "neither a URL nor an address"),
        ("", "neither a URL nor an address"),
        ("ops@nowhere@", "no e-mail address"),
        ("slack://too-little", "lacks something"),
        ("https://example.com/x", "lacks something"),
        ("json://127.0.0.1/", "leads into this network"),
        ("json://[::1]:8000/", "leads into this network"),
        ("json://[::ffff:10.0.0.1]/", "leads into this network"),
        ("jsons://169.254.169.254/latest", "leads into this network"),
        ("json://0x7f000001/", "leads into this network"),
        ("json://127.1/", "leads into this network"),
        ("json://localhost/", "leads into this network"),
        ("gotify://intranet/token", "leads into this network"),
        ("ntfy://printer.local/topic", "leads into this network"),
        ("mailto://user:password@example.com?smtp=10.0.0.5", "leads into this network"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?template=/etc/passwd", "option template= names a file"),
        ("mailto://u:p@example.com?pgpprv=/etc/key", "option pgpprv= names a file"),
        ("json://hooks.example.com/?redirect=yes", "redirect= is not allowed"),
    ],
)
def test_any_other_is_refused_in_words(address: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        addresses.check_wholly(address)


def test_an_unknown_scheme_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(Refused) as caught:
        addresses.check("smoke-signals://hill")
    assert all(one in str(caught.value) for one in ("slack://", "ntfys://", "tgram://", "workflows://", "jsons://"))


def test_every_service_that_is_named_is_one_of_apprise() -> None:
    from apprise.manager_plugins import NotificationManager

    known = NotificationManager()
    assert [scheme for scheme in addresses.SCHEMES if scheme not in known or not known[scheme].enabled] == []


def test_an_address_inside_is_taken_where_that_is_allowed(settings: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    addresses.check_wholly("json://127.0.0.1:8000/hook")


def test_an_e_mail_address_needs_a_mail_server(settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = "django.core.mail.backends.smtp.EmailBackend", ""
    with pytest.raises(Refused, match="EMAIL_URL is not set"):
        addresses.check("ops@example.com")


# --- when ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "quiet"),
    [
        ("2026-06-10T19:59:59", False),  # 21:59:59 in Berlin
        ("2026-06-10T20:00:00", True),
        ("2026-06-10T22:00:00", True),  # midnight there
        ("2026-06-11T04:59:59", True),
        ("2026-06-11T05:00:00", False),
        # The clocks go forward at 1:00 UTC on 29 March: the night is an hour shorter.
        ("2026-03-28T21:00:00", True),
        ("2026-03-29T00:59:59", True),
        ("2026-03-29T04:59:59", True),
        ("2026-03-29T05:00:00", False),
        # They go back at 1:00 UTC on 25 October: it is an hour longer.
        ("2026-10-24T20:00:00", True),
        ("2026-10-25T05:59:59", True),
        ("2026-10-25T06:00:00", False),
    ],
)
def test_quiet_hours_go_by_the_clock_of_the_place(now: str, quiet: bool) -> None:
    assert is_quiet(datetime.fromisoformat(now).replace(tzinfo=UTC), EVENING, MORNING, BERLIN) == quiet


@pytest.mark.parametrize(
    ("now", "quiet"),
    [
        ("2026-10-25T00:30:00", True),  # 2:30, for the first time
        ("2026-10-25T01:30:00", True),  # 2:30 again
        ("2026-10-25T02:00:00", False),
        ("2026-03-29T00:59:59", False),  # 1:59:59, then comes 3:00
        ("2026-03-29T01:00:00", False),
    ],
)
def test_an_hour_that_comes_twice_is_quiet_twice_and_one_that_is_left_out_never(now: str, quiet: bool) -> None:
    assert is_quiet(datetime.fromisoformat(now).replace(tzinfo=UTC), wall(2), wall(3), BERLIN) == quiet


def test_within_a_day_or_not_at_all() -> None:
    noon = datetime(2026, 6, 10, 12, tzinfo=UTC)
    assert is_quiet(noon, wall(11), wall(13), "UTC")
    assert not is_quiet(noon, wall(13), wall(14), "UTC")
    assert not is_quiet(noon, None, None, "UTC")
    assert not is_quiet(noon, wall(12), wall(12), "UTC")
    assert is_quiet(noon, wall(11), wall(13), "Middle/Earth")  # then it is UTC


SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "last", "due"),
    [
        ("2026-03-29T00:59:00", "2026-03-28", False),  # 1:59 in Berlin
        ("2026-03-29T01:00:00", "2026-03-28", True),  # 3:00: there is no 2:30 on that day
        ("2026-03-29T01:10:00", "2026-03-29", False),
        ("2026-10-25T00:30:00", "2026-10-24", True),  # 2:30
        ("2026-10-25T01:30:00", "2026-10-25", False),  # 2:30 again
        ("2026-10-26T01:29:00", "2026-10-25", False),
        ("2026-10-26T01:30:00", "2026-10-25", True),
    ],
)
def test_one_summary_on_each_day_also_when_the_clocks_change(now: str, last: str, due: bool) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert summary_is_due(moment, wall(2, 30), BERLIN, last=date.fromisoformat(last), since=SINCE) == due


def test_a_new_recipient_gets_its_first_summary_at_its_time_and_not_at_once() -> None:
    made = datetime(2026, 6, 10, 9, tzinfo=UTC)
    assert not summary_is_due(made, wall(8), "UTC", last=None, since=made)
    assert summary_is_due(made, wall(9, 30), "UTC", last=None, since=made) is False
    assert summary_is_due(made + timedelta(minutes=30), wall(9, 30), "UTC", last=None, since=made)
    assert summary_is_due(made + timedelta(days=1), wall(8), "UTC", last=None, since=made)


# --- the pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(db: None) -> Client:
    return signed_in("manager")


def form(**said: str) -> dict[str, str]:
    return {
        "name": "the channel",
        "new_address": "jsons://hooks.example.com/token-4711",
        "enabled": "on",
        "min_severity": "20",
        "time_zone": BERLIN,
        "quiet_from": "22:00",
        "quiet_until": "07:00",
        "quiet_but_critical": "on",
        "daily_at": "08:00",
        **said,
    }


def test_an_address_is_stored_encrypted_and_never_shown_again(manager: Client) -> None:
    assert manager.post(reverse("admin:sync_recipient_add"), form()).status_code == 302
    row = Recipient.objects.get()
    assert "token-4711" not in row.address
    assert decrypt(row.address) == {"url": "jsons://hooks.example.com/token-4711"}
    pages = [reverse("admin:sync_recipient_changelist"), reverse("admin:sync_recipient_change", args=[row.pk])]
    texts = [manager.get(page).content.decode() for page in pages]
    assert all("token-4711" not in text and "jsons://•••" in text for text in texts)
    action = StaffAction.objects.get()
    assert (action.action, action.actor) == ("recipient: add", "manager")
    assert "token-4711" not in action.result and row.address not in action.result
    # Without a new one, the one there is stays.
    assert manager.post(pages[1], form(new_address="", name="renamed")).status_code == 302
    row.refresh_from_db()
    assert (row.name, decrypt(row.address)["url"]) == ("renamed", "jsons://hooks.example.com/token-4711")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("new_address", "json://127.0.0.1/", "ALLOW_PRIVATE_ADDRESSES"),
        ("new_address", "", "Write where messages are to go"),
        ("time_zone", "Middle/Earth", "is no time zone"),
        ("quiet_until", "", "write both, or neither"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_stored(manager: Client, field: str, value: str, why: str) -> None:
    page = manager.post(reverse("admin:sync_recipient_add"), form(**{field: value}))
    assert why in page.content.decode()
    assert not Recipient.objects.exists()


def test_the_address_of_the_environment_is_locked(manager: Client, settings: Any) -> None:
    from sync.notifications import recipients

    settings.NOTIFY_URLS = ["jsons://hooks.example.com/token-4711"]
    recipients.keep_in_step()
    row = Recipient.objects.get()
    page = reverse("admin:sync_recipient_change", args=[row.pk])
    assert "jsons://••• (NOTIFY_URLS)" in manager.get(page).content.decode()
    assert "Change it there" in manager.post(page, form()).content.decode()
    assert manager.post(page, form(new_address="")).status_code == 302  # its rules are not
    assert manager.post(reverse("admin:sync_recipient_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_the_test_button_makes_a_row_and_asks_a_worker(manager: Client) -> None:
    manager.post(reverse("admin:sync_recipient_add"), form())
    row = Recipient.objects.get()
    answer = manager.post(
        reverse("admin:sync_recipient_send_test", args=[row.pk]), {"confirmed": "yes", "reason": "does it work?"}
    )
    item = Notification.objects.get()
    assert answer["Location"] == reverse("admin:sync_notification_change", args=[item.pk])
    assert (item.kind, item.state) == ("test", "waiting")
    assert StaffAction.objects.filter(action="recipient: test", reason="does it work?").exists()


def test_an_alarm_is_acknowledged_and_muted_with_a_reason(db: None) -> None:
    client = signed_in("support")
    raise_alarm("audit", "The audit is broken.", "Look.")
    alarm = Alarm.objects.get()

    def press(action: str, **said: str) -> None:
        page = reverse(f"admin:sync_alarm_{action}", args=[alarm.pk])
        client.post(page, {"confirmed": "yes", "reason": "I am at it", **said})
        alarm.refresh_from_db()

    press("acknowledge")
    assert (alarm.acknowledged_by, alarm.acknowledged_because) == ("support", "I am at it")
    assert "support has seen to it" in client.get("/admin/").content.decode()
    press("mute", until="2001-01-01T00:00")
    assert alarm.muted_until is None
    press("mute", until=f"{timezone.now() + timedelta(hours=2):%Y-%m-%dT%H:%M}")
    assert alarm.muted_until is not None
    press("unmute")
    assert alarm.muted_until is None
    taken = StaffAction.objects.order_by("pk").values_list("action", "result")
    assert list(taken) == [(f"alarm: {one}", "audit") for one in ("acknowledge", "mute", "unmute")]
