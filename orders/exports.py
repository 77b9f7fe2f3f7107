"""A list of the back office as CSV: what its filters show, however long, sent row by row."""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils import timezone
from unfold.decorators import action

from orders import audit
from orders.asking import ask_reason
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of
from webhooks.masking import masked_query, masked_row

EXPORT_PAGE = 2000
FORMULA = ("=", "+", "-", "−", "@", "|", "%")
"""A spreadsheet takes a text that begins with one of these for a formula, whoever wrote it: also behind blanks and
characters that are not seen, and if they are wide ones of Chinese and Japanese texts."""
UNSEEN_CATEGORIES = ("C", "Z", "M")
"""The categories of Unicode: controls and formats, separators, and marks that sit on the character before them."""
PART = re.compile(r"(?<=[;\t\r\n])[^;\t\r\n]+")
"""Where `;` or a tab parts cells, a row of ours is one cell, whose quotes end with the first of ours: what stands
behind such a sign, or on another line, begins a cell there, also if a quote comes first."""

Columns = Mapping[str, Callable[[Any], Any]]


class Exporting(ReadOnlyAdmin):
    """A list with the button *Export CSV*."""

    columns: ClassVar[Columns]
    actions_list: Sequence[str] = ("export",)
    has_export_permission = may("orders.export_statustransition")

    @action(
        description="Export CSV",
        permissions=["export"],
        url_path="export",
        icon="download",
    )
    def export(self, request: HttpRequest) -> HttpResponse:
        """The address keeps the filters, so that the POST, with a reason, exports what the page spoke of."""
        here = list_of(self)
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except (IncorrectLookupParameters, SuspiciousOperation, ValidationError):
            return HttpResponseRedirect(f"{here}?e=1")  # Django's own words for filters that make no sense

        def perform(said: dict[str, str]) -> HttpResponse:
            audit.record(
                "export",
                actor=said["by"],
                reason=said["reason"],
                result=f"{self.opts.verbose_name_plural} as CSV",
                filters=masked_query(request.GET.urlencode()),
            )
            name = f"{self.opts.model_name}-{timezone.now():%Y-%m-%dT%H%M}.csv"
            return StreamingHttpResponse(  # type: ignore[return-value]  # a response like any other, for Django
                lines(rows, self.columns),
                content_type="text/csv; charset=utf-8",
                headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"},
            )

        return ask_reason(
            self,
            request,
            title=f"Export {self.opts.verbose_name_plural}",
            words="The file contains all rows that the filtered list shows. Your reason is stored in the audit.",
            button="Export",
            back=f"{here}?{request.GET.urlencode()}",
            perform=perform,
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The button keeps the filters of the list that it stands above."""
        page = super().changelist_view(request, extra_context)
        for button in getattr(page, "context_data", {}).get("actions_list", []):
            if button["path"].endswith("/export/") and request.GET:
                button["path"] = f"{button['path']}?{request.GET.urlencode()}"
        return page


def lines(rows: QuerySet[Any], columns: Columns) -> Iterator[str]:
    """Page by page in the order of the key: flat memory, and no transaction that lasts as long as a download."""
    yield from csv_lines(columns, ([column(row) for column in columns.values()] for row in _in_pages(rows)))


def _in_pages(rows: QuerySet[Any]) -> Iterator[Any]:
    rows, last = rows.order_by("pk"), 0
    while page := list(rows.filter(pk__gt=last)[:EXPORT_PAGE]):
        yield from map(masked_row, page)
        last = page[-1].pk


def csv_lines(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(Echo(), quoting=csv.QUOTE_ALL)
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])


class Echo:
    """What csv takes for a file; it hands each line on."""

    def write(self, line: str) -> str:
        return line


def cell(value: Any) -> str:
    if isinstance(value, str):
        return _mark(value) + PART.sub(lambda part: _mark(part[0]) + part[0], value)
    return "" if value is None else str(value)


def _mark(text: str) -> str:
    """What stands before a formula so that it is a text."""
    plain = unicodedata.normalize("NFKC", text)
    seen = (one for one in plain if one != '"' and unicodedata.category(one)[0] not in UNSEEN_CATEGORIES)
    return "'" if next(seen, "") in FORMULA else ""
