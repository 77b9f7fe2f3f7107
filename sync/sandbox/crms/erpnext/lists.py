"""Lists as frappe answers them: filters, fields, order and pages, all in the query."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sync.sandbox.crms.erpnext import answers

Doc = dict[str, Any]
CHILDREN = {"Contact Email": "email_ids", "Contact Phone": "phone_nos", "Dynamic Link": "links"}
"""The field that holds the rows of a child doctype."""
BASE = frozenset({"name", "owner", "creation", "modified", "modified_by", "docstatus", "idx"})
PAGE = 20
"""Rows without a limit (065)."""


def listed(doctype: str, docs: Iterable[Doc], fields: frozenset[str], query: Mapping[str, str]) -> list[Doc]:
    """`fields`: that the doctype has. What it has not is refused (016)."""
    known = fields | BASE
    rules = [_rule(doctype, one, known) for one in json.loads(query.get("filters") or "[]")]
    found = [doc for doc in docs if _fits(doc, rules)]
    for part in reversed(query.get("order_by", "modified desc").split(",")):
        field, _, way = part.strip().partition(" ")
        _ensure_known(field, known)
        found.sort(key=lambda doc: _folded(doc.get(field)), reverse=way.strip() == "desc")
    start = int(query.get("limit_start") or 0)
    limit = int(query.get("limit_page_length") or query.get("limit") or PAGE)
    page = found[start : start + limit] if limit else found[start:]
    wanted = json.loads(query.get("fields") or '["name"]')
    for name in wanted:
        _ensure_known(name.partition(".")[0], known)
    return [row for doc in page for row in _rows(doc, wanted, rules)]


def _ensure_known(name: Any, known: frozenset[str]) -> None:
    if name not in known and name not in CHILDREN.values():
        raise answers.unknown_field(name)


Rule = tuple[str, str, Callable[[Any], bool]]
"""The field of child rows or empty, the field, and whether a value fits."""


def _rule(doctype: str, said: Sequence[Any], known: frozenset[str]) -> Rule:
    of, field, operator, value = said if len(said) == 4 else (doctype, *said)
    if of == doctype:
        _ensure_known(field, known)
    return CHILDREN.get(of, ""), field, _test(operator, value)


def _test(operator: str, value: Any) -> Callable[[Any], bool]:
    """As MariaDB compares: without regard to case, and a time by its text. A zone in it means nothing (063, 064)."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        value = re.sub(r"(Z|[+-]\d\d:\d\d)$", "", value).replace("T", " ")
    other: Any = [_folded(one) for one in value] if isinstance(value, list) else _folded(value)
    match operator:
        case "=":
            return lambda seen: _folded(seen) == other
        case "!=":
            return lambda seen: _folded(seen) != other
        case "in":
            return lambda seen: _folded(seen) in other
        case ">=":
            return lambda seen: _folded(seen) >= other
        case ">":
            return lambda seen: _folded(seen) > other
        case "like":
            pattern = re.escape(other).replace("%", ".*").replace("_", ".")
            return lambda seen: re.fullmatch(pattern, str(_folded(seen)), re.DOTALL) is not None
    raise answers.refusal(417, "DataError", f"Operator not permitted: {operator}")


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else "" if value is None else value


def _fits(doc: Doc, rules: Sequence[Rule]) -> bool:
    """Rules of one child doctype are about the same row of it."""
    own = [(field, test) for child, field, test in rules if not child]
    return all(test(doc.get(field)) for field, test in own) and all(
        _matching(doc, child, rules) for child in {child for child, _, _ in rules if child}
    )


def _matching(doc: Doc, child: str, rules: Sequence[Rule]) -> list[Doc]:
    mine = [(field, test) for of, field, test in rules if of == child]
    return [row for row in doc.get(child) or () if all(test(row.get(field)) for field, test in mine)]


def _rows(doc: Doc, wanted: Sequence[str], rules: Sequence[Rule]) -> list[Doc]:
    """With a field of child rows, one for each of them, as the join gives it."""
    own = {name: doc.get(name) for name in wanted if "." not in name}
    joined = [name.split(".") for name in wanted if "." in name]
    if not joined:
        return [own]
    child = joined[0][0]
    return [{**own, **{field: row.get(field) for _, field in joined}} for row in _matching(doc, child, rules)]
