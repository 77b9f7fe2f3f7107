"""No action without a reason: a GET asks for it, the POST does it."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from webhooks.backoffice.pages import page, page_of
from webhooks.masking import masked_row, masked_text


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Stored in the audit")

    def clean_reason(self) -> str:
        """It goes into rows that nobody can change again, and into the log: an address or a phone is masked before."""
        return masked_text(self.cleaned_data["reason"])


class UntilForm(ReasonForm):
    """For what comes back on a day."""

    until = forms.DateField(
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}), help_text="Shown again from this day on"
    )

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        if until <= timezone.now().date():
            raise forms.ValidationError("Choose a day in the future.")
        return until


class NotDone(Exception):
    """The action could not be done; the message says why, and what to do."""


def ask_reason(
    owner: ModelAdmin,
    request: HttpRequest,
    row: Model | None = None,
    *,
    button: str,
    words: str,
    perform: Callable[[Any], str | HttpResponse],
    title: str = "",
    back: str = "",
    form_class: Callable[..., forms.Form] = ReasonForm,
    template: str = "sync/form.html",
    **context: Any,
) -> HttpResponse:
    """The page that asks, or the action. `perform` gets the valid form's data, with `by` whom it was sent, and tells in
    words what came of it, or answers with a page of its own. Title and way back are those of the row, unless others
    are given.

    What else was posted, such as the rows selected for an action of a list, comes back with the reason.
    """
    back = back or (page_of(row) if row else "")
    form = form_class(request.POST if _answers(request) else None)
    if form.is_valid():
        try:
            done = perform({**form.cleaned_data, "by": request.user.get_username()})
            if not isinstance(done, str):
                return done
            messages.success(request, done)
        except NotDone as error:
            messages.error(request, masked_text(str(error)))
        return HttpResponseRedirect(back)
    context |= {"words": masked_text(words), "button": button, "back": back, "form": form}
    context |= {"hidden": [("confirmed", "yes"), *_posted(request, form)], "original": masked_row(row) if row else None}
    return page(owner, request, template, masked_text(title or f"{button}: {row}"), **context)


def _answers(request: HttpRequest) -> bool:
    """Whether this POST answers our page. The first POST of a list's action only names the rows."""
    return request.method == "POST" and ("confirmed" in request.POST or "action" not in request.POST)


def _posted(request: HttpRequest, form: forms.Form) -> Iterator[tuple[str, str]]:
    for name, values in request.POST.lists():
        if name not in {*form.fields, "csrfmiddlewaretoken", "confirmed"}:
            yield from ((name, value) for value in values)
