"""A row of every table there is, with the same text in every column that takes it: new tables without being named."""

from typing import Any

from django.apps import apps
from django.db import models
from django.utils import timezone

TEXTS = (models.CharField, models.TextField, models.JSONField, models.BinaryField)


def takes_text(field: models.Field, text: str) -> bool:
    if not isinstance(field, TEXTS) or field.choices:
        return False
    return field.max_length is None or len(text) <= field.max_length


def every_row(text: str) -> dict[type[models.Model], models.Model]:
    """By model. Choices and keys to other rows are valid, so that pages can be made of them."""
    made: dict[type[models.Model], models.Model] = {}
    for model in (one for one in apps.get_models() if not one._meta.proxy):
        _row(model, text, made)
    return made


def _row(model: type[models.Model], text: str, made: dict[type[models.Model], models.Model]) -> models.Model:
    if model not in made:
        values = {field.attname: _value(field, text, made) for field in model._meta.concrete_fields}
        row = model(**{name: value for name, value in values.items() if value is not ...})
        if row.pk is not None:  # one of the few that there is of it
            model._default_manager.filter(pk=row.pk).delete()
        # Not by save(): some models allow no row that they did not make themselves.
        [made[model]] = model._default_manager.bulk_create([row])
    return made[model]


def _value(field: models.Field, text: str, made: dict[type[models.Model], models.Model]) -> Any:
    if isinstance(field, models.ForeignKey):
        here = field.null and field.related_model in (*made, field.model)
        if field.related_model is field.model or (field.null and not here and field.related_model not in made):
            return None
        other = _row(field.related_model, text, made)
        return getattr(other, field.target_field.attname)
    if isinstance(field, models.JSONField):
        return {"words": text, "deep": [{text: [text]}]}
    if isinstance(field, models.BinaryField):
        return text.encode()
    if takes_text(field, text):
        return text
    if field.has_default() or field.null or isinstance(field, models.AutoField):
        return ...
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.UUIDField):
        return "0" * 31 + "1"
    if isinstance(field, models.CharField | models.TextField):
        return next((value for value, _ in field.flatchoices), "x")
    return 77
