"""The page of a month-end proof, to be printed, and its CSV file, as it was signed."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from orders import audit
from orders.asking import ask_reason
from sync.jobs import month_end, run_report
from sync.models import MonthEndOrder, Run

PERMISSION = "sync.month_end_run"
NAMED = 100


def report_view(pages: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
    if not pages.has_view_permission(request):
        raise PermissionDenied
    run = get_object_or_404(Run, pk=pk)
    report = run.kept.get(month_end.REPORT) if run.kind == month_end.JOB.kind else None
    if report is None:
        return HttpResponseRedirect(reverse("admin:sync_run_change", args=[run.pk]))
    differing = MonthEndOrder.objects.filter(run=run, woo_id__in=report["differ"]).order_by("woo_id")
    signed = month_end.signed(report["sha256"])
    context = {
        **pages.admin_site.each_context(request),
        "opts": pages.opts,
        "title": f"Month-end proof: {run.options['since']} to {run.options['until']}",
        "run": run,
        "counts": run_report.counts(run),
        "totals": report["totals"].items(),
        "sha256": report["sha256"],
        "signed": signed,
        "differing": differing[:NAMED],
        "left_out": run_report.left_out(run),
        "may_export": request.user.has_perm(PERMISSION),
    }
    return TemplateResponse(request, "sync/run/month_end.html", context)


def csv_view(pages: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
    if not (pages.has_view_permission(request) and request.user.has_perm(PERMISSION)):
        raise PermissionDenied
    run = get_object_or_404(Run, pk=pk)
    if run.kind != month_end.JOB.kind or month_end.REPORT not in run.kept:
        return HttpResponseRedirect(reverse("admin:sync_run_change", args=[run.pk]))

    def perform(said: dict[str, str]) -> HttpResponse:
        by = request.user.get_username()
        audit.record("export", actor=by, reason=said["reason"], result="month-end proof as CSV", run=run.pk)
        name = f"month-end-{run.options['bridge']}-{run.options['since']}-{run.options['until']}.csv"
        return StreamingHttpResponse(  # type: ignore[return-value]  # a response like any other, for Django
            month_end.as_csv(run),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"},
        )

    return ask_reason(
        request,
        pages.admin_site,
        title="Export the month-end proof",
        words="The file has one line for each order. Its hash is in the audit: `month_end --check FILE` proves it.",
        button="Export",
        back=reverse("admin:sync_run_month_end", args=[run.pk]),
        perform=perform,
    )


def link_to(run: Run) -> str:
    """For the run's own page; empty: there is no report."""
    if run.kind != month_end.JOB.kind or month_end.REPORT not in run.kept:
        return ""
    page = reverse("admin:sync_run_month_end", args=[run.pk])
    return format_html('<a class="text-link" href="{}">Show the report, to be printed or exported</a>', page)
