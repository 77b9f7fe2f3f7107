"""Errors that were kept before a side's words were marked hide them, too."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from sync.models import Attempt, SideState
from tests.factories import AttemptFactory
from webhooks.masking import masked_text

migration: Any = import_module("sync.migrations.0016_marked_words")

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("POST on the crm: 400: invalid: Ann Lee has no address", "POST on the crm: 400: «•••»"),
        ("GET on the shop: 404: not found: no Ann. Is it right?", "GET on the shop: 404: not found: «•••»"),
        ("PUT on the shop: 400: bad_name «Ann Lee». Look.", "PUT on the shop: 400: bad_name «•••». Look."),
        ("The CRM is on the road", "The CRM is on the road"),
    ],
)
def test_what_a_side_said_is_marked_once(kept: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PAGE", 2)
    tries = [AttemptFactory(error=kept) for _ in range(5)]
    SideState.objects.filter(pk="crm").update(last_error=kept)
    for _ in range(2):
        migration.mark(apps, connection.schema_editor())
    errors = set(Attempt.objects.filter(pk__in=[one.pk for one in tries]).values_list("error", flat=True))
    assert (
        {masked_text(error) for error in errors} == {shown} == {masked_text(SideState.objects.get(pk="crm").last_error)}
    )
