"""Personal data becomes •••, and the rest stays readable. Pure: who may see it is decided in reveal.py."""

import json
import re
from typing import Any

MASK = "•••"

PERSONAL = re.compile(
    r"(^|_)(e_?mail|phone|mobile|fax|(first|last|middle|full|sur|user|nick|display|customer|company)_?name|company"
    r"|address|address_?(line_?)?\d|street|house_number|city|postcode|zip|postal_code|(ip|ip_address|user_agent)"
    r"|note|comment|birthday|date_of_birth|vat_(id|number)|tax_id|iban|bic)$"
    # Whoever has the order's key sees the order in the shop, addresses included.
    r"|^(order_key|payment_url)$"
)
"""The names of fields that tell who somebody is."""
PEOPLE = re.compile(r"(^|_)(billing|shipping|customer|contact|recipient|buyer|payer|person|address(es)?)$")
"""The names of what describes a person: all in it is masked, except for HARMLESS."""
AMOUNT = re.compile(r"[\d.,]*")
HARMLESS = re.compile(r"(^|_)(id|country|country_code|type)$")
META_VALUES = ("value", "display_value")
"""Plugins and CRMs keep anything at all in a pair of key and value."""

EMAIL = re.compile(r"(?<![\w.+-])([\w.+-])[\w.+-]*(@|%40)([\w-]+(?:\.[\w-]+)+)")
PHONE = re.compile(r"(?<![\w.])(?:\+|00)\d[\d ()/.-]{6,}\d|(?<![\w.-])\(?\d{3}\)?[ -]\d{3}[ -]\d{4}(?![\w-])")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"?(\s*:)?', re.DOTALL)
READABLE_IF_BROKEN = re.compile(r"(^|_)(id|status|currency|number|sku|type|code|version|key|href)$|^date_|_at$")


def masked(value: Any) -> Any:
    """A parsed JSON document of the same shape that tells no person."""
    return _masked(value, personal=False)


def masked_text(text: str) -> str:
    """Text as it was kept: JSON, also when it was cut off, or words."""
    if text.lstrip()[:1] not in ("{", "["):
        return _words(text)
    try:
        return json.dumps(masked(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return _broken(text)


class StillMasked(Exception):
    """Something masked was moved, or what it stands in was: its value cannot be put back. The message says where."""


def restored(edited: Any, original: Any) -> Any:
    """`edited` is masked(original) with changes: what still shows its mask in its old place gets its value back.

    Nothing becomes visible by it: what was masked in the original is masked in the result.
    """
    result = _restored(edited, masked(original), original, "")
    _refuse_what_would_show(edited, masked(result), "")
    return result


def _restored(edited: Any, shown: Any, original: Any, path: str) -> Any:
    if edited == shown:
        return original
    if isinstance(edited, dict) and isinstance(shown, dict) and len(shown) == len(original):
        # Masking keeps the order of the fields; a name may have been masked itself.
        names = dict(zip(shown, original, strict=True))
        return {
            names.get(name, name): _restored(
                value, shown.get(name), original[names[name]] if name in names else None, f"{path}.{name}"
            )
            for name, value in edited.items()
        }
    if isinstance(edited, list) and isinstance(shown, list) and len(edited) == len(shown):
        return [
            _restored(one, was, exact, f"{path}[{place}]")
            for place, (one, was, exact) in enumerate(zip(edited, shown, original, strict=True))
        ]
    if MASK in json.dumps(edited, ensure_ascii=False):
        raise StillMasked(path.lstrip(".") or "the body")
    return edited


def _refuse_what_would_show(edited: Any, result: Any, path: str) -> None:
    if isinstance(edited, dict) and isinstance(result, dict):
        for (name, value), inner in zip(edited.items(), result.values(), strict=False):
            _refuse_what_would_show(value, inner, f"{path}.{name}")
    elif isinstance(edited, list) and isinstance(result, list):
        for place, (value, inner) in enumerate(zip(edited, result, strict=False)):
            _refuse_what_would_show(value, inner, f"{path}[{place}]")
    elif isinstance(edited, str) and MASK in edited and result != edited:
        raise StillMasked(path.lstrip("."))


def _masked(value: Any, *, personal: bool) -> Any:
    if isinstance(value, dict):
        is_meta = {"key", "value"} <= value.keys()
        return {
            _words(name): _masked(
                inner, personal=_is_personal(name, inner, within=personal) or (is_meta and name in META_VALUES)
            )
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner, personal=personal) for inner in value]
    if isinstance(value, str):
        return _hidden(value) if personal else masked_text(value)
    if personal and value is not None and not isinstance(value, bool):
        return MASK
    return value


def _is_personal(name: str, value: Any, *, within: bool) -> bool:
    plain = _plain(name)
    if PERSONAL.search(plain):
        return True
    more_than_a_number = isinstance(value, dict | list) or (isinstance(value, str) and not AMOUNT.fullmatch(value))
    return (within or (more_than_a_number and bool(PEOPLE.search(plain)))) and not HARMLESS.search(plain)


def _plain(name: str) -> str:
    """`firstName`, `first-name` and `First name` are one name."""
    return re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _hidden(text: str) -> str:
    if not text:
        return ""
    return _words(text) if EMAIL.fullmatch(text) else MASK


def _words(text: str) -> str:
    return PHONE.sub(MASK, EMAIL.sub(rf"\1{MASK}\2\3", text))


def _broken(text: str) -> str:
    """JSON that cannot be parsed, as a rule because it was cut off: only what is known to be harmless is shown."""
    name = ""

    def literal(match: re.Match[str]) -> str:
        nonlocal name
        if match[2]:
            name = _plain(match[1])
            return _words(match[0])
        if READABLE_IF_BROKEN.search(name) and not PERSONAL.search(name):
            return _words(match[0])
        return f'"{MASK}"' if match[1] else match[0]

    return PHONE.sub(MASK, LITERAL.sub(literal, text))
