"""The page of a month-end proof, to be printed, and its CSV file, as it was signed."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from orders import audit
from orders.asking import ask_reason
from sync.jobs import month_end, run_report
from sync.models import MonthEndOrder, Run
from webhooks.backoffice.pages import page, page_of, text_link

PERMISSION = "sync.month_end_run"
NAMED = 100


def report_view(pages: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
    if not pages.has_view_permission(request):
        raise PermissionDenied
    run = get_object_or_404(Run, pk=pk)
    report = run.kept.get(month_end.REPORT) if run.kind == month_end.JOB.kind else None
    if report is None:
        return HttpResponseRedirect(page_of(run))
    differing = MonthEndOrder.objects.filter(run=run, woo_id__in=report["differ"]).order_by("woo_id")
    title = f"Month-end proof: {run.options['since']} to {run.options['until']}"
    context = {
        "run": run,
        "counts": run_report.counts(run),
        "totals": report["totals"].items(),
        "sha256": report["sha256"],
        "signed": month_end.signed(report["sha256"]),
        "differing": differing[:NAMED],
        "left_out": run_report.left_out(run),
        "may_export": request.user.has_perm(PERMISSION),
    }
    return page(pages, request, "sync/run/month_end.html", title, **context)


def csv_view(pages: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
    if not (pages.has_view_permission(request) and request.user.has_perm(PERMISSION)):
        raise PermissionDenied
    run = get_object_or_404(Run, pk=pk)
    if run.kind != month_end.JOB.kind or month_end.REPORT not in run.kept:
        return HttpResponseRedirect(page_of(run))

    def perform(said: dict[str, str]) -> HttpResponse:
        audit.record("export", actor=said["by"], reason=said["reason"], result="month-end proof as CSV", run=run.pk)
        name = f"month-end-{run.options['bridge']}-{run.options['since']}-{run.options['until']}.csv"
        return StreamingHttpResponse(  # type: ignore[return-value]  # a response like any other, for Django
            month_end.as_csv(run),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"},
        )

    return ask_reason(
        pages,
        request,
        run,
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
    return text_link(reverse("admin:sync_run_month_end", args=[run.pk]), "Show the report, to be printed or exported")
