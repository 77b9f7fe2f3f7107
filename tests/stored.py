"""What an earlier release stored, as its own code wrote it: `tests/payloads/stored/`."""

import json
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import models
from django.utils.dateparse import parse_datetime

from orders.keys import sign
from orders.models import ChainHead, StatusTransition

STORED = Path(__file__).parent / "payloads" / "stored"


def load(release: str) -> None:
    """Its orders, events and transitions, and what the migrations since make of them. The ids are high, so that no
    sequence comes near them: they are hashed."""
    for label, rows in json.loads((STORED / f"{release}.json").read_text()).items():
        model = apps.get_model(label)
        model._default_manager.bulk_create([model(**_values(model, row)) for row in rows])
    ends = {row.link_id: row for row in StatusTransition.objects.filter(version=None).order_by("sequence")}
    for link, end in ends.items():  # as the migration 0005 of orders does
        mac = sign(link, end.sequence, end.hash)
        ChainHead.objects.create(pk=link, length=end.sequence, hash=end.hash, mac=mac)


def _values(model: type[models.Model], row: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for name, value in row.items():
        field = model._meta.get_field(name)
        if isinstance(field, models.BinaryField):
            value = value.encode()
        elif isinstance(field, models.DateTimeField) and value:
            value = parse_datetime(value)
        values[name] = value
    return values
