"""What may be shown to everybody who sees the back office; all else becomes •••. reveal.py decides who sees more.

In a document a value is shown if its name is known to be harmless, it looks as such a value does, *and* all that it
stands in is known to be about orders: `number` is one thing of an order and another of a passport. In a text our own
words are shown; what a side said stands between « and », put there by `quoted` where it comes in, and is not.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from django.db.models import CharField, Model, TextField

M = TypeVar("M", bound=Model)

MASK = "•••"
LONGEST_VALUE = 100

# --- what a harmless value looks like ------------------------------------------------------------------------------

SLUG = re.compile(r"[a-z]+(?:[_-][a-z0-9]+)*")
TOPIC = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
ERROR_CODE = re.compile(r"[a-z]+(?:[_.-][a-z0-9]+)+")
META_KEY = re.compile(r"_*[a-z][a-z0-9]*(?:[_-]+[a-z0-9]+)*")
# An identifier has a digit. One of digits only has neither a leading zero nor separators, as phone numbers have.
CODE = re.compile(r"0|[1-9]\d{0,19}|(?=\D*\d)(?=[\d_./-]*[A-Za-z])[A-Za-z0-9]+(?:[_./-][A-Za-z0-9]+)*")
AMOUNT = re.compile(r"-?\d{1,10}(?:\.\d{1,20})?")
VERSION = re.compile(r"\d{1,10}(?:\.\d{1,6}){0,3}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?Z| ?[+-]\d\d:?\d\d)?)?")
COUNTRY = re.compile(r"[A-Z]{2}")
CURRENCY = re.compile(r"[A-Z]{3}")
MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(?:; ?charset=[\w-]+)?", re.IGNORECASE)
ADDRESS = re.compile(r"https?://[a-z0-9.-]+(?::\d+)?(?:/|(?:/[a-z]+)?/wp-json/wc/v\d(?:/[a-z_]+|/\d+)*)?")
ERRORS = "unauthorized unauthorised forbidden conflict invalid expired throttled timeout maintenance"
STATUSES = (
    "accepted ahead and approved bill billed cancel canceled cancelled closed complete completed confirmed deleted "
    "deliver delivered delivery deposit done draft expired failed fully hold in invoiced locked lost new not on order "
    "ordered overdue packed paid partially partly payment pending picked placed preparing processed processing "
    "production quotation ready received refunded rejected reserved return returned sale sent shipped signed stopped "
    "submitted the to transit trash unpaid waiting won"
)
"""Statuses for people ("To Deliver and Bill") are made of these; all others are one word of small letters."""
ERROR_WORDS, STATUS_WORDS = frozenset(ERRORS.split()), frozenset(STATUSES.split())


def _like(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= LONGEST_VALUE and bool(pattern.fullmatch(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e10


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return _is_whole(value) or _is_code(value)


def _is_number_of_somebody(value: Any) -> bool:
    """Not the name that somebody chose for himself."""
    return _is_whole(value) or (_is_code(value) and value.isdigit())


def _is_amount(value: Any) -> bool:
    return _is_number(value) or _is_decimal(value)


def _is_status(value: Any) -> bool:
    return _is_slug(value) or (isinstance(value, str) and set(value.lower().split()) <= STATUS_WORDS)


def _is_version(value: Any) -> bool:
    return _is_whole(value) or _is_dotted(value)


def is_error_code(value: Any) -> bool:
    """As machines name what went wrong."""
    return _is_number(value) or _is_error_word(value) or (isinstance(value, str) and value in ERROR_WORDS)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_is_code, _is_slug, _is_decimal, _is_dotted, _is_error_word, _is_topic, _is_moment, is_address = map(
    _like, (CODE, SLUG, AMOUNT, VERSION, ERROR_CODE, TOPIC, MOMENT, ADDRESS)
)

HARMLESS: tuple[tuple[re.Pattern[str], Callable[[Any], bool]], ...] = tuple(
    (re.compile(names), check)
    for names, check in (
        (r"(customer|user|author|partner|owner)_id", _is_number_of_somebody),
        (
            r"(external_)?ids?|uuid|number|sku|rate_code|copy|run|finding|include|exclude|(order|crm_order|woo|woo_order|shop_order|external"
            r"|external_order|parent|product|variation|line|line_item|order_line|item|rate|refund|instance|event|delivery"
            r"|webhook|message|row|link|stage|pipeline|warehouse|x_wc_webhook|x_wc_webhook_delivery)_(ids?|number)",
            _is_id,
        ),
        (
            r"(\w+_)?(total|subtotal|tax|price|discount|amount|net|gross|quantity|qty)|counts?|rate_percent"
            r"|pages?|per_page|limit|offset|milliseconds|webhook_timestamp",
            _is_amount,
        ),
        (r"position|place", _is_whole),
        (
            r"((shop|crm|from|to|old|new|order|payment|financial|fulfillment|invoice|delivery|billing|tax|line)_)?status"
            r"|state|stage|dealstage|docstatus",
            lambda value: _is_status(value) or _is_number(value),
        ),
        (
            r"(discount_)?type|kind|resource|action|created_via|payment_method|method_id|tax_class|trigger|decision"
            r"|outcome|source|side|method|x_wc_webhook_(resource|event)",
            _is_slug,
        ),
        (r"topic|event|type|x_wc_webhook_topic", _is_topic),
        (r"order(_?by)?|context|dates_are_gmt", _is_slug),
        (r"code|error|error_code", is_error_code),
        (r"(display_)?key", _like(META_KEY)),
        (r"((\w+_)?api_)?version", _is_version),
        (
            r"date|time|timestamp|at|changed|creation|modified|(order|delivery|transaction|invoice|due|write|create)_date"
            r"|(date_(created|modified|paid|completed|order|updated)"
            r"|(created|updated|changed|modified|occurred|paid|shipped|completed|cancelled|received|refunded)_at)(_gmt)?"
            r"|((updated|modified|created)_)?(since|until|after|before)",
            _is_moment,
        ),
        (r"(\w+_)?country(_code)?", _like(COUNTRY)),
        (r"(\w+_)?currency(_code)?", _like(CURRENCY)),
        (r"content_type|accept", _like(MEDIA_TYPE)),
        (r"href|x_wc_webhook_source", is_address),
        (
            r"ok|success|prices_include_tax|set_paid|is_editable|needs_(payment|processing)|compound|free_shipping"
            r"|has_more|critical|dry_run",
            _is_flag,
        ),
    )
)
"""Names as WooCommerce, our own formats and the CRMs have them, and what such a value looks like. What is not here is
hidden: a new field has to be asked for. No name of a house, a birth or a phone is matched by any of these."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""Names of fields are shown if they are identifiers. Anything else that is used as one may be somebody's."""
ANY, NONE = re.compile(r".*", re.DOTALL), re.compile(r"(?!)")
PARENTS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(parents), names)
    for parents, names in (
        (
            r"((crm|shop|woo|sale|sales)_)?orders?|((sale|sales)_)?order_(lines?|items?)|(line|packed)_?items|items?|lines?"
            r"|(line|shipping|tax|fee)_lines|refunds?|tax(es)?|products?|variations?|(total|subtotal|price|discount)s?"
            r"|pricing_rules|payment_schedule|status|state|stage|currency",
            ANY,
        ),
        (
            r"_?links|self|collection|up|next|prev|target_hints|results?|data|body|payload|records?|list|object|attributes"
            r"|properties|params|args|vals|values|errors?|meta|paging|pagination|filters?"
            r"|shop|crm|woo|event|events|changes",
            ANY,
        ),
        (r"meta_data", re.compile(r"id|key|display_key")),
        (r"coupon_lines", re.compile(r"id|discount|discount_tax")),
        (r"(billing|shipping)(_address)?", re.compile(r"(\w+_)?country(_code)?")),
    )
)
"""What may be shown of what stands in these. In anything else nothing is, however deep: a new one is asked for."""


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    """`createdAt`, `created-at` and `Created at` are one name."""
    return re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_")


