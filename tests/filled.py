"""A row of every table there is, with the same text in every column that takes it: new tables without being named."""

from collections.abc import Callable, Container
from typing import Any

from django.apps import apps
from django.db import models
from django.utils import timezone

TEXTS = (models.CharField, models.TextField, models.JSONField, models.BinaryField)


SHAPES: dict[str, Callable[[str], Any]] = {
    "Attempt.reasons": lambda text: [["a_code", text]],
    "Attempt.compared": lambda text: {who: {"status": text, "version": text} for who in ("event", "crm", "shop")},
    "OpenChoice.candidates": lambda text: [{"id": text, "name": text, "details": {"E-mail": text, "Orders": text}}],
    "OpenChoice.wanted": lambda text: {"id": text, "name": text, "details": {"E-mail": text}},
    "Run.checkpoint": lambda text: {"left_out": [text], "found": [["shop", text, text]]},
    "Run.counts": lambda text: {"seen": 1, "words": text},
    "Run.options": lambda text: {"query": f"q={text}", "ticked": [1], "up_to": 1, "words": [text], text: text},
    "SideState.cursor": lambda text: {"at": text},
}
"""Of JSON that our own pages read, what they expect of it."""


def takes_text(field: models.Field, text: str) -> bool:
    if not isinstance(field, TEXTS) or field.choices or isinstance(field, models.SlugField):
        return False  # a slug is ours, and part of addresses
    return field.max_length is None or len(text) <= field.max_length


def every_row(text: str, but: Container[str] = ()) -> dict[type[models.Model], models.Model]:
    """By model. Choices and keys to other rows are valid, so that pages can be made of them. `but`: columns, or tables,
    that are not filled with the text."""
    made: dict[type[models.Model], models.Model] = {}
    for model in (one for one in apps.get_models() if not one._meta.proxy):
        _row(model, text, but, made)
    return made


def _row(
    model: type[models.Model], text: str, but: Container[str], made: dict[type[models.Model], models.Model]
) -> models.Model:
    if model not in made:
        values = {field.attname: _value(field, text, but, made) for field in model._meta.concrete_fields}
        row = model(**{name: value for name, value in values.items() if value is not ...})
        if row.pk is not None:  # one of the few that there is of it
            model._default_manager.filter(pk=row.pk).delete()
        # Not by save(): some models allow no row that they did not make themselves.
        [made[model]] = model._default_manager.bulk_create([row])
    return made[model]


def _value(field: models.Field, text: str, but: Container[str], made: dict[type[models.Model], models.Model]) -> Any:
    if isinstance(field, models.ForeignKey):
        if field.related_model is field.model or (field.null and field.related_model not in made):
            return None
        return getattr(_row(field.related_model, text, but, made), field.target_field.attname)
    filled = field.name not in but and field.model.__name__ not in but
    if filled and (shape := SHAPES.get(f"{field.model.__name__}.{field.name}")):
        return shape(text)
    if filled and isinstance(field, models.JSONField):
        return {"words": text, "deep": [{text: [text]}]}
    if filled and isinstance(field, models.BinaryField):
        return text.encode()
    if filled and takes_text(field, text):
        return text
    if field.has_default() or field.null or isinstance(field, models.AutoField):
        return ...
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.GenericIPAddressField):
        return "192.0.2.7"
    if isinstance(field, models.UUIDField):
        return "0" * 31 + "1"
    if isinstance(field, models.CharField | models.TextField):
        return next((value for value, _ in field.flatchoices), "x")
    return 77
