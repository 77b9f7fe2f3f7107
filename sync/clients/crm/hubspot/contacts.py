"""Whose order it is: the contact that is there, or else one that is made. One that is there is never changed."""

from collections.abc import Mapping
from typing import Any

from sync.clients.crm.base import Access, marked
from sync.clients.crm.customers import CUSTOMER, NEW, Candidate, SeveralFit, chosen
from sync.clients.crm.hubspot.api import Api, Row
from sync.clients.crm.hubspot.document import CONTACT_PROPERTIES
from sync.clients.crm.hubspot.words import CONFLICT, CONTACTS, CUSTOMER_KEY, ID
from sync.clients.errors import Rejected

OTHER_EMAILS = "hs_additional_emails"
PHONES = ("phone", "mobilephone")
LABELS = {"E-mail": "email", "Phone": "phone", "Company": "company", "City": "city"}
SHOWN = (*CONTACT_PROPERTIES, OTHER_EMAILS, "mobilephone", CUSTOMER_KEY)


class Contacts:
    def __init__(self, api: Api, access: Access) -> None:
        self.api, self.access = api, access

    def of(self, wanted: Mapping[str, Any], prefix: str) -> str | None:
        """By e-mail, which HubSpot keeps unique; by phone; by the key that we would give it; or made anew. None: the
        order tells nothing of its customer."""
        if not any(wanted["properties"].values()):
            return None
        told, key = wanted["properties"], marked(f"{prefix}{wanted['key']}")
        email, phone = told["email"], told["phone"]
        for known, found_by in ((email, self._of_email), (phone, self._of_phone)):
            decided = chosen(self.access, CUSTOMER, known) if known else NEW
            if decided == NEW:
                continue
            if found := (decided and self._of_id(decided)) or found_by(known):
                return found
        return (None if email else self._of_key(key)) or self._new(told, key)

    def _of_id(self, contact_id: str) -> str | None:
        """None: it was deleted after somebody chose it. One that was merged into another is that one."""
        return next((str(row["id"]) for row in self.api.read(CONTACTS, [contact_id], ("email",))), None)

    def _of_email(self, email: str) -> str | None:
        for row in self.api.read(CONTACTS, [email], SHOWN, by="email"):
            others = str(row["properties"].get(OTHER_EMAILS) or "").split(";")
            if email in (str(row["properties"].get("email")).lower(), *(one.strip().lower() for one in others)):
                return str(row["id"])
        return None

    def _of_key(self, key: str) -> str | None:
        found = self.api.read(CONTACTS, [key], (CUSTOMER_KEY,), by=CUSTOMER_KEY)
        return next((str(row["id"]) for row in found if row["properties"].get(CUSTOMER_KEY) == key), None)

    def _of_phone(self, phone: str) -> str | None:
        """By search, which lags; what it does not show yet has our key, if we made it."""
        same = [[(name, "EQ", phone)] for name in PHONES]
        found = [row for row in self.api.search(CONTACTS, same, SHOWN, sort=ID) if _has(row, phone)]
        if len(found) > 1:
            raise SeveralFit(CUSTOMER, phone, [_candidate(row) for row in found], may_create=True)
        return str(found[0]["id"]) if found else None

    def _new(self, told: Mapping[str, str], key: str) -> str:
        values = {name: value for name, value in told.items() if value}
        mark = {} if told["email"] else {CUSTOMER_KEY: key}
        try:
            return str(self.api.create(CONTACTS, {**values, **mark})["id"])
        except Rejected as error:
            there = self._of_email(told["email"]) if told["email"] else self._of_key(key)
            if error.code == CONFLICT and there:
                return there  # somebody made it a moment ago
            raise


def _has(row: Row, phone: str) -> bool:
    """The search is not believed: whoever has another number is not this customer."""
    return any(row["properties"].get(name) == phone for name in PHONES)


def _candidate(row: Row) -> Candidate:
    told = row["properties"]
    name = " ".join(filter(None, (told.get("firstname"), told.get("lastname"))))
    details = {label: str(told.get(one) or "") for label, one in LABELS.items()}
    return Candidate(id=str(row["id"]), name=name or details["E-mail"], details=details)