@lru_cache(maxsize=4096)
def _checks(name: str, within: re.Pattern[str]) -> tuple[Callable[[Any], bool], ...]:
    plain = _plain(name)
    return tuple(check for names, check in HARMLESS if names.fullmatch(plain) and within.fullmatch(plain))


@lru_cache(maxsize=4096)
def _inside(name: str, within: re.Pattern[str]) -> re.Pattern[str]:
    """What is shown inside of a field. What stands in no field is a document, or one of a list of them."""
    if within is not ANY or not name:
        return within
    return next((names for parents, names in PARENTS if parents.fullmatch(_plain(name))), NONE)


def _is_shown(name: str, value: Any, within: re.Pattern[str]) -> bool:
    return value is None or value == "" or any(check(value) for check in _checks(name, within))


# --- documents -----------------------------------------------------------------------------------------------------


def masked(value: Any, name: str = "") -> Any:
    """A parsed JSON document of the same shape, with as many fields in the same order, that tells no person.

    `name`: that of the value itself, where it is not a whole document.
    """
    return _masked(value, name, ANY)


def _masked(value: Any, name: str, within: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        inside = _inside(name, within)
        return dict(zip(_names(value), (_masked(inner, key, inside) for key, inner in value.items()), strict=True))
    if isinstance(value, list):
        return [_masked(inner, name, within) for inner in value]
    if _is_shown(name, value, within):
        return value
    return _address(value) if isinstance(value, str) and EMAIL.fullmatch(value) else MASK


def _names(fields: dict[str, Any]) -> list[str]:
    """No two are masked alike, so that each can be told from the others, and put back."""
    return [name if NAME.fullmatch(name) else f"{MASK}{place}" for place, name in enumerate(fields, 1)]


def masked_words(value: Any) -> Any:
    """Of a structure of our own making, whose names are ours, the texts."""
    if isinstance(value, dict):
        return {masked_text(name): masked_words(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_words(inner) for inner in value]
    return masked_text(value) if isinstance(value, str) else value


SENTENCE = 200
"""A column that takes so many characters holds words."""
OF_STAFF = ("actor", "requested_by", "ignored_by", "owner", "credentials")
"""Columns with the names of accounts: an audit that does not tell who did it would be none. And what is encrypted."""


@lru_cache
def _columns(model: type[Model]) -> tuple[tuple[str, Callable[[str], str]], ...]:
    """Words are masked as words; of an id or a status only an address."""
    fields = [field for field in model._meta.concrete_fields if isinstance(field, CharField | TextField)]
    return tuple(
        (
            field.attname,
            masked_topic
            if field.name == "topic"
            else masked_text
            if isinstance(field, TextField) or (field.max_length or 0) >= SENTENCE
            else _address,
        )
        for field in fields
        if not field.choices and field.name not in OF_STAFF
    )


def masked_topic(text: str) -> str:
    """What a header or a CRM's `type` says, which nobody signed or which is somebody's words, if it is no topic."""
    return text if not text or _is_topic(text) else MASK


def masked_row(row: M, done: frozenset[int] = frozenset()) -> M:
    """A row of the database that is only to be looked at, with the rows that were read along with it. Columns of JSON
    and bytes are left to those who show them. A bridge and its shop lead to each other: `done` ends that."""
    for name, masking in _columns(type(row)):
        if value := row.__dict__.get(name):
            setattr(row, name, masking(value))
    for other in row._state.fields_cache.values():
        if other is not None and other is not row and id(other) not in done:
            masked_row(other, done | {id(row)})
    return row


def masked_query(query: str) -> str:
    """The address of a list, to be kept. Whoever searches may write anything at all: only what is an id is kept."""
    said = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, masked(value, "id") if name == "q" else masked_text(value)) for name, value in said])


