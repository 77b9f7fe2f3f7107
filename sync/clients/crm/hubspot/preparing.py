"""What an account needs before the first order: three properties that are unique, and what we write to."""

from collections.abc import Collection, Iterator
from typing import Any

from sync.clients.crm.hubspot.api import Api
from sync.clients.crm.hubspot.document import CONTACT_PROPERTIES, LINE_PROPERTIES
from sync.clients.crm.hubspot.words import CONFLICT, CONTACTS, CUSTOMER_KEY, LINE_KEY, LINES, ORDER_KEY, Words
from sync.clients.errors import Rejected

LABELS = {
    ORDER_KEY: "WooCommerce order",
    LINE_KEY: "WooCommerce line",
    CUSTOMER_KEY: "WooCommerce customer",
}
BY_HAND = "Press Make what it lacks on the connection's page, or run `manage.py doctor --fix`. Or do it in HubSpot: "
BY_HAND += (
    "Settings → Properties, {kind}, Create property, internal name {key}, Single-line text, Require unique values."
)
TWICE = "HubSpot cannot make it so afterwards: delete the property there, and make it anew."


def needs(words: Words, composed: Collection[str]) -> dict[str, tuple[str, Collection[str], str]]:
    """By kind of record: our key, the properties that are written, and one that tells their group."""
    return {
        words.type_id: (ORDER_KEY, composed, words.name),
        LINES: (LINE_KEY, LINE_PROPERTIES, "name"),
        CONTACTS: (CUSTOMER_KEY, CONTACT_PROPERTIES, "email"),
    }


def lacking(api: Api, words: Words, composed: Collection[str]) -> Iterator[tuple[str, str]]:
    """In words, and what to do."""
    for kind, (key, written, _) in needs(words, composed).items():
        there = {str(row["name"]): row for row in api.properties(kind)}
        if key not in there:
            yield f"HubSpot's {_named(kind, words)} have no property {key}.", _by_hand(kind, key, words)
        elif not there[key].get("hasUniqueValue"):
            yield f"HubSpot's property {key} of {_named(kind, words)} is not unique.", TWICE
        if absent := sorted(name for name in written if name not in there):
            words_ = f"HubSpot's {_named(kind, words)} lack what we write: {', '.join(absent)}."
            yield words_, "Make properties of these names there, as single-line text."


def prepare(api: Api, words: Words, composed: Collection[str]) -> Iterator[str]:
    """Makes our keys where they are missing, and nothing else."""
    for kind, (key, _, neighbour) in needs(words, composed).items():
        there = {str(row["name"]): row for row in api.properties(kind)}
        if key not in there:
            try:
                api.new_property(kind, _definition(key, str(there.get(neighbour, {}).get("groupName", ""))))
            except Rejected as error:
                if error.code != CONFLICT:
                    raise
                continue  # somebody made it a moment ago
            yield f"The property {key} of HubSpot's {_named(kind, words)} was made."


def _definition(key: str, group: str) -> dict[str, Any]:
    return {
        "name": key,
        "label": LABELS[key],
        "description": "Set by Orderbridge, which finds its orders again by it. Do not change it.",
        "groupName": group,
        "type": "string",
        "fieldType": "text",
        "hasUniqueValue": True,
    }


def _named(kind: str, words: Words) -> str:
    named = {words.type_id: "deals" if words.name == "dealname" else "orders", LINES: "line items"}
    return named.get(kind, kind)


def _by_hand(kind: str, key: str, words: Words) -> str:
    return BY_HAND.format(kind=_named(kind, words), key=key)
