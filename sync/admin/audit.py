"""The audit is verified by a button: a worker looks at every row, and the page names the first bad one."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action

from orders.admin import StatusTransitionAdmin
from orders.asking import ReasonForm
from orders.models import AuditSeal, StatusTransition
from orders.verification import AuditFinding
from sync.admin.runs import begin
from sync.jobs import engine, verify_audit
from sync.models import Run
from webhooks.backoffice.lists import may
from webhooks.backoffice.pages import page

FINDING_PAGES = {
    "transition": "orders_statustransition",
    "staff action": "orders_staffaction",
    "order": "orders_orderlink",
}


@admin.register(StatusTransition)
class Verifying(StatusTransitionAdmin):
    actions_list = ("verify", *StatusTransitionAdmin.actions_list)
    has_verify_permission = may("orders.verify_statustransition")

    @action(
        description="Verify",
        permissions=["verify"],
        url_path="verify",
        icon="verified_user",
    )
    def verify(self, request: HttpRequest) -> HttpResponse:
        """What the last verification saw, and the form that begins another, in the workers."""
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                begun = begin(verify_audit.start, by=request.user.get_username(), **form.cleaned_data)
                messages.success(request, f"{begun} was handed to the workers.")
            except engine.AlreadyRunning as error:
                messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:orders_statustransition_verify"))
        run = Run.objects.filter(kind=verify_audit.JOB.kind).order_by("-id").first()
        context = {
            "run": run,
            "running": run is not None and run.state == Run.State.RUNNING,
            "verdict": run and verify_audit.verdict(run),
            "findings": [(one, page_of_finding(one)) for one in verify_audit.findings(run)] if run else [],
            "advice": verify_audit.ADVICE,
            "checkpoint": AuditSeal.objects.order_by("-sequence").first(),
            "form": form,
        }
        return page(self, request, "sync/verify.html", "Verify the audit", **context)


def page_of_finding(finding: AuditFinding) -> str:
    """Where the bad row is shown; empty: nowhere, or it is gone."""
    page = FINDING_PAGES.get(finding.what)
    return reverse(f"admin:{page}_change", args=[finding.row]) if page and finding.row is not None else ""
