"""Broken query strings and arguments: a message or nothing, never an error."""

from contextlib import suppress
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.sent import fewer, many, texts

LISTS = sorted(f"{m._meta.app_label}_{m._meta.model_name}" for m in admin.site._registry)
SUFFIXES = (
    "",
    "__exact",
    "__gte",
    "__lt",
    "__in",
    "__isnull",
    "__regex",
    "__from",
    "__to",
    "_from_0",
    "_to_1",
    "__x__y",
)
OF_THE_LIST = ("q", "o", "p", "all", "_facets", "_popup", "_to_field", "e", "only", "page", "_changelist_filters")
odd = st.one_of(
    texts,
    st.integers().map(str),
    st.sampled_from(
        ["0", "-1", "9" * 30, "1.-2.3", "..", "True", "[", "(?<", "2026-13-45", "25:61", "None", "'", "\0"]
    ),
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("fuzz"))
    return client


@pytest.mark.parametrize("name", LISTS)
def test_no_query_string_breaks_a_list(browser: Client, name: str) -> None:
    model = next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == name)
    fields = [field.name for field in model._meta.get_fields()]
    names = st.one_of(
        st.sampled_from(OF_THE_LIST),
        st.tuples(st.sampled_from(fields), st.sampled_from(SUFFIXES)).map("".join),
    )

    @fewer
    @given(st.dictionaries(names, odd, min_size=1, max_size=4))
    def each(query: dict[str, str]) -> None:
        written = {key: value.encode("utf-8", "surrogatepass") for key, value in query.items()}
        assert browser.get(reverse(f"admin:{name}_changelist"), written).status_code in (200, 302, 400)

    each()


@many
@given(st.lists(st.one_of(odd, st.sampled_from(["--dry-run", "--json", "--state", "--since", "--all"])), max_size=4))
@pytest.mark.parametrize("command", ["explain", "replay"])
def test_no_arguments_break_a_command(command: str, arguments: list[Any]) -> None:
    with suppress(CommandError, SystemExit):
        call_command(command, *arguments)
