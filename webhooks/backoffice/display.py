"""How a value is shown: labels, times, bodies, and texts in which something is to be typed."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from webhooks.masking import LIKE_JSON, masked, masked_text

BODY_SHOWN = 200_000
OUR_PAGE = re.compile(r"(?<![\w:/])(/admin/[\w./?=&-]*[\w/])")


@lru_cache(maxsize=256, typed=True)
def badge(words: str, kind: str = "") -> SafeString:
    """Words on a coloured ground: success, info, warning, danger. The same in a list and on a row's own page.

    Remembered, as a list has one in each row, and a template costs; safe words and plain ones apart.
    """
    return render_to_string("unfold/helpers/label.html", {"text": words, "type": kind})


def coded(text: str) -> SafeString:
    """A text for people in which what stands between backticks is to be typed, and our own pages are linked."""
    parts = (("code" if number % 2 else "span", part) for number, part in enumerate(text.split("`")))
    return format_html_join(
        "", "<{0}>{1}</{0}>", ((tag, part if tag == "code" else _linked(part)) for tag, part in parts)
    )


def _linked(text: str) -> SafeString:
    parts = enumerate(OUR_PAGE.split(text))
    return format_html_join("", "{}", ((_link(part) if number % 2 else part,) for number, part in parts))


def _link(path: str) -> SafeString:
    return format_html('<a class="underline" href="{0}">{0}</a>', path)


def ago(moment: datetime | None) -> str:
    """Relative for the eye, exact on hover."""
    if moment is None:
        return "–"
    return format_html(
        '<span class="moment" title="{}">{}</span>', f"{moment:%Y-%m-%d %H:%M:%S %Z}", naturaltime(moment)
    )


def time_column(field: str, description: str, *, ordering: str = "") -> Callable[[Any, Any], str]:
    """A column of a list that shows how long ago the time in this field was."""

    @admin.display(description=description, ordering=ordering or None)
    def shown(self: Any, row: Any) -> str:
        return ago(getattr(row, field))

    return shown


def pretty(value: Any) -> str:
    """JSON for people. Lone surrogates are legal JSON and not legal UTF-8, so they are replaced."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def readable(body: bytes, *, revealed: bool = False) -> str:
    """The body as text: JSON laid out, other text as it is, anything else as the first bytes in hexadecimal.

    Personal data is masked unless it is revealed; what is not JSON may hold any, wherever. Nor is told how long it is:
    of whom all but one thing is known, that tells of the one.
    """
    try:
        content = json.loads(body)
        return pretty(content if revealed else masked(content))[:BODY_SHOWN]
    except (ValueError, RecursionError):
        pass
    try:
        text = body.decode()
    except UnicodeDecodeError:
        if not revealed:
            return "Bytes that are not text"
        return f"{len(body)} bytes that are not text, beginning with\n{body[:256].hex(' ')}"
    if not revealed:
        text = masked_text(text) if LIKE_JSON.match(text) or not text else "Text that is not JSON"
    return text[:BODY_SHOWN]


def preformatted(text: str) -> SafeString:
    return format_html('<pre class="whitespace-pre-wrap break-all font-mono text-xs">{}</pre>', text)
