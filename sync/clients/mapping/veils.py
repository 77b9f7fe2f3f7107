"""An order as everybody may see it, to try a row on: what is masked is replaced, so that no result tells of it
(docs/decisions/0128)."""

from collections.abc import Mapping
from typing import Any

from sync.clients.mapping.facts import DRAFT, META
from webhooks.masking import masked

TEXTS = ("Text", "7", "2026-11-28", "yes")
"""Stand in the place of what is masked, one after the other: if a row fails with each, it fails whatever is there."""


class HiddenText(str):
    __slots__ = ()


class HiddenNumber(float):
    __slots__ = ()


HiddenText.__name__, HiddenNumber.__name__ = "str", "float"
"""JMESPath asks for the name of the type."""


def masked_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """As people see them."""
    meta = {name: masked(value, name) for name, value in known[META].items()}
    return {**masked(dict(known)), DRAFT: masked(known[DRAFT]), META: meta}


def veiled(known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same order several times over, without what is masked."""
    shown = masked_facts(known)
    return [_veiled(known, shown, place) for place in range(len(TEXTS))]


def _veiled(value: Any, shown: Any, place: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _veiled(one, shown[name], place) for name, one in zip(shown, value.values(), strict=True)}
    if isinstance(value, list):
        return [_veiled(one, other, place) for one, other in zip(value, shown, strict=True)]
    if type(value) is type(shown) and value == shown:
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return HiddenNumber(place + 1) if is_number else HiddenText(TEXTS[place])


def is_hidden(value: Any) -> bool:
    """Whether anything in it stands in the place of what is masked."""
    if isinstance(value, Mapping):
        return any(map(is_hidden, value.values()))
    if isinstance(value, list):
        return any(map(is_hidden, value))
    return isinstance(value, HiddenText | HiddenNumber)
