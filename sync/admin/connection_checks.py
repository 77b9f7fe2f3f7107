"""One connection is examined with its real keys, and each thing that was looked at is told."""

from dataclasses import replace

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from orders import audit
from sync.admin.connection_pages import CREDENTIALS, guarded, told
from sync.admin.doctor import LEVEL_COLOURS
from sync.clients.causes import plain
from sync.clients.errors import SideError
from sync.monitoring import connecting, examination, preparing
from sync.monitoring.findings import Finding
from webhooks.backoffice.pages import page, page_of
from webhooks.connections import Connection, Side
from webhooks.masking import masked_text

CHECK = "orders.check_orderlink"
MAKE = {False: "Make the webhooks", True: "Make what it lacks"}
"""What the button says, of a shop and of a CRM."""


@guarded(CHECK)
def check_view(owner: ModelAdmin, request: HttpRequest, row: Connection) -> HttpResponse:
    """The connection is asked at a POST only."""
    is_crm, may = row.side == Side.CRM, request.user.has_perm(CREDENTIALS)
    may_make = may and not row.is_environment
    findings = []
    if request.method == "POST":
        if may_make and "make" in request.POST:
            (_prepare if is_crm else _make_webhooks)(request, row)
        findings = examination.examine(row)
        bad = sum(one.level == "error" for one in findings)
        audit.record("connection: check", actor=request.user.get_username(), result=f"{row}: {bad} need a person")
    context = {
        "findings": [(_shown(one), LEVEL_COLOURS[one.level]) for one in findings],
        "errors": sum(one.level == "error" for one in findings),
        "make": MAKE[is_crm] if may_make and _lack(findings) else "",
        "row": row,
        "back": page_of(row),
    }
    return page(owner, request, "sync/connection/check.html", f"Check: {row}", **context)


def _make_webhooks(request: HttpRequest, row: Connection) -> None:
    try:
        made = connecting.make_webhooks(row)
    except SideError as error:
        messages.error(request, told(error))
        return
    by = request.user.get_username()
    audit.record("webhooks: ensure", actor=by, result=f"{made} made", connection=row.slug)
    messages.success(request, f"{made} webhooks were made in the shop.")


def _prepare(request: HttpRequest, row: Connection) -> None:
    try:
        made = [*preparing.prepare(connecting.crm_of(row), row)]
    except SideError as error:
        messages.error(request, told(error))
        return
    audit.record("connection: prepare", actor=request.user.get_username(), result=f"{len(made)}", connection=row.slug)
    messages.success(request, " ".join(made) or "There was nothing that we can make there.")


def _lack(findings: list[Finding]) -> bool:
    return any(one.check in ("webhooks", examination.ACCOUNT) and one.level != "ok" for one in findings)


def _shown(one: Finding) -> Finding:
    return replace(one, words=masked_text(plain(one.words)), advice=masked_text(plain(one.advice)))
