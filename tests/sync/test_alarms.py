"""An alarm is one row from when it is raised to when it is over."""

import logging
from typing import Any

import pytest
from django.utils import timezone

from sync.alarms import clear, open_alarms, raise_alarm
from sync.models import Alarm

pytestmark = pytest.mark.django_db


def test_it_is_raised_once_and_seen_again_while_it_lasts(caplog: Any) -> None:
    raise_alarm("silence:shop", "Quiet for an hour.", "Look at the webhooks.")
    first = Alarm.objects.get()
    raise_alarm("silence:shop", "Quiet for two hours.", "Look at the webhooks.")
    again = Alarm.objects.get()
    assert again.words == "Quiet for two hours."
    assert again.raised_at == first.raised_at
    assert again.seen_at > first.seen_at
    assert [record.getMessage() for record in caplog.records] == ["alarm raised"]


def test_two_that_raise_it_at_the_same_moment_raise_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_alarm("audit", "One.", "Look.")
    monkeypatch.setattr("sync.alarms.open_alarms", Alarm.objects.none)
    raise_alarm("audit", "Two.", "Look.")
    assert Alarm.objects.get().words == "One."


def test_it_is_over_when_it_is_cleared_and_may_come_back(caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    raise_alarm("silence:shop", "Quiet.", "Look.")
    clear("silence:shop")
    clear("silence:shop")
    assert not open_alarms().exists()
    assert Alarm.objects.get().cleared_at <= timezone.now()  # type: ignore[operator]
    raise_alarm("silence:shop", "Quiet again.", "Look.")
    assert [alarm.words for alarm in open_alarms()] == ["Quiet again."]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["alarm raised", "alarm cleared", "alarm raised"]


def test_the_longest_standing_comes_first() -> None:
    for key in ("one", "two", "three"):
        raise_alarm(key, "It is so.", "Look.")
    clear("two")
    assert [alarm.key for alarm in open_alarms()] == ["one", "three"]
