"""What a backend has to be told, and where it is told of a connection or by the environment."""

from typing import Any

import pytest

from orders.models import StatusRule
from orders.verification import _of_live
from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, access
from sync.clients.crm.defaults import REASON, after_migrate
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


@pytest.mark.cases_alike
@pytest.mark.django_db
@pytest.mark.parametrize("kind", crm_backends.BACKENDS)
@pytest.mark.parametrize("of_an_earlier_release", [False, True])
def test_the_rules_of_a_backend_are_no_finding_of_the_audit(
    kind: str, of_an_earlier_release: bool, settings: Any
) -> None:
    """`migrate` makes them, and whoever is in the table without a version was inserted by somebody else."""
    settings.CRM_BACKEND = kind
    after_migrate("default")
    names = [one.name for one in crm_backends.backend(kind).default_statuses if one.shop_status]
    assert StatusRule.objects.filter(crm_status__in=names).count() == len(names)
    if of_an_earlier_release:
        StatusRule.history.filter(history_change_reason=REASON).delete()
        after_migrate("default")
    after_migrate("default")
    assert not list(_of_live(StatusRule))
    assert StatusRule.history.filter(crm_status__in=names).count() == len(names)
    StatusRule.objects.bulk_create([StatusRule(crm_status="slipped-in", woo_status="completed")])
    after_migrate("default")
    assert len(list(_of_live(StatusRule))) == 1
