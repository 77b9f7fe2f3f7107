"""Guessing a password: who is locked out, who is not, and what they are told."""

import threading
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.test import Client, RequestFactory

from integration_site import sign_in as sign_in_module
from integration_site.sign_in import client_address
from tests.journeys.conftest import wait_for

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
    assert "too many wrong passwords" in words and "Wait 15 minutes" in words and "axes_reset_username" in words


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


# --- one address, many names or many addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::1", "::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_of_an_ipv6_address_the_network_counts(said: str, address: str) -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=said)) == address


@pytest.mark.parametrize("by_proxy", [False, True])
def test_wrong_passwords_from_one_ipv6_network_lock(settings: Any, by_proxy: bool) -> None:
    settings.TRUSTED_PROXIES = int(by_proxy)
    statuses = []
    for n in range(12):
        address = f"2001:db8:1:2:{n:x}:{n * 7:x}::{n + 1:x}"
        where: dict[str, Any] = {"headers": {"X-Forwarded-For": address}} if by_proxy else {"REMOTE_ADDR": address}
        statuses.append(sign_in("wrong", **where).status_code)
    assert statuses == [200] * 4 + [429] * 8


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were looked at."""
    seen: list[str] = []
    real = MD5PasswordHasher.encode

    def encode(self: Any, password: str, salt: str) -> str:
        seen.append(password)
        return real(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    return seen


@pytest.mark.parametrize("addresses", ["192.0.2.7", "2001:db8:1:2::"])
def test_whoever_guesses_under_many_names_is_stopped_before_a_password_is_looked_at(
    hashed: list[str], addresses: str
) -> None:
    def guess_as(name: str, number: int) -> Any:
        address = addresses if "." in addresses else f"{addresses}{number + 1:x}"
        return sign_in("wrong", name=name, REMOTE_ADDR=address)

    answers = [guess_as(f"nobody-{n}", n) for n in range(sign_in_module.ADDRESS_LIMIT + 10)]
    assert [answer.status_code for answer in answers] == [200] * sign_in_module.ADDRESS_LIMIT + [429] * 10
    assert len(hashed) == sign_in_module.ADDRESS_LIMIT
    assert answers[-1].headers["Retry-After"] == "900" and "Wait 15 minutes" in answers[-1].content.decode()
    assert sign_in("right-horse-battery", REMOTE_ADDR="203.0.113.5").status_code == 302
    minutes_pass(16)
    assert guess_as("alice", 0).status_code == 200


def test_behind_a_proxy_that_was_not_announced_one_guesser_does_not_lock_everybody_out() -> None:
    proxied = {"headers": {"X-Forwarded-For": "198.51.100.1"}}
    for n in range(sign_in_module.ADDRESS_LIMIT + 1):
        sign_in("wrong", name=f"nobody-{n}", **proxied)
    assert sign_in("right-horse-battery", **proxied).status_code == 302


@pytest.mark.parametrize("proxy", ["10.0.0.9", "127.0.0.1", ""])
def test_an_unannounced_proxy_may_be_wrong_more_often_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, hashed: list[str], proxy: str
) -> None:
    monkeypatch.setattr(sign_in_module, "PROXY_LIMIT", sign_in_module.ADDRESS_LIMIT + 5)
    statuses = []
    for n in range(sign_in_module.PROXY_LIMIT + 3):
        said = {"headers": {"X-Forwarded-For": f"198.51.100.{n}"}, "REMOTE_ADDR": proxy}
        statuses.append(sign_in("wrong", name=f"nobody-{n}", **said).status_code)
    assert statuses == [200] * sign_in_module.PROXY_LIMIT + [429] * 3
    assert len(hashed) == sign_in_module.PROXY_LIMIT


def test_made_up_headers_do_not_help_somebody_from_the_internet() -> None:
    forged = {"headers": {"X-Forwarded-For": "198.51.100.1"}, "REMOTE_ADDR": "8.8.8.8"}
    for n in range(sign_in_module.ADDRESS_LIMIT):
        sign_in("wrong", name=f"nobody-{n}", **forged)
    assert sign_in("right-horse-battery", **forged).status_code == 429


def test_wrong_logins_never_take_all_threads(monkeypatch: pytest.MonkeyPatch, hashed: list[str]) -> None:
    """From however many addresses: one password is looked at, two wait, the others are sent away."""
    monkeypatch.setattr(sign_in_module, "BUSY_SECONDS", 0)
    with sign_in_module._turn("192.0.2.1") as first:
        assert first
        waits = sign_in("right-horse-battery")
        with sign_in_module._turn("192.0.2.2"), sign_in_module._turn("192.0.2.3"):
            sent_away = sign_in("right-horse-battery")
    for answer in (waits, sent_away):
        assert (answer.status_code, "few seconds" in answer.content.decode()) == (429, True)
        assert "Retry-After" in answer.headers
    assert hashed == []
    assert sign_in("right-horse-battery").status_code == 302


WHENCE: dict[str, Any] = {
    "address": lambda n: {"REMOTE_ADDR": f"192.0.2.{n}"},
    "network": lambda n: {"REMOTE_ADDR": f"2001:db8:1:{n}::7"},
    "socket of a proxy": lambda n: {"headers": {"X-Forwarded-For": f"198.51.100.{n}"}, "REMOTE_ADDR": ""},
    "unannounced proxy": lambda n: {"headers": {"X-Forwarded-For": f"203.0.113.{n * 5}, 198.51.100.{n}"}},
}


@pytest.mark.parametrize("whence", WHENCE.values(), ids=WHENCE)
def test_whoever_knocks_with_many_hands_has_one_place_in_the_queue(whence: Any) -> None:
    """Somebody else is next, in turn, however many more come from there."""

    def turn(number: int) -> AbstractContextManager[bool]:
        return sign_in_module._turn(sign_in_module._place(RequestFactory().post(LOGIN, **whence(number))))

    def somebody_else() -> None:
        with turn(2) as free:
            got.append(free)

    got: list[bool] = []
    other = threading.Thread(target=somebody_else)
    with turn(1) as first:
        for _ in range(5):
            with turn(1) as another:
                assert first and not another
        other.start()
        wait_for(lambda: len(sign_in_module._queue) == 2)
    other.join(60)
    assert got == [True] and not sign_in_module._queue


def test_an_address_that_was_tried_is_counted_and_not_kept() -> None:
    """A customer at the wrong door, or a member of staff whose name is an address."""
    User.objects.create_superuser("ann@shop.example", password="right-horse-battery")
    answers = [sign_in(f"wrong-{n}", name="ann@shop.example").status_code for n in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    sign_in("wrong", name="ada@shop.example")
    kept = list(AccessAttempt.objects.values())
    assert len({row["username"] for row in kept}) == 2
    assert "ann@" not in str(kept) and "ada@" not in str(kept)
    assert sign_in("right-horse-battery", name="ann@shop.example").status_code == 429
    call_command("axes_reset_username", kept[0]["username"])
    assert sign_in("right-horse-battery", name="ann@shop.example").status_code == 302


def test_where_somebody_wanted_to_go_is_not_kept() -> None:
    Client().post(f"{LOGIN}?next=/admin/?q=ann@shop.example", {"username": "alice", "password": "wrong"})
    assert "ann@" not in str(AccessAttempt.objects.values())
