"""One page of truths about this installation, each with what to do about it."""

from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from orders import audit
from sync.monitoring import doctor
from sync.monitoring.findings import Finding
from webhooks.backoffice.pages import page
from webhooks.masking import masked_text

EXAMINE_SECONDS = 20.0
"""A web server gives up on a request after thirty."""
URGENCY = {"error": 0, "warning": 1, "ok": 2}
LEVEL_COLOURS = {"ok": "success", "warning": "warning", "error": "danger"}


def doctor_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """Both sides are asked at a POST only."""
    if not owner.has_view_permission(request):
        raise PermissionDenied
    may = request.user.has_perm("orders.check_orderlink")
    findings: list[Finding] = []
    if request.method == "POST":
        if not may:
            raise PermissionDenied
        findings = doctor.examine_within(EXAMINE_SECONDS)
        told = f"{_many(findings, 'error')} errors, {_many(findings, 'warning')} warnings"
        audit.record("doctor", actor=request.user.get_username(), result=told)
    context = {
        "may": may,
        "findings": [
            (_masked(one), LEVEL_COLOURS[one.level]) for one in sorted(findings, key=lambda one: URGENCY[one.level])
        ],
        "errors": _many(findings, "error"),
        "warnings": _many(findings, "warning"),
    }
    return page(owner, request, "sync/health/doctor.html", "Doctor", opts=None, **context)


def _many(findings: list[Finding], level: str) -> int:
    return sum(one.level == level for one in findings)


def _masked(finding: Finding) -> Finding:
    return replace(finding, words=masked_text(finding.words), advice=masked_text(finding.advice))