# --- texts ---------------------------------------------------------------------------------------------------------

AT = re.compile(r" ?[@＠﹫] ?|%(?:25)*40| ?[(\[{] ?at ?[)\]}] ?|&#(?:0*64|x0*40);|&commat;|\\u0040", re.IGNORECASE)
EMAIL = re.compile(
    rf"(?<![\w.+-])([\w.+-])[\w.+-]*({AT.pattern})((?:[\w-]+\.)+[\w-]+|localhost|\[[\w.:]+\])", re.IGNORECASE
)
GAP = r" \u00a0\u2000-\u200b\u202f\u2060\u3000()（）/／.．\-\u00ad\u2010-\u2015\u2212\ufe58\ufe63－"
"""What people put between digits: blanks, dashes and brackets of any kind."""
PHONE = re.compile(
    rf"(?<![\w.])(?:[+＋﹢]|00|００)[(（]?\d[\d{GAP}]{{6,20}}\d(?!\w)"
    rf"|(?<![\w.:/-])[(（]?[0０][\d{GAP}]{{5,20}}\d(?!\w)"
    rf"|(?<![\w.-])[(（]?\d{{3}}[)）]?[{GAP}]\d{{3}}[{GAP}]\d{{4}}(?![\w-])"
)
"""With the code of a country, with that of a town, and as in the United States."""
NUMBER = re.compile(
    r"(?<![\w./=#&,'\"-])(?:\d{7,15}"
    rf"|(?<!:)[(（]?\d{{2,5}}[)）]?[{GAP.replace('.', '', 1)}]{{1,2}}\d{{5,10}})(?![\w-]|[.,'\"=]\d)"
)
"""Any other of seven digits or more, for which our words do not say what it is."""
OF_OURS = re.compile(
    r"(?:\b(?:(?:order|event|run|attempt|finding|row|chain|transition|link|id|webhook|line|product)s?|deliver(?:y|ies)|woo|crm"
    r"|version|pid|knows|linked to|find|lacks|lost|not|as)|[↔→]|\(no)[ :.#]*(?:\d+(?:,| and| or|–) ?)*\Z",
    re.IGNORECASE,
)
COUNTS = re.compile(
    r" (?:bytes|rows|events|orders|links|calls|characters|times|m?s|milliseconds|seconds|more|of|in its place"
    r"|is linked|has the)\b| ↔|, names\b"
)
MANY_DIGITS = re.compile(rf"\d[\d{GAP}]{{6}}")
"""What all that PHONE and NUMBER find holds. A text without it, as most are, is not searched for either."""
HIDDEN_QUOTE = f"«{MASK}»"
OF_A_SIDE = re.compile(r"«[^»]*(?:»|\Z)")
OF_A_SIDE_IN_HTML = re.compile(r"«[^»<>\"]*»?")
IN_QUOTES = re.compile(r"""(?<!\w)(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")(?!\w)""", re.DOTALL)
LIKE_JSON = re.compile(r"""\s*(?:\{\s*(?:["}]|\Z)|\[\s*(?:[\[{"\]]|-?\d+\s*[,\]]|\Z))""")
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)("?)(\s*:)?|(-?\d[\d.eE+-]*)|([{}\[\],:\s]+)|[^"{}\[\],:\s]+', re.DOTALL)


