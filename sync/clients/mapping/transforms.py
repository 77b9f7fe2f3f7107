"""What may be done with a value on its way from the order to the CRM's field, by name. All of it is pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any


class WrongValue(ValueError):
    """It cannot be made into what the field takes. The message tells nothing of the customer."""


DATES = {
    "%Y-%m-%d": "2026-11-28",
    "%d.%m.%Y": "28.11.2026",
    "%d/%m/%Y": "28/11/2026",
    "%m/%d/%Y": "11/28/2026",
    "%Y-%m-%d %H:%M:%S": "2026-11-28 14:05:00",
    "%Y-%m-%dT%H:%M:%SZ": "2026-11-28T14:05:00Z",
    "%Y": "2026",
    "epoch": "milliseconds since 1970",
}
"""How a date may be written, each with an example."""
LONGEST = 100_000
"""Characters that a value may have on its way: a worker has no memory for what grows with each step."""
TOO_LONG = f"it has more than {LONGEST} characters"
OTHERWISE = "*"
"""In a map of values: all that it does not name."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    name: str
    argument: str = ""
    "The separator of join, the format of date, the length of cut."
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    "Of a map of values."

    def __call__(self, value: Any) -> Any:
        """Raises WrongValue."""
        return TRANSFORMS[self.name](self, value)

    def as_json(self) -> dict[str, Any]:
        """Only what is set."""
        said = {"name": self.name, "argument": self.argument, "values": dict(self.values)}
        return {name: value for name, value in said.items() if value}


def is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def moment(value: Any) -> datetime:
    """What is a day or a time, in UTC where nothing else is said. Raises WrongValue."""
    text = str(value).strip()
    for read in (datetime.fromisoformat, lambda text: datetime.strptime(text, "%d.%m.%Y").replace(tzinfo=UTC)):
        try:
            found = read(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):  # at the ends of the calendar, no other zone has that time
            continue
    raise WrongValue("it is no date, as 2026-11-28, 28.11.2026 or 2026-11-28T14:05:00Z are")


def as_text(value: Any) -> str:
    """Raises WrongValue."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise WrongValue(f"it is {named(value)}, and no text")


def joined(separator: str, texts: Sequence[str]) -> str:
    """Raises WrongValue before it is made, where it would be too long."""
    if sum(map(len, texts)) + len(separator) * len(texts) > LONGEST:
        raise WrongValue(TOO_LONG)
    return separator.join(texts)


def named(value: Any) -> str:
    """What it is, for people, without what is in it."""
    if isinstance(value, bool):
        return "yes or no"
    kinds = ((str, "a text"), (int | float, "a number"), (list, "a list"), (Mapping, "an object"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "nothing")


def _each(change: Callable[[Transform, str], Any]) -> Callable[[Transform, Any], Any]:
    """Of a list, each by itself. What is empty stays so."""

    def changed(transform: Transform, value: Any) -> Any:
        if isinstance(value, list):
            return [changed(transform, one) for one in value]
        return None if is_empty(value) else change(transform, as_text(value))

    return changed


def _date(transform: Transform, text: str) -> str:
    at = moment(text)
    if transform.argument == "epoch":
        return str(int(datetime.combine(at.date(), time.min, tzinfo=UTC).timestamp()) * 1000)
    return at.strftime(transform.argument or "%Y-%m-%d")


def _map(transform: Transform, text: str) -> str | None:
    return transform.values.get(text, transform.values.get(OTHERWISE))


def _cut(transform: Transform, text: str) -> str:
    return text[: int(transform.argument)].rstrip()


def _join(transform: Transform, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return joined(transform.argument, [as_text(one) for one in value if not is_empty(one)])


def _first(transform: Transform, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return next((one for one in value if not is_empty(one)), None)


TRANSFORMS: Mapping[str, Callable[[Transform, Any], Any]] = {
    "map": _each(_map),
    "upper": _each(lambda _, text: text.upper()),
    "lower": _each(lambda _, text: text.lower()),
    "date": _each(_date),
    "join": _join,
    "first": _first,
    "cut": _each(_cut),
}
"""In the order in which the editor applies them."""


# --- what the CRM's field takes ------------------------------------------------------------------------------------


def _number(value: Any) -> Any:
    try:
        found = float(as_text(value).replace(" ", ""))
    except (ValueError, OverflowError):
        raise WrongValue(f"it is {named(value)}, and no number, as 12 or 12.50 are") from None
    if found != found or found in (float("inf"), float("-inf")):
        raise WrongValue("it is no number")
    return int(found) if found.is_integer() and abs(found) < 1e15 else found


def _day(value: Any) -> str:
    return moment(as_text(value)).date().isoformat()


def _reference(value: Any) -> Any:
    """A record's number, or its name."""
    text = as_text(value)
    return int(text) if text.isascii() and text.isdigit() and str(int(text)) == text else text


def _flag(value: Any) -> bool:
    words = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}
    found = words.get(as_text(value).lower())
    if found is None:
        raise WrongValue(f"it is {named(value)}, and neither yes nor no")
    return found


TYPES: Mapping[str, Callable[[Any], Any]] = {
    "text": as_text,
    "number": _number,
    "date": _day,
    "choice": as_text,
    "yes_no": _flag,
    "reference": _reference,
}
"""By the kind of the field (`sync.clients.crm.base.Field`): the value as the CRM gets it, or WrongValue."""
TYPE_NAMES = {
    "text": "text",
    "number": "number",
    "date": "date",
    "choice": "one of a list",
    "yes_no": "yes or no",
    "reference": "reference",
}


def typed(kind: str, value: Any, transforms: tuple[Transform, ...]) -> Any:
    """A date that was given a format keeps it: some CRMs want a time with it, or milliseconds."""
    if isinstance(value, list):
        raise WrongValue("it is a list: join it, or take the first of it")
    if kind == "date" and any(one.name == "date" for one in transforms):
        return as_text(value)
    if isinstance(value, date):  # never of JSON
        return value.isoformat()
    return TYPES[kind](value)
