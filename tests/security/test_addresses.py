"""Addresses as people type them, and as browsers ask for them."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/admin", "/admin/"),
        ("/admin?x=1&y=/z", "/admin/?x=1&y=/z"),
        ("/admin/webhooks/webhookevent", "/admin/webhooks/webhookevent/"),
        ("/admin/webhooks/webhookevent/7/change", "/admin/webhooks/webhookevent/7/change/"),
        ("/admin//evil.example", "/admin//evil.example/"),
        ("/admin/a%20b", "/admin/a%20b/"),
    ],
)
def test_a_page_is_found_without_its_last_slash(client: Client, path: str, to: str) -> None:
    assert client.get(path).headers["Location"] == to


def test_a_form_is_not_sent_elsewhere(client: Client) -> None:
    assert client.post("/admin/login").status_code == 405


def test_what_only_begins_like_it_is_not_found(client: Client) -> None:
    assert client.get("/administrator").status_code == 404


def test_a_page_that_is_not_there_is_said_to_be_so(client: Client) -> None:
    client.force_login(User.objects.create_superuser("alice"))
    assert client.get("/admin/nowhere", follow=True).status_code == 404


def test_the_icon_that_browsers_ask_for(client: Client) -> None:
    answer = client.get("/favicon.ico", follow=True)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("path", ["/healthz/", "/readyz/", "/metrics/", "/openapi.json/", "/webhooks/crm//"])
def test_elsewhere_nothing_is_redirected(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
