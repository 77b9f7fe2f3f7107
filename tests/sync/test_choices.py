"""Several customers of the CRM fit an order: it waits for a person, who is asked once."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from orders.models import OrderLink
from sync.clients.crm import customers
from sync.clients.crm.base import Access
from sync.models import Attempt, OpenChoice, RememberedChoice
from tests import pipeline
from tests.sync.conftest import TwoSides
from tests.sync.directory import ANN, CrmWithCustomers, directory, order_of, remember, two_anns
from webhooks.customers import hashes_of
from webhooks.models import State

__all__ = ["directory"]


def settle() -> None:
    while pipeline.work_once():
        pass


def test_an_order_of_which_several_customers_fit_waits_with_what_the_crm_showed(directory: TwoSides) -> None:
    two_anns()
    event = order_of(directory, phone="030 5")
    settle()
    event.refresh_from_db()
    assert event.state == State.PARKED
    assert "2 customers of the CRM have the order's e-mail address" in event.reason
    assert "Ann" not in event.reason, "names stand on the page alone"
    assert Attempt.objects.get().result == "SeveralFit"
    kept = event.open_choice
    assert [(one["id"], one["name"], one["details"]["E-mail"]) for one in kept.candidates] == [
        ("7", "Ann Lee", ANN),
        ("12", "Lee GmbH", ANN),
    ]
    assert (kept.wanted["name"], kept.wanted["details"]["Phone"]) == ("Ann Lee", "030 5")
    assert kept.may_create
    assert ANN not in kept.key
    assert not OrderLink.objects.exists()
    assert not directory.writes()


def test_the_neighbours_of_such_an_order_are_not_touched(directory: TwoSides) -> None:
    two_anns()
    order_of(directory)
    order_of(directory, "bob@example.org")
    settle()
    assert OrderLink.objects.count() == 1
    assert [*CrmWithCustomers.taken.values()] == ["woo-bob@example.org"]


@pytest.mark.parametrize("key", [ANN, ANN.upper(), "+49 (30) 77"])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_was_chosen_is_taken_for_all_orders_to_come(
    directory: TwoSides, settings: Any, key: str, threads: int
) -> None:
    """Also where several are created at once, by threads that have no database."""
    settings.QUEUE_THREADS = threads
    two_anns()
    remember("12", key)
    for _ in range(3):
        order_of(directory, phone="+493077")
    CrmWithCustomers.people["8"] = {"name": "Another", "email": "", "phone": "+493077"}
    CrmWithCustomers.people["9"] = {"name": "And another", "email": "", "phone": "+493077"}
    if "@" not in key:
        CrmWithCustomers.people["7"]["email"] = CrmWithCustomers.people["12"]["email"] = ""
    settle()
    assert [*CrmWithCustomers.taken.values()] == ["12"] * 3
    assert not OpenChoice.objects.exists()


def test_a_new_one_is_made_once_where_a_person_chose_that(directory: TwoSides) -> None:
    two_anns()
    remember(customers.NEW)
    for _ in range(2):
        order_of(directory)
    settle()
    assert [*CrmWithCustomers.taken.values()] == [f"woo-{ANN}"] * 2
    assert len(CrmWithCustomers.people) == 3


def test_a_chosen_one_that_the_crm_has_no_more_is_asked_for_anew(directory: TwoSides) -> None:
    two_anns()
    remember("99")
    event = order_of(directory)
    settle()
    assert OpenChoice.objects.get().event == event


def test_a_choice_is_of_one_connection_and_one_customer(directory: TwoSides) -> None:
    remember("12")
    order = {"billing": {"email": ANN, "phone": "030 1"}}
    here, there = Access(values={}), Access(values={}, slug="other")
    customers.recalled(customers.recall("crm", [order]))
    assert customers.chosen(here, "customer", ANN) == "12"
    assert customers.chosen(here, "customer", "bob@example.org") is None
    assert customers.chosen(here, "customer", "") is None
    assert customers.chosen(here, "product", ANN) is None
    assert customers.chosen(there, "customer", ANN) is None
    assert not customers.recall("other", [order])


def test_the_key_is_kept_as_a_hash_that_survives_a_change_of_keys(directory: TwoSides, settings: Any) -> None:
    settings.AUDIT_KEYS = ["first-key"]
    remember("12")
    settings.AUDIT_KEYS = ["second-key", "first-key"]
    assert [*customers.recall("crm", [{"billing": {"email": ANN}}]).values()] == ["12"]
    assert hashes_of("+49 30-1") == hashes_of("+49301")
    assert hashes_of("DE 123456789") == hashes_of("de123456789") != hashes_of("123456789")
    assert hashes_of(" ") == []


def test_erasing_a_customer_forgets_the_choice_and_the_candidates(directory: TwoSides) -> None:
    two_anns()
    order_of(directory, ANN)
    bobs = remember("12", "bob@example.org")
    settle()
    remember("7")
    call_command("erase_customer", ANN, "--dry-run", "--json", stdout=StringIO())
    assert (RememberedChoice.objects.count(), OpenChoice.objects.count()) == (2, 1)
    call_command("erase_customer", ANN, "--json", stdout=StringIO())
    assert RememberedChoice.objects.get() == bobs
    assert not OpenChoice.objects.exists()


def test_a_choice_by_phone_goes_with_the_order_that_asked(directory: TwoSides) -> None:
    event = order_of(directory, ANN, phone="030 5")
    settle()
    RememberedChoice.objects.update_or_create(pk=remember("7", "030 5").pk, defaults={"event": event})
    call_command("erase_customer", ANN, "--json", stdout=StringIO())
    assert not RememberedChoice.objects.exists()
