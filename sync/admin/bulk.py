"""Replay of many events: first a page that says what it would be, then a run in the workers."""

from collections import Counter
from copy import copy
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from orders import audit
from orders.asking import ReasonForm
from sync.admin.runs import begin
from sync.jobs import bulk_replay, run_report
from sync.jobs.selection import Selection, Size, measure
from sync.pipeline.dry_run import DryRunResult
from webhooks.backoffice.pages import page, page_of
from webhooks.masking import masked_text
from webhooks.models import WebhookEvent

PERMISSION = "webhooks.bulk_replay_webhookevent"
SAMPLED = 10
SAMPLE_SECONDS = 8.0
KINDS_SHOWN = 12
FASTEST = 60_000
LOOK = ("p", "o", "all", "e")
"""What an address of the list says of its look, and not of which events it shows."""
SPEEDS = (600, 120)
"""A minute: for these the page says how long it would take, beside the full speed."""
CLASSES = {
    "nothing": ("", "Nothing would change"),
    "forward": ("success", "Something would be written"),
    "backward": ("danger", "The lifecycle would not allow it"),
    "waits": ("warning", "The result is not known yet"),
    "person": ("warning", "Would need a person"),
    "failed": ("danger", "Would fail"),
    "unknown": ("", "Not known in time"),
}


class BulkForm(ReasonForm):
    per_minute = forms.IntegerField(
        min_value=1,
        max_value=FASTEST,
        required=False,
        initial=SPEEDS[0],
        label="Speed limit, events per minute",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Empty: as fast as both sides answer. New deliveries always go first.",
    )
    field_order = ("per_minute", "reason")


class NoSuchFilter(Exception):
    """The list does not know this filter."""

    def __init__(self) -> None:
        super().__init__(
            "This filter is not one of the list. Filter the list of events anew, then choose Replay again."
        )


class Notes:
    """Takes what the list would tell the person who looks at it, to be told on a page of ours."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, level: int, message: str, extra_tags: str = "") -> None:
        self.said.append(message)


def to_plan(request: HttpRequest) -> HttpResponse:
    """From the action of the list to the page that says what a replay would be."""
    if request.POST.get("select_across") == "1":
        address = _without_look(request.GET)
    else:
        address = Selection.of_ticked(",".join(request.POST.getlist("_selected_action"))).as_address()
    return HttpResponseRedirect(f"{reverse('admin:webhooks_webhookevent_bulk')}?{address}")


def _without_look(query: QueryDict) -> str:
    return urlencode([(name, one) for name, values in query.lists() for one in values if one and name not in LOOK])


def plan_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """A GET says how many, of which kind and how long; the POST, with a reason, starts the run."""
    _check(owner, request)
    back = reverse("admin:webhooks_webhookevent_changelist")
    try:
        chosen = _selection(owner, request)
    except NoSuchFilter as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(back)
    size = measure(chosen, SAMPLED)
    if not size.number:
        why = " ".join(chosen.notes)
        messages.warning(request, f"No event matches ({chosen.words()}), so there is nothing to replay. {why}")
        return HttpResponseRedirect(back)
    form = BulkForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            run = _begin(request, chosen, **form.cleaned_data)
        except bulk_replay.Running as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{run} was handed to the workers.")
            return HttpResponseRedirect(page_of(run))
    context = {
        "chosen": chosen,
        "size": size,
        "kinds": size.kinds[:KINDS_SHOWN],
        "other_kinds": sum(kind.number for kind in size.kinds[KINDS_SHOWN:]),
        "times": _times(size),
        "sample": f"{reverse('admin:webhooks_webhookevent_bulk_sample')}?{chosen.as_address()}",
        "list": f"{back}?{chosen.query}",
        "back": back,
        "form": form,
    }
    title = f"Replay {'about ' if not size.is_exact else ''}{size.number:,} event{'s' if size.number > 1 else ''}"
    return page(owner, request, "sync/bulk/plan.html", title, **context)


def sample_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """A part of the plan, asked for by a POST with a reason, as both sides are read for it: dry runs of a few of the
    events."""
    _check(owner, request)
    if request.method != "POST":
        return HttpResponseRedirect(f"{reverse('admin:webhooks_webhookevent_bulk')}?{_without_look(request.GET)}")
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return TemplateResponse(request, "sync/bulk/sample.html", {"error": "Enter a reason first."})
    try:
        spread = measure(_selection(owner, request), SAMPLED).spread
    except NoSuchFilter as error:
        return TemplateResponse(request, "sync/bulk/sample.html", {"error": str(error)})
    seen = bulk_replay.sample(spread, within=SAMPLE_SECONDS)
    kinds = Counter(tried.kind if tried else "unknown" for _, tried in seen)
    audit.record(
        "dry run of many",
        actor=request.user.get_username(),
        reason=form.cleaned_data["reason"],
        result=", ".join(f"{number} {kind}" for kind, number in kinds.items()),
        events=[event.pk for event, _ in seen],
    )
    context = {
        "classes": [(*CLASSES[kind], number) for kind, number in kinds.most_common()],
        "samples": [_told(event, tried) for event, tried in seen],
        "number": len(seen),
    }
    return TemplateResponse(request, "sync/bulk/sample.html", context)


def _check(owner: ModelAdmin, request: HttpRequest) -> None:
    if not (owner.has_view_permission(request) and request.user.has_perm(PERMISSION)):
        raise PermissionDenied


def _selection(owner: ModelAdmin, request: HttpRequest) -> Selection:
    """By the list itself, so that what is replayed is what was shown. Raises NoSuchFilter."""
    if "ticked" in request.GET:
        return Selection.of_ticked(request.GET["ticked"])
    query, notes, asked = _without_look(request.GET), Notes(), copy(request)
    asked.GET = QueryDict(query)
    asked._messages = notes  # type: ignore[attr-defined]
    try:
        shown = owner.get_changelist_instance(asked).queryset
    except (IncorrectLookupParameters, DisallowedModelAdminLookup) as error:
        raise NoSuchFilter from error
    return Selection(events=shown, query=query, notes=tuple(dict.fromkeys(notes.said)))


def _begin(request: HttpRequest, chosen: Selection, *, reason: str, per_minute: int | None) -> Any:
    start = partial(bulk_replay.start, chosen, per_minute=per_minute)
    return begin(start, by=request.user.get_username(), reason=reason)


def _times(size: Size) -> list[tuple[str, str]]:
    """How long it would take, at full speed and slower."""
    full = bulk_replay.estimate(size.number)
    if full is None:
        return []
    slower = [(f"At {speed:,} a minute", bulk_replay.estimate(size.number, speed) or full) for speed in SPEEDS]
    return [(label, run_report.in_words(span)) for label, span in [("At full speed", full), *slower]]


def _told(event: WebhookEvent, tried: DryRunResult | None) -> tuple[WebhookEvent, str, str, str]:
    """The event with the colour, the class and the words of its dry run."""
    colour, name = CLASSES[tried.kind if tried else "unknown"]
    words = tried.words if tried else ""
    if tried and tried.changes:
        words += f" It would change: {', '.join(f'{one.side} {one.name}' for one in tried.changes)}."
    return event, colour, name, masked_text(words)
