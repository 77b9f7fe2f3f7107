"""What a backend has to be told, and where it is told of a connection or by the environment."""

from typing import Any

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, access
from sync.clients.crm.rest import RestCrm
from sync.clients.crm.schema import TOKEN, URL, SettingField
from sync.clients.errors import NotConfigured
from sync.clients.redaction import clean
from webhooks.checks import secrets

COMPANY = SettingField(name="company", label="Company", help="Yours.", required=False, default="Main")


def test_values_are_those_that_the_backend_knows() -> None:
    made = access((URL, TOKEN, COMPANY), {"url": "https://crm.example/", "token": "t-0k3n", "colour": "red"})
    assert made.values == {"url": "https://crm.example", "token": "t-0k3n", "company": "Main"}
    assert "t-0k3n" not in repr(made), "a token is shown nowhere"


@pytest.mark.parametrize(
    ("slug", "words"),
    [
        ("crm", "CRM_TOKEN is not set. Put it into .env."),
        ("sales", "The connection sales has no Token. Enter it on the connection's page."),
    ],
)
def test_a_missing_value_is_named_with_its_place(slug: str, words: str) -> None:
    with pytest.raises(NotConfigured) as raised:
        Access(values={"url": "https://crm.example"}, slug=slug).ensure_whole((URL, TOKEN))
    assert str(raised.value) == words


def test_secrets_of_any_connection_are_blotted_out() -> None:
    to = access((URL, TOKEN), {"url": "https://crm.example", "token": "key-of-frappe:secret-of-frappe"}, "sales")
    crm_backends.connect_to(RestCrm, to)
    assert clean("said key-of-frappe:secret-of-frappe, and secret-of-frappe") == "said •••, and •••"


@pytest.mark.parametrize("kind", crm_backends.BACKENDS)
def test_secrets_of_webhooks_are_missed_where_there_are_webhooks(kind: str, settings: Any) -> None:
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS = kind, []
    are_missed = "orderbridge.W002" in {one.id for one in secrets(None)}
    assert are_missed == (crm_backends.backend(kind).traits.hooks != "none")


@pytest.mark.parametrize("kind", crm_backends.BACKENDS)
def test_every_backend_says_what_it_has_to_be_told(kind: str) -> None:
    settings = crm_backends.backend(kind).schema
    names = [one.name for one in settings]
    assert len(names) == len(set(names))
    assert all(one.label and one.help and one.variable.isupper() for one in settings)
    assert not [one.name for one in settings if one.secret and one.default]
