"""What a CRM cannot take of a text: one that is too long is cut, and some characters are replaced. A backend declares
it by the path in its document, so that one odd order is neither refused nor taken for an outage."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BEYOND = re.compile("[\U00010000-\U0010ffff][\u200d\ufe0e\ufe0f\U00010000-\U0010ffff]*")
"""Emoji above all, and rare Chinese characters: what a database of three bytes a character does not hold."""
LIKE = {"<": "‹", ">": "›", '"': "”", "'": "’", "&": "+"}
UNKNOWN = "?"
CUT = "…"


@dataclass(frozen=True)
class Limit:
    """Of one text of the document, or of each that a `*` in its path stands for."""

    longest: int | None = None
    "In characters. A longer one is cut, and ends with …"
    without: str = ""
    "Each of these characters is replaced."
    emoji: bool = True
    "False: so is whatever lies outside Unicode's basic plane."
    what: str = ""
    "For people, as in: the note. Else they read the path."

    def fitted(self, text: str) -> tuple[str, set[str]]:
        """And what the CRM does not take of it."""
        why = set[str]()
        fits = text if self.emoji else BEYOND.sub(UNKNOWN, text)
        if fits != text:
            why.add("no emoji")
        if found := set(fits) & set(self.without):
            fits = fits.translate({ord(one): LIKE.get(one, UNKNOWN) for one in found})
            why.add(f"no {' '.join(sorted(found))}")
        if self.longest is not None and len(fits) > self.longest:
            fits = fits[: max(0, self.longest - 1)].rstrip() + CUT
            why.add(f"at most {self.longest} characters")
        return fits, why


Limits = Mapping[str, Limit]
"""By path: `party.name`, `lines.*.description`. A `*` stands for each of a list, or of the values of an object."""


def fitted(document: Mapping[str, Any], limits: Limits) -> tuple[dict[str, Any], list[str]]:
    """The document as the CRM takes it, and what was done to it, for people: of whom it tells stays unsaid."""
    told: dict[str, Any] = dict(document)
    words = []
    for path, limit in limits.items():
        why = set[str]()
        told = _replaced(told, path.split("."), limit, why)
        name = limit.what or path
        words += [f"The CRM takes {one} in {name}: {_done(one)}." for one in sorted(why)]
    return told, words


def _done(why: str) -> str:
    return "the text was cut" if why.startswith("at most") else "they were replaced"


def _replaced(value: Any, path: list[str], limit: Limit, why: set[str]) -> Any:
    """What is shared with the shop's order is not changed."""
    if not path:
        fits, reasons = limit.fitted(value) if isinstance(value, str) else (value, set[str]())
        why |= reasons
        return fits
    new = [(key, _replaced(one, path[1:], limit, why)) for key, one in _under(value, path[0])]
    if isinstance(value, dict):
        return {**value, **dict(new)}
    return [one for _, one in new] if isinstance(value, list) and path[0] == "*" else value


def _under(value: Any, name: str) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items() if name == "*" else ((name, value[name]),) if name in value else ()
    elif isinstance(value, list) and name == "*":
        yield from enumerate(value)
