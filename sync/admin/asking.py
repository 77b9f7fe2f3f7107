"""No deed without a reason: a GET asks for it, the POST does it."""

from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextInputWidget


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Kept in the audit")


class NotDone(Exception):
    """The deed could not be done; the message says why, and what to do."""


def ask_reason(
    request: HttpRequest,
    site: AdminSite,
    *,
    title: str,
    words: str,
    button: str,
    back: str,
    deed: Callable[[Any], str],
    form_class: type[forms.Form] = ReasonForm,
    **context: Any,
) -> HttpResponse:
    """The page that asks, or the deed. `deed` gets the valid form's data and tells in words what came of it.

    What else was posted, such as the rows selected for an action of a list, comes back with the reason.
    """
    form = form_class(request.POST if "confirmed" in request.POST else None)
    if form.is_valid():
        try:
            messages.success(request, deed(form.cleaned_data))
        except NotDone as error:
            messages.error(request, str(error))
        return HttpResponseRedirect(back)
    page = {**site.each_context(request), "title": title, "words": words, "button": button, "back": back, "form": form}
    return TemplateResponse(request, "sync/ask.html", {**page, "posted": list(_posted(request, form)), **context})


def _posted(request: HttpRequest, form: forms.Form) -> Iterator[tuple[str, str]]:
    for name, values in request.POST.lists():
        if name not in {*form.fields, "csrfmiddlewaretoken", "confirmed"}:
            yield from ((name, value) for value in values)