def quoted(text: str) -> str:
    """What somebody outside said, to be put into words of ours: only who may reveal personal data reads it."""
    return f"«{text.replace('«', '‹').replace('»', '›')}»" if text else ""


def masked_text(text: str) -> str:
    """Text as it was kept: JSON, also when it was cut off, or words."""
    if not LIKE_JSON.match(text):
        return _words(text)
    try:
        return json.dumps(masked(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return _broken(text)


def _words(text: str) -> str:
    """Ours, with what was quoted in them: a value between quotes is shown if it looks like a harmless one."""
    if "'" in text or '"' in text:
        text = IN_QUOTES.sub(_of_quotes, text if "«" not in text else OF_A_SIDE.sub(HIDDEN_QUOTE, text))
    return masked_trace(text)


def masked_trace(text: str) -> str:
    """A traceback: its quotes hold names of files and lines of our code."""
    if "«" in text:
        text = OF_A_SIDE.sub(HIDDEN_QUOTE, text)
    return NUMBER.sub(_of_number, PHONE.sub(MASK, _address(text))) if MANY_DIGITS.search(text) else _address(text)


def _of_number(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    ours = text.isdigit() or OF_OURS.search(text[max(0, start - 80) : start]) or COUNTS.match(text, end)
    return match[0] if ours else MASK


def _of_quotes(match: re.Match[str]) -> str:
    inner = match[1] or match[2] or ""
    checks = (_is_status, _is_code, _is_topic, _is_decimal, _is_moment)
    return match[0] if not inner or any(check(inner) for check in checks) else f"{match[0][0]}{MASK}{match[0][0]}"


def _address(text: str) -> str:
    return EMAIL.sub(rf"\1{MASK}\2\3", text) if AT.search(text) else text


def _broken(text: str) -> str:
    """JSON that cannot be parsed, as a rule because it was cut off: token by token, by the same rules."""
    name, within = "", ANY
    around = list[tuple[str, re.Pattern[str]]]()

    def token(match: re.Match[str]) -> str:
        nonlocal name, within
        inner, end, colon, number, between = match.groups()
        if between:
            for one in between:
                if one == "{":
                    around.append((name, within))
                    name, within = "", _inside(name, within)
                elif one == "}":
                    name, within = around.pop() if around else ("", NONE)
            return match[0]
        if colon:
            name = inner
            return match[0] if NAME.fullmatch(name) else f'"{MASK}"{colon}'
        if inner is not None:
            shown = _is_shown(name, inner, within) and (end or not inner)
            return match[0] if shown else f'"{_address(inner) if EMAIL.fullmatch(inner) else MASK}{end}'
        if match[0] == "null" or (number and _is_shown(name, _number(number), within)):
            return match[0]
        return MASK

    return TOKEN.sub(token, text)


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return MASK


# --- putting back --------------------------------------------------------------------------------------------------


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
    if isinstance(edited, dict) and isinstance(shown, dict):
        names = dict(zip(shown, original, strict=True))
        result = {
            names.get(name, name): _restored(
                value, shown.get(name), original[names[name]] if name in names else None, f"{path}.{name}"
            )
            for name, value in edited.items()
        }
        typed = edited.keys() - names.keys()
        # Next to masked names only plain ones may be typed, never masked themselves: no guess is told to be right.
        guessed = any(MASK in name for name in edited) and not all(map(NAME.fullmatch, typed))
        if len(result) < len(edited) or guessed:
            raise StillMasked(path.lstrip(".") or "the body")
        return result
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
        for (name, value), inner in zip(edited.items(), result.values(), strict=True):
            _refuse_what_would_show(value, inner, f"{path}.{name}")
    elif isinstance(edited, list) and isinstance(result, list):
        for place, (value, inner) in enumerate(zip(edited, result, strict=True)):
            _refuse_what_would_show(value, inner, f"{path}[{place}]")
    elif isinstance(edited, str) and MASK in edited and result != edited:
        raise StillMasked(path.lstrip("."))
