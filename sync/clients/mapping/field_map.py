"""The field map of a bridge: its rows as they are kept, and what they make of an order. An order is never held up by
it: a value that the field cannot take is left out, and the event says so (docs/decisions/0115)."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import jmespath
from jmespath.exceptions import ArityError, JMESPathError, JMESPathTypeError, ParseError, UnknownFunctionError
from jmespath.parser import ParsedResult

from sync.clients.mapping.evaluation import Evaluation
from sync.clients.mapping.facts import facts, value_at
from sync.clients.mapping.transforms import DATES, TRANSFORMS, TYPES, Transform, WrongValue, is_empty, typed
from sync.clients.mapping.veils import is_hidden, veiled
from sync.clients.snapshots import TRASH
from webhooks.masking import MASK
from webhooks.texts import fit

LONGEST_EXPRESSION = 500
MOST_VALUES = 1000
"""That an expression may make of one by lists in lists: a worker has no memory for more."""
CUT = "…"
AT_RUN_TIME = (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError)
"""What evaluating may raise, whatever stands in the order."""
SAID_BY = "expression", "constant", "paths"


class BadRow(ValueError):
    """It can never work. `field` is the field of the row that a person has to change."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field of the CRM's order, and where its value comes from: paths, or a constant, or an expression."""

    target: str
    label: str = ""
    kind: str = "text"
    longest: int | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    "As the CRM listed the field when the row was saved: an order is mapped without asking it."
    paths: tuple[str, ...] = ()
    constant: str = ""
    expression: str = ""
    transforms: tuple[Transform, ...] = ()
    default: str = ""
    "Sent where there is nothing else. Without it the field is left out, and keeps what it has in the CRM."

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """As it is kept."""
        lists = {name: tuple(said.get(name, ())) for name in ("paths", "choices")}
        transforms = tuple(Transform(**one) for one in said.get("transforms", ()))
        return cls(**{**said, **lists, "transforms": transforms})

    def as_json(self) -> dict[str, Any]:
        """Only what is set."""
        transforms = [one.as_json() for one in self.transforms]
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {"paths": list(self.paths), "choices": list(self.choices), "transforms": transforms}
        return {name: value for name, value in {**said, **lists}.items() if value not in ("", None, [], False)}

    @property
    def source(self) -> str:
        """In words."""
        return self.expression or (repr(self.constant) if self.constant else ", ".join(self.paths))

    def ensure_good(self) -> None:
        """Raises BadRow."""
        if not self.target or self.target != self.target.strip():
            raise BadRow("target", "Choose the CRM's field.")
        if self.kind not in TYPES:
            raise BadRow("kind", f"{self.kind!r} is no type. Choose one of {', '.join(TYPES)}.")
        if [bool(getattr(self, name)) for name in SAID_BY].count(True) != 1:
            raise BadRow("source", "Choose where the value comes from: one field or several, a text, or an expression.")
        if self.expression:
            parsed(self.expression)
        for one in self.transforms:
            _ensure_good(one)
        if self.default:
            try:
                typed(self.kind, self.default, ())
            except WrongValue as error:
                raise BadRow("default", f"The field takes a {self.kind}: {error}.") from error

    def value(self, known: Mapping[str, Any]) -> Any:
        """Of this order, as the CRM gets it; None: nothing. Raises WrongValue."""
        return self._made(self._read(known)[0])

    def tried(self, orders: Sequence[Mapping[str, Any]]) -> Any:
        """The same, of one order as `veiled` shows it, for everybody to see: MASK where it depends on what is hidden.
        Raises WrongValue if it fails whatever that is."""
        values, errors, reads_hidden = list[Any](), list[WrongValue](), False
        for known in orders:
            try:
                found, read_hidden = self._read(known, watches=True)
                reads_hidden = reads_hidden or read_hidden
                values.append(self._made(found))
            except WrongValue as error:
                errors.append(error)
        if not values:
            raise errors[0]
        return MASK if errors or reads_hidden else values[0]

    def _made(self, found: Any) -> Any:
        for transform in self.transforms:
            found = transform(found)
        if is_empty(found):
            found = self.default
        if is_empty(found):
            return None
        return fit(typed(self.kind, found, self.transforms if found is not self.default else ()))

    def _read(self, known: Mapping[str, Any], *, watches: bool = False) -> tuple[Any, bool]:
        """What stands at its source; and for one who `watches`, whether that depends on what is hidden."""
        if self.constant:
            return self.constant, False
        if self.expression:
            evaluation = Evaluation(watches=watches)
            try:
                return evaluation.of(parsed(self.expression), known), evaluation.read_hidden
            except WrongValue:
                raise
            except JMESPathTypeError as error:
                raise WrongValue(_wrong_type(error)) from error
            except AT_RUN_TIME as error:
                raise WrongValue("the expression cannot be evaluated on this order") from error
        values = [value_at(known, path) for path in self.paths]
        found = values[0] if len(values) == 1 else [one for value in values for one in _listed(value)]
        return found, watches and is_hidden(found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _wrong_type(error: JMESPathTypeError) -> str:
    """The library's own words name the value, which may be the customer's."""
    wanted = " or ".join(error.expected_types)
    return f"the function {error.function_name}() gets a value of the type {error.actual_type}, and takes {wanted}"


def _ensure_good(one: Transform) -> None:
    if one.name not in TRANSFORMS:
        raise BadRow("transforms", f"{one.name!r} is no transform. There are {', '.join(TRANSFORMS)}.")
    if one.name == "cut" and not (one.argument.isdecimal() and 0 < int(one.argument) < 100_000):
        raise BadRow("cut", "Enter how many characters are left, as in 40.")
    if one.name == "date" and one.argument not in DATES:
        raise BadRow("date", f"Choose how the date is written: {', '.join(DATES)}.")
    if one.name == "map" and not one.values:
        raise BadRow("values", "Write one value on each line, as in bacs = Bank transfer.")


# --- expressions ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parsed(expression: str) -> ParsedResult:
    """Each once in a process. Raises BadRow."""
    if len(expression) > LONGEST_EXPRESSION:
        raise BadRow("expression", f"It has more than {LONGEST_EXPRESSION} characters. Split it, or shorten it.")
    try:
        found = jmespath.compile(expression)
    except RecursionError as error:
        raise BadRow("expression", "It has too many brackets within each other.") from error
    except ParseError as error:
        token = f" at {str(error.token_value)[:20]!r}" if error.token_value else ", at its end"
        place = f"column {(error.lex_position or 0) + 1}{token}"
        raise BadRow("expression", f"This is no JMESPath expression: it cannot be read from {place} on.") from error
    except JMESPathError as error:
        raise BadRow("expression", f"This is no JMESPath expression: {error}") from error
    made = math.prod(len(node["children"]) for node in _nodes(found.parsed) if node["type"].startswith("multi_select"))
    if made > MOST_VALUES:
        raise BadRow("expression", "It makes too many lists within each other. Shorten it.")
    try:
        Evaluation().of(found, EMPTY)
    except UnknownFunctionError as error:
        raise BadRow("expression", f"{error}. Is its name written right?") from error
    except ArityError as error:
        raise BadRow("expression", f"{error}.") from error
    except AT_RUN_TIME:  # nothing stands in the empty order: real ones tell
        pass
    return found


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [child for child in one.get("children", ()) if isinstance(child, Mapping)]


EMPTY = facts({})


# --- the map -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldMap:
    version: int = 0
    rows: tuple[Row, ...] = ()
    "One for each target."
    veiled: frozenset[str] = frozenset()
    "Targets that get only what everybody may see: of a map that is looked at, and never sent."
    broken: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    "Targets whose row is none in this release, and why. Each is left out of every order."
    latest: list[tuple[Mapping[str, Any], tuple[dict[str, Any], list[str]]]] = field(
        default_factory=list, compare=False, repr=False
    )
    "The order that it was applied to last, and what came of it: it is asked several times in a row."

    @classmethod
    def of(cls, version: int, rows: Sequence[Mapping[str, Any]], veiled: Sequence[str] = ()) -> Self:
        good, broken = [], {}
        for said in rows:
            try:
                row = Row.of(said)
                row.ensure_good()
                good.append(row)
            except (BadRow, TypeError) as error:
                broken[str(said.get("target"))] = str(error)
        return cls(version=version, rows=tuple(good), veiled=frozenset(veiled), broken=broken)

    def apply(self, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """By target, what the CRM gets of this order; and in words what it does not get, and why."""
        for known, before in tuple(self.latest):
            if known is order:
                return before
        result = self._applied(order)
        self.latest[:] = [(order, result)]
        return result

    def _applied(self, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        if order.get("status") == TRASH:
            return {}, []
        known, told, words = facts(order), dict[str, Any](), list[str]()
        for target, why in self.broken.items():
            words.append(_left_out(target, why.rstrip(".")))
        shown = veiled(known) if self.veiled else []
        for row in self.rows:
            try:
                value = row.tried(shown) if row.target in self.veiled else row.value(known)
            except WrongValue as error:
                words.append(_left_out(row.target, str(error)))
                continue
            if isinstance(value, str) and row.longest and len(value) > row.longest:
                value = value[: row.longest - 1].rstrip() + CUT
                words.append(f"The CRM takes at most {row.longest} characters in {row.target}: the text was cut.")
            if value is not None:
                told[row.target] = value
        return told, words


def _left_out(target: str, why: str) -> str:
    return f"The CRM's field {target} was left out: {why}. Change the field map of the bridge."


@lru_cache(maxsize=256)
def field_map(text: str) -> FieldMap | None:
    """As a bridge keeps the map that is on; compiled once for each version. None: it has none."""
    if not text:
        return None
    said = json.loads(text)
    return FieldMap.of(said["version"], said["rows"], said.get("veiled", ()))


def as_text(version: int, rows: Sequence[Mapping[str, Any]], veiled: Sequence[str] = ()) -> str:
    """Empty: no rows, no map."""
    said = {"version": version, "rows": list(rows), **({"veiled": list(veiled)} if veiled else {})}
    return json.dumps(said, sort_keys=True) if rows else ""
