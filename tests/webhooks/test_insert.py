"""The INSERT that is made once: what it does not name has its default, as if Django had written it."""

import pytest
from django.db import models

from webhooks.insert import insert
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db


def test_what_is_not_given_has_its_default_and_each_row_its_own_time() -> None:
    made = [insert({"side": "shop", "source": "woocommerce", "dedupe_key": key}) for key in ("one", "two")]
    first, second = WebhookEvent.objects.order_by("id")
    assert [first.pk, second.pk] == made
    like = WebhookEvent.objects.create(side="shop", source="woocommerce", dedupe_key="three")
    for field in WebhookEvent._meta.concrete_fields:
        if isinstance(field, models.DateTimeField) and field.default is not models.NOT_PROVIDED:
            assert getattr(first, field.attname) < getattr(second, field.attname) <= getattr(like, field.attname)
        elif field.attname not in ("id", "dedupe_key"):
            assert getattr(first, field.attname) == getattr(like, field.attname), field.attname


def test_a_known_key_is_told_and_changes_nothing() -> None:
    row = {"side": "crm", "source": "crm", "dedupe_key": "id:evt_1", "body": b"\x00\xff", "headers": {"A": "é"}}
    assert insert(row) is not None
    assert insert({**row, "body": b"other"}) is None
    event = WebhookEvent.objects.get()
    assert (bytes(event.body), event.headers) == (b"\x00\xff", {"A": "é"})
