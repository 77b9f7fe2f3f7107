"""Guessing a password: who is locked out, who is not, and what they are told."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.test import Client, RequestFactory

from integration_site.sign_in import client_address

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def alice(db: None) -> User:
    return User.objects.create_superuser("alice", password="right-horse-battery")


def sign_in(password: str, *, name: str = "alice", **headers: Any) -> Any:
    return Client().post(LOGIN, {"username": name, "password": password}, **headers)


def guess(times: int, **headers: Any) -> list[int]:
    return [sign_in(f"wrong-{n}", **headers).status_code for n in range(times)]


def test_after_five_wrong_passwords_the_right_one_does_not_open_either() -> None:
    assert guess(5) == [200, 200, 200, 200, 429]
    answer = sign_in("right-horse-battery")
    assert answer.status_code == 429
    words = answer.content.decode()
    assert "Too many wrong passwords" in words and "Wait 15 minutes" in words and "axes_reset_username" in words


def test_whoever_signs_in_gets_to_the_home_page() -> None:
    assert sign_in("right-horse-battery").headers["Location"] == "/admin/"


def test_a_person_who_finds_the_password_in_time_begins_anew() -> None:
    guess(4)
    assert sign_in("right-horse-battery").status_code == 302
    assert guess(4) == [200] * 4


def test_elsewhere_and_for_others_the_door_stays_open() -> None:
    User.objects.create_superuser("bob", password="right-horse-battery")
    guess(6)
    assert sign_in("right-horse-battery", REMOTE_ADDR="192.0.2.7").status_code == 302
    assert sign_in("right-horse-battery", name="bob").status_code == 302


def minutes_pass(minutes: int) -> None:
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=minutes))


def test_the_lock_opens_after_its_time_though_somebody_goes_on_knocking() -> None:
    guess(5)
    minutes_pass(14)
    assert guess(3) == [429] * 3
    minutes_pass(2)
    assert sign_in("right-horse-battery").status_code == 302


def test_what_is_remembered_of_those_who_knock_is_forgotten_with_the_lock() -> None:
    for n in range(3):
        sign_in("wrong", name=f"nobody-{n}")
    minutes_pass(16)
    sign_in("wrong", name="somebody")
    assert list(AccessAttempt.objects.values_list("username", flat=True)) == ["somebody"]


def test_staff_can_unlock_at_once() -> None:
    guess(5)
    call_command("axes_reset_username", "alice")
    assert sign_in("right-horse-battery").status_code == 302


def test_a_made_up_forwarded_address_changes_nothing() -> None:
    for n in range(5):
        sign_in("wrong", headers={"X-Forwarded-For": f"198.51.100.{n}", "X-Real-IP": f"198.51.100.{n}"})
    assert sign_in("right-horse-battery", headers={"X-Forwarded-For": "198.51.100.99"}).status_code == 429


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.9, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", "127.0.0.1"),
        (1, "", None),
        (1, "not an address", None),
    ],
)
def test_only_what_our_own_proxies_wrote_counts(settings: Any, proxies: int, said: str, address: str | None) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert client_address(RequestFactory().get("/", headers={"X-Forwarded-For": said})) == address


def test_behind_a_unix_socket_the_lock_holds_as_well() -> None:
    assert guess(5, REMOTE_ADDR="")[-1] == 429


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "' OR 1=1 --", "\ud800".encode("utf-8", "surrogatepass")])
def test_an_odd_name_is_a_message_and_no_error(name: Any) -> None:
    assert sign_in("x", name=name, headers={"User-Agent": "é" * 3000, "Accept": "x" * 5000}).status_code == 200
