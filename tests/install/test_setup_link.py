"""The first administrator of a new installation: by a link, once, and never with a password that others know."""

import re
import time
from collections.abc import Callable
from io import StringIO
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from integration_site import setup_link
from orders.models import StaffAction

pytestmark = pytest.mark.django_db
FORM = {"username": "ann", "password1": "right-horse-battery", "password2": "right-horse-battery"}


def said() -> str:
    out = StringIO()
    call_command("setup_link", stdout=out)
    return out.getvalue()


@pytest.fixture
def link() -> str:
    [found] = re.findall(r"http://\S+", said())
    return urlsplit(found).path


def test_whoever_has_the_link_becomes_the_administrator_and_is_signed_in(link: str, client: Client) -> None:
    assert "Choose the name and the password" in client.get(link).content.decode()
    assert client.post(link, FORM).headers["Location"] == "/admin/"
    assert client.get("/admin/auth/user/").status_code == 200
    ann = User.objects.get()
    assert ann.is_superuser and ann.is_staff and ann.check_password("right-horse-battery")
    assert StaffAction.objects.get(action="set up").actor == "ann"


def test_the_link_works_once(link: str, client: Client) -> None:
    other = Client()
    client.post(link, FORM)
    for answer in (other.get(link), other.post(link, FORM | {"username": "eve"})):
        assert answer.status_code == 410
        assert "This link no longer works" in answer.content.decode()
    assert list(User.objects.values_list("username", flat=True)) == ["ann"]


def test_of_two_who_send_it_at_once_one_becomes_the_administrator(
    link: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second passed the door before the first had gone through."""
    answers = iter([True])
    real: Callable[[], bool] = setup_link.is_needed
    User.objects.create_superuser("bob", password="right-horse-battery")
    monkeypatch.setattr(setup_link, "is_needed", lambda: next(answers, None) or real())
    assert client.post(link, FORM).status_code == 410
    assert list(User.objects.values_list("username", flat=True)) == ["bob"]


@pytest.mark.parametrize("spoil", [lambda link: link[:-2] + "/", lambda link: link.replace("setup/", "setup/x")])
def test_a_made_up_link_opens_nothing(spoil: Any, link: str, client: Client) -> None:
    assert client.get(spoil(link)).status_code == 410
    assert client.post(spoil(link), FORM).status_code == 410
    assert not User.objects.exists()


def test_a_link_expires(link: str, client: Client) -> None:
    day = setup_link.HOURS * 3600
    with patch("django.core.signing.time.time", return_value=time.time() + day - 60):
        assert client.get(link).status_code == 200
    with patch("django.core.signing.time.time", return_value=time.time() + day + 60):
        assert client.post(link, FORM).status_code == 410
    assert not User.objects.exists()


def test_another_secret_key_makes_other_links(link: str, client: Client, settings: Any) -> None:
    settings.SECRET_KEY = "y" * 60
    assert client.get(link).status_code == 410


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password1": "1234", "password2": "1234"}, "too short"),
        ({"password2": "something-else"}, "two password fields"),
        ({"username": ""}, "required"),
    ],
)
def test_a_weak_password_is_a_message(wrong: dict[str, str], words: str, link: str, client: Client) -> None:
    answer = client.post(link, FORM | wrong)
    assert answer.status_code == 200 and words in answer.content.decode()
    assert not User.objects.exists()


def test_where_there_is_an_administrator_no_link_is_printed() -> None:
    User.objects.create_superuser("ann", password="right-horse-battery")
    assert "There is an administrator" in said() and "http" not in said()


def test_staff_without_an_administrator_do_not_stand_in_the_way() -> None:
    User.objects.create_user("viewer", is_staff=True)
    assert "/admin/account/setup/" in said()


def test_a_browser_keeps_no_page_of_it(link: str, client: Client) -> None:
    assert "no-store" in client.get(link).headers["Cache-Control"]
