"""The audit of an installation from its first day on, and over an upgrade."""

import pytest
from django.apps import apps
from django.core.management import call_command

from orders import audit, checkpoints, models
from orders.checkpoints import make_checkpoint
from orders.models import AuditSeal, ChainHead, OrderLink, StatusRule
from sync import tasks
from tests.factories import OrderLinkFactory, StatusTransitionFactory
from tests.orders.test_verification import verified

OLD_RULES = StatusRule.history.model


@pytest.mark.django_db(transaction=True)
def test_the_lifecycle_of_an_installation_of_today_is_taken_as_it_is() -> None:
    call_command("migrate", "orders", "0010", fake=True, verbosity=0)  # what came later is no matter here
    OLD_RULES.objects.all().delete()  # as the defaults were made: without
    rules = StatusRule.objects.order_by("pk")
    StatusRule.objects.filter(pk=rules[0].pk).update(woo_status="by-hand")
    rules[1].save()
    StatusRule.objects.filter(pk=rules[1].pk).update(critical=not rules[1].critical)
    rules[2].save()
    StatusRule.objects.filter(pk=rules[2].pk)._raw_delete(using="default")
    assert verified() != []
    call_command("migrate", "orders", "0011", verbosity=0)
    call_command("migrate", "orders", fake=True, verbosity=0)
    assert verified() == []
    assert OLD_RULES.objects.count() == StatusRule.objects.count() + 3


def test_a_fresh_installation_is_whole_and_its_first_heads_are_there(db: None) -> None:
    assert verified() == []
    assert sorted(ChainHead.objects.values_list("pk", "length")) == [(-1, 0), (0, 0)]
    tasks.seal_audit()
    assert verified() == []
    assert apps.get_model("orders.AuditSeal").objects.get().version == 2


@pytest.mark.django_db(transaction=True)
def test_an_installation_of_the_release_before_goes_on_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoints cover less, and its workers go on for a moment after `migrate`."""
    with monkeypatch.context() as before:
        before.setattr(checkpoints, "CHECKPOINT_VERSION", 1)
        for module in (models, audit):
            before.setattr(module, "HASHED", None)
        for _ in range(3):
            StatusTransitionFactory()
            audit.record("replay", actor="ann")
            assert make_checkpoint() is not None
    call_command("migrate", "orders", "0009", verbosity=0)
    call_command("migrate", verbosity=0)
    assert verified() == []
    OrderLinkFactory(woo_id=90)
    OrderLink.objects.filter(woo_id=90).update(mac="")
    assert make_checkpoint() is not None
    assert verified() == []
    assert list(AuditSeal.objects.order_by("pk").values_list("version", "links")) == [(1, 0), (1, 0), (1, 0), (2, 4)]
    OrderLinkFactory(woo_id=91)
    OrderLink.objects.filter(woo_id=91).update(mac="")
    assert make_checkpoint() is not None
    assert [(one.what, one.order) for one in verified()] == [("order", 91)]
