"""Which record of the CRM a customer is, where several fit: a person chooses once, and is not asked again.

A backend looks in this order: `chosen`, then its own search. One that fits is taken. None: a new one is made. Several:
it raises SeveralFit, and the order waits on a page that shows them side by side (docs/decisions/0118).
"""

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sync.clients.crm.base import Access
from sync.clients.crm.draft import draft
from sync.clients.errors import Rejected
from sync.models import RememberedChoice
from webhooks.customers import hashes_of

CUSTOMER = "customer"
NEW = ""
"""What was chosen, where none of those that fit is the one. The backend makes one, under a name by which it finds it
the next time: the choice stays NEW."""
Choices = Mapping[tuple[str, str, str], str]
"""By the connection's slug, what is meant, and the hash of the key."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One record of the CRM that fits, as a person sees it there."""

    id: str
    name: str
    details: Mapping[str, str] = field(default_factory=dict, repr=False)
    "By label, in the order in which they are shown: e-mail, phone, address, number of orders …"

    def as_kept(self) -> dict[str, Any]:
        details = {label: text for label, text in self.details.items() if text}
        return {"id": self.id, "name": self.name, "details": details}


class SeveralFit(Rejected):
    """Several records of the CRM fit, and only a person can tell which is meant."""

    def __init__(
        self,
        what: str,
        key: str,
        candidates: Sequence[Candidate],
        *,
        may_create: bool = False,
        side: str = "crm",
    ) -> None:
        by = "e-mail address" if "@" in key else "VAT number" if key[:1].isalpha() else "phone number"
        words = f"{len(candidates)} {what}s of the CRM have the order's {by}."  # an id may be a name, in some CRMs
        advice = "Choose one of them on the event's page. The choice is remembered."
        super().__init__(words, advice=advice, side=side, about_order=True)
        self.what, self.key, self.candidates, self.may_create = what, key, tuple(candidates), may_create


_choices: ContextVar[Choices] = ContextVar("choices", default={})  # noqa: B039  it is never changed in place


def chosen(access: Access, what: str, key: str) -> str | None:
    """The id that a person chose for this e-mail address, phone number or VAT number; NEW: none that was there; None:
    nobody was asked.

    Makes no call and no query: what was chosen is read once for a batch (`recalled`).
    """
    known = _choices.get()
    found = (known.get((access.slug, what, one)) for one in hashes_of(key))
    return next((one for one in found if one is not None), None)


def recall(slug: str, orders: Iterable[Mapping[str, Any]]) -> Choices:
    """What was chosen for the customers of these orders, as the shop shows them, on the connection of this slug."""
    told = (draft(order).customer for order in orders)
    named = (key for customer in told for key in (customer.email, customer.phone, customer.vat_number))
    keys = {one for key in named for one in hashes_of(key)}
    if not keys:
        return {}
    rows = RememberedChoice.objects.filter(connection__slug=slug, key__in=keys)
    return {(slug, what, key): crm_id for what, key, crm_id in rows.values_list("what", "key", "crm_id")}


def recalled(choices: Choices) -> None:
    """From now on `chosen` knows these, and no others, in this thread and in those that it starts."""
    _choices.set(choices)
