"""Connections and bridges as rows: what they say, where it comes from, and who may share a CRM."""

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError

from webhooks.checks import names_are_apart
from webhooks.connections import Bridge, Connection

pytestmark = pytest.mark.django_db


def a_shop(slug: str, **said: object) -> Connection:
    settings = {"url": f"https://{slug}.example", **said}
    return Connection.objects.create(slug=slug, name=slug.title(), kind="woocommerce", settings=settings)


def a_crm(slug: str, **said: object) -> Connection:
    settings = {"url": f"https://{slug}.example", **said}
    return Connection.objects.create(slug=slug, name=slug.title(), kind="rest", settings=settings)


def test_the_pair_of_the_environment_is_there_and_reads_the_settings(settings: LazySettings) -> None:
    settings.WOO_URL, settings.EXTERNAL_ID_PREFIX, settings.VERIFY = "https://one.example", "one-", "critical"
    settings.CRM_WEBHOOK_SECRETS, settings.CRM_BACKEND = ["new", "old"], "some.Backend"
    bridge = Bridge.objects.with_connections().get(pk=1)
    assert (bridge.slug, bridge.shop.slug, bridge.crm and bridge.crm.slug, bridge.is_on) == (
        *("default", "shop", "crm"),
        True,
    )
    assert (bridge.shop_config.url, bridge.prefix, bridge.verify) == ("https://one.example", "one-", "critical")
    assert (bridge.crm_config.webhook_secrets, bridge.crm_config.backend) == (("new", "old"), "some.Backend")


def test_all_others_read_their_rows(settings: LazySettings) -> None:
    settings.WOO_URL, settings.EXTERNAL_ID_PREFIX, settings.CRM_TOKEN = "https://one.example", "one-", "of the first"
    crm = a_crm("crm-2", list_lag=3, signature="hmac-sha256-hex", company="Ours")
    bridge = Bridge.objects.create(slug="two", name="Two", shop=a_shop("shop-2"), crm=crm, external_id_prefix="b-")
    assert (bridge.shop_config.url, bridge.prefix) == ("https://shop-2.example", "b-")
    said = bridge.crm_config
    assert (said.backend, said.url, said.token, said.list_lag) == ("rest", "https://crm-2.example", "", 3.0)
    assert (said.signature, said.options["company"]) == ("hmac-sha256-hex", "Ours")
    assert not bridge.is_on  # until it is set up


def test_no_config_shows_a_secret(settings: LazySettings) -> None:
    settings.WOO_CONSUMER_SECRET, settings.WOO_BASIC_AUTH = "marked-1", "user:marked-2"
    settings.WOO_WEBHOOK_SECRETS, settings.CRM_TOKEN, settings.CRM_WEBHOOK_SECRETS = (
        ["marked-3"],
        "marked-4",
        ["marked-5"],
    )
    bridge = Bridge.objects.with_connections().get(pk=1)
    assert "marked" not in repr(bridge.shop_config) + repr(bridge.crm_config)


@pytest.mark.parametrize(
    "same", ["connection", "https://crm-2.example:443", "HTTPS://CRM-2.example/", "http://crm-2.example"]
)
def test_two_bridges_to_one_crm_account_need_prefixes_of_their_own(same: str) -> None:
    first = a_crm("crm-2")
    second = first if same == "connection" else a_crm("crm-3", url=same)
    Bridge.objects.create(slug="two", name="Two", shop=a_shop("shop-2"), crm=first, external_id_prefix="b-")
    bridge = Bridge(slug="three", name="Three", shop=a_shop("shop-3"), crm=second, external_id_prefix="b-")
    with pytest.raises(ValidationError, match=r"The bridge Two tells the same CRM account .* with the prefix 'b-'"):
        bridge.full_clean()
    for prefix in ("", "c-"):
        bridge.external_id_prefix = prefix
        bridge.full_clean()


def test_the_prefix_of_the_environment_counts_too(settings: LazySettings) -> None:
    default = Bridge.objects.get(pk=1)
    bridge = Bridge(slug="two", name="Two", shop=a_shop("shop-2"), crm=default.crm)
    with pytest.raises(ValidationError, match="with no prefix"):
        bridge.full_clean()
    settings.EXTERNAL_ID_PREFIX = "a-"
    bridge.full_clean()
    bridge.external_id_prefix = "a-"
    with pytest.raises(ValidationError, match="with the prefix 'a-'"):
        bridge.full_clean()


def test_two_databases_at_one_address_are_two_accounts() -> None:
    first = a_crm("crm-2", url="https://crm.example", database="one")
    second = a_crm("crm-3", url="https://crm.example", database="two")
    Bridge.objects.create(slug="two", name="Two", shop=a_shop("shop-2"), crm=first)
    Bridge(slug="three", name="Three", shop=a_shop("shop-3"), crm=second).full_clean()


def test_settings_that_lead_to_the_account_of_another_bridge_are_named(settings: LazySettings) -> None:
    """CRM_URL is changed in .env, where nobody refuses it."""
    settings.WOO_URL, settings.CRM_URL = "https://shop.example", "https://crm-1.example"
    settings.EXTERNAL_ID_PREFIX = ""
    Bridge.objects.create(slug="two", name="Two", shop=a_shop("shop-2"), crm=a_crm("crm-2"))
    assert not names_are_apart(None)
    settings.CRM_URL = "https://crm-2.example/"
    [found] = names_are_apart(None)
    assert "The bridge Two tells the same CRM account" in found.msg
    settings.EXTERNAL_ID_PREFIX = "a-"
    assert not names_are_apart(None)


@pytest.mark.parametrize("prefix", ["b1", "b ", "b-\n", "ä-", "b" * 21])
def test_a_prefix_that_would_hide_where_the_number_begins_is_refused(prefix: str) -> None:
    bridge = Bridge(slug="two", name="Two", shop=a_shop("shop-2"), crm=a_crm("crm-2"), external_id_prefix=prefix)
    with pytest.raises(ValidationError, match="external_id_prefix"):
        bridge.full_clean()


def test_each_end_of_a_bridge_is_of_its_kind() -> None:
    shop, crm = a_shop("shop-2"), a_crm("crm-2")
    with pytest.raises(ValidationError, match="is no shop"):
        Bridge(slug="two", name="Two", shop=crm, crm=crm).full_clean()
    with pytest.raises(ValidationError, match="is no CRM"):
        Bridge(slug="two", name="Two", shop=shop, crm=shop).full_clean()


def test_the_next_rows_get_numbers_of_their_own() -> None:
    """`migrate` made the first ones: PostgreSQL's sequences have to know of it."""
    taken = set(Connection.objects.values_list("pk", flat=True))
    assert a_shop("shop-2").pk not in taken
