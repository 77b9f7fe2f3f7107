"""A CRM with customers: the sandbox's, and a directory beside it that a test fills."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sync.clients.crm.base import Access
from sync.clients.crm.customers import CUSTOMER, NEW, Candidate, SeveralFit, chosen
from sync.clients.crm.draft import draft
from sync.clients.crm.rest import RestCrm
from sync.clients.snapshots import CrmSnapshot
from sync.models import RememberedChoice
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.connections import CRM, Connection
from webhooks.customers import hashes_of
from webhooks.models import State, WebhookEvent

ANN = "ann@example.org"


class CrmWithCustomers(RestCrm):
    title = "A CRM with customers"
    people: dict[str, dict[str, str]] = {}
    "By id: name, email, phone."
    taken: dict[str, str] = {}
    "The customer of each order, by the order's external id."

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.access = access

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        customer = self._customer(draft(order).customer)
        made = super().create(external_id, order)
        self.taken[external_id] = customer
        return made

    def _customer(self, wanted: Any) -> str:
        for kind, key in (("email", wanted.email), ("phone", wanted.phone)):
            picked = chosen(self.access, CUSTOMER, key)
            if picked == NEW:
                break
            if picked in self.people:
                return picked
            fit = [pk for pk, one in self.people.items() if key and one.get(kind) == key]
            if len(fit) > 1:
                found = [candidate(pk, self.people[pk]) for pk in fit]
                raise SeveralFit(CUSTOMER, key, found, may_create=True)
            if fit:
                return fit[0]
        name = f"woo-{wanted.email or wanted.phone}"
        self.people.setdefault(name, {"name": wanted.name, "email": wanted.email, "phone": wanted.phone})
        return name


def candidate(pk: str, one: Mapping[str, str]) -> Candidate:
    details = {"E-mail": one.get("email", ""), "Phone": one.get("phone", ""), "Orders": one.get("orders", "0")}
    return Candidate(id=pk, name=one["name"], details=details)


@pytest.fixture
def directory(two_sides: TwoSides, settings: Any) -> Iterator[TwoSides]:
    settings.CRM_BACKEND = "tests.sync.directory.CrmWithCustomers"
    yield two_sides
    CrmWithCustomers.people.clear()
    CrmWithCustomers.taken.clear()


def two_anns() -> None:
    CrmWithCustomers.people.update(
        {
            "7": {"name": "Ann Lee", "email": ANN, "phone": "+49 30 1", "orders": "3"},
            "12": {"name": "Lee GmbH", "email": ANN, "phone": "+49 30 2"},
        }
    )


def order_of(sides: TwoSides, email: str = ANN, **billing: str) -> WebhookEvent:
    """An event of a new order of this customer, not yet looked at."""
    order = sides.shop.create_order(billing={"first_name": "Ann", "last_name": "Lee", "email": email, **billing})
    made: WebhookEvent = WebhookEventFactory(order_ref=str(order["id"]))
    return made


def remember(crm_id: str, key: str = ANN, **fields: Any) -> RememberedChoice:
    made: RememberedChoice = RememberedChoice.objects.create(
        connection=Connection.objects.get(slug=CRM),
        what=CUSTOMER,
        key=hashes_of(key)[0],
        crm_id=crm_id,
        event=WebhookEventFactory(state=State.DONE, next_attempt_at=None),
        chosen_by="anna",
        **fields,
    )
    return made
