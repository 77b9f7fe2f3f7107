"""A test that commits leaves no trace to the next one."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection

from orders import audit
from orders.models import AllowedMove, StatusRule, StatusTransition
from tests import fresh
from tests.factories import StatusTransitionFactory


def everything() -> dict[str, list[dict[str, Any]]]:
    models = apps.get_models(include_auto_created=True)
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


@pytest.mark.django_db(transaction=True)
def test_the_database_is_again_as_the_migrations_left_it() -> None:
    before = everything()
    assert {name for name, rows in before.items() if rows} >= {"orders.StatusRule", "auth.Group", "sync.SideState"}
    AllowedMove.objects.all().delete()
    StatusRule.objects.update(critical=True)
    Group.objects.earliest("pk").permissions.clear()
    StatusTransitionFactory()
    audit.record("check", actor="somebody")
    fresh.restore(connection)
    assert everything() == before
    transition = StatusTransitionFactory()
    with pytest.raises(IntegrityError, match="append-only"):
        StatusTransition.objects.filter(pk=transition.pk).delete()
