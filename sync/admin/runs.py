"""Long runs: started, watched, stopped and read by staff who never see a terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import Truncator
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display

from orders import audit
from orders.asking import NotDone, ask_reason
from sync import registry
from sync.admin import month_end
from sync.admin.connection_pages import form_page
from sync.jobs import engine, run_report
from sync.models import Run
from webhooks.backoffice.bridges import ByBridge, chosen_bridge
from webhooks.backoffice.display import ago, time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of, page_of
from webhooks.masking import masked_row

COLOURS = {
    Run.State.RUNNING: "info",
    Run.State.PAUSED: "warning",
    Run.State.DONE: "success",
    Run.State.FAILED: "danger",
    Run.State.CANCELLED: None,
}


@dataclass(frozen=True, kw_only=True)
class RunAction:
    """What may be done with a run that is there."""

    label: str
    words: str
    act: Callable[[Run], bool]
    done: str
    states: tuple[str, ...] = field(default=(Run.State.RUNNING,))
    "In which it may be pressed."


RUN_ACTIONS: Mapping[str, RunAction] = {
    "pause": RunAction(
        label="Pause",
        words="The run stops after its current step. When resumed, it continues from there.",
        act=engine.pause,
        done="Paused.",
    ),
    "resume": RunAction(
        label="Resume",
        words="A worker continues where the run stopped.",
        act=engine.resume,
        done="Handed to the workers.",
        states=(Run.State.PAUSED, Run.State.FAILED),
    ),
    "cancel": RunAction(
        label="Cancel",
        words="The run stops for good after its current step. Finished work stays.",
        act=engine.cancel,
        done="Cancelled.",
        states=(Run.State.RUNNING, Run.State.PAUSED, Run.State.FAILED),
    ),
}


@admin.register(Run)
class RunAdmin(ByBridge, ReadOnlyAdmin):
    list_display = ("id", "kind", "state_badge", "progress", "who", "started", "speed", "left", "result")
    list_display_links = ("id", "kind")
    list_filter = (("kind", ChoicesDropdownFilter), ("state", ChoicesDropdownFilter))
    change_form_outer_before_template = "sync/run/page.html"
    has_start_permission = may("sync.start_run")

    def get_fieldsets(self, request: HttpRequest, obj: Run | None = None) -> list[Any]:
        """None: the page's own template shows all of it."""
        return []

    # --- the list --------------------------------------------------------------------------------------------------

    @display(description="State", label=COLOURS)
    def state_badge(self, run: Run) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @admin.display(description="Progress")
    def progress(self, run: Run) -> str:
        return render_to_string("sync/run/bar.html", how_far(run))

    @admin.display(description="Who", ordering="actor")
    def who(self, run: Run) -> str:
        return run.actor or "the schedule"

    started = time_column("started_at", "Started", ordering="id")

    @admin.display(description="Speed")
    def speed(self, run: Run) -> str:
        return how_far(run)["speed"] or "–"

    @admin.display(description="Time left")
    def left(self, run: Run) -> str:
        return how_far(run)["left"] or "–"

    @admin.display(description="Result")
    def result(self, run: Run) -> str:
        words = run.error if run.state == Run.State.FAILED else run_report.in_short(run)
        return Truncator(words).chars(100)

    # --- one run ---------------------------------------------------------------------------------------------------

    def page_context(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        may = self.has_start_permission(request)
        return {
            "run": run,
            "running": run.state == Run.State.RUNNING,
            "colour": COLOURS[Run.State(run.state)],
            "started": ago(run.started_at),
            "finished": ago(run.finished_at),
            "standing": run_report.standing(run),
            "counts": run_report.counts(run),
            "options": run_report.options(run),
            "found": run_report.found(run),
            "left_out": run_report.left_out(run),
            "failures": list(run_report.failures(run)),
            "month_end": month_end.link_to(run),
            "still_tried": list(run_report.still_tried(run)),
            "run_actions": [(name, one.label) for name, one in RUN_ACTIONS.items() if may and run.state in one.states],
            **how_far(run),
        }

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (
            ("start/<slug:kind>/", "sync_run_start", self.start_view),
            ("<int:pk>/progress/", "sync_run_progress", self.progress_view),
            ("<int:pk>/do/<slug:name>/", "sync_run_do", self.do_view),
            ("<int:pk>/month-end/", "sync_run_month_end", partial(month_end.report_view, self)),
            ("<int:pk>/month-end.csv/", "sync_run_month_end_csv", partial(month_end.csv_view, self)),
        )

    def progress_view(self, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
        """The part of the page that changes while it runs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = masked_row(get_object_or_404(Run, pk=pk))
        return TemplateResponse(request, "sync/run/progress.html", self.page_context(request, run))

    def do_view(self, request: HttpRequest, pk: int, name: str, **kwargs: Any) -> HttpResponse:
        if not self.has_start_permission(request):
            raise PermissionDenied
        run = get_object_or_404(Run, pk=pk)
        chosen = RUN_ACTIONS.get(name)
        if chosen is None:
            return HttpResponseRedirect(page_of(run))

        def perform(said: dict[str, Any]) -> str:
            try:
                done = chosen.act(run)
            except engine.AlreadyRunning as error:
                raise NotDone(str(error)) from error
            if not done:
                run.refresh_from_db()
                raise NotDone(f"{run} is {run.get_state_display().lower()} already, so there was nothing to do.")
            audit.record(f"run: {name}", actor=said["by"], reason=said["reason"], result=chosen.done, run=run.pk)
            return chosen.done

        return ask_reason(self, request, run, button=chosen.label, words=chosen.words, perform=perform)

    # --- starting --------------------------------------------------------------------------------------------------

    @property
    def actions_list(self) -> list[dict[str, Any]]:
        buttons = [f"start_{kind}" for kind in registry.startable()]
        return [{"title": "Start…", "icon": "play_arrow", "items": buttons}]

    def get_actions_list(self, request: HttpRequest) -> list[UnfoldAction]:
        return [self.get_unfold_action(f"start_{one}") for one in registry.startable() if self._may_start(request, one)]

    def get_unfold_action(self, name: str) -> UnfoldAction:
        """The button of a kind leads to the page that asks for its options."""
        job, starter = registry.startable()[name.removeprefix("start_")]

        @action
        def to_start(self: RunAdmin, request: HttpRequest) -> HttpResponse:
            if not self._may_start(request, job.kind):
                raise PermissionDenied
            return HttpResponseRedirect(reverse("admin:sync_run_start", args=[job.kind]))

        return UnfoldAction(
            action_name=f"sync_run_{name}",
            method=MethodType(to_start, self),
            description=job.label,
            path=job.kind,
            icon=starter.icon,
        )

    def _may_start(self, request: HttpRequest, kind: str) -> bool:
        _, starter = registry.startable()[kind]
        return request.user.has_perm(starter.permission) and self.has_view_permission(request)

    def start_view(self, request: HttpRequest, kind: str, **kwargs: Any) -> HttpResponse:
        """A GET asks; the POST starts it and hands it to the workers, as a request has no time for it."""
        if kind not in registry.startable():
            return HttpResponseRedirect(list_of(self))
        job, starter = registry.startable()[kind]
        if not self._may_start(request, kind):
            raise PermissionDenied
        of = {"bridge": chosen_bridge(request).slug} if "bridge" in request.GET else {}
        form = starter.form(request.POST if request.method == "POST" else None, initial=of)
        if form.is_valid():
            try:
                by, reason = request.user.get_username(), form.cleaned_data["reason"]
                run = begin(starter.start, by=by, reason=reason, **form.chosen())
            except engine.NotStarted as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, f"{run} was handed to the workers.")
                return HttpResponseRedirect(page_of(run))
        return form_page(self, request, title=f"Start: {job.label}", words=starter.words, form=form, button="Start")


def begin(start: Callable[..., Run], *, by: str, reason: str, **options: Any) -> Run:
    """Start it, record who did and why, and leave the work to the workers. Raises engine.NotStarted."""
    run = start(actor=by, reason=reason, **options)
    engine.hand_over(run)
    audit.record(f"run: start {run.kind}", actor=by, reason=reason, run=run.pk, options=run.options)
    return run


def how_far(run: Run) -> dict[str, Any]:
    """For the bar: how much of how many, how fast, how long still."""
    rate, left = run_report.per_minute(run), run_report.time_left(run)
    return {
        "seen": run_report.seen(run),
        "total": run.total,
        "percent": run_report.percent(run),
        "speed": f"{rate:,.0f} a minute" if rate is not None else "",
        "left": run_report.in_words(left) if left is not None else "",
    }
