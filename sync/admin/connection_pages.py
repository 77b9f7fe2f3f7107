"""What the pages of connections and bridges share: who may open them, and how a form is shown."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from unfold.admin import ModelAdmin

from sync.clients.causes import plain
from sync.clients.errors import SideError
from webhooks.backoffice.pages import list_of, page, page_of
from webhooks.credentials import WrongKey
from webhooks.masking import masked_text

CREDENTIALS = "webhooks.edit_credentials"
"""Who may enter keys: for adding a connection, and for changing one."""
BRIDGES = "webhooks.set_up_bridge"

View = Callable[..., HttpResponse]


def guarded(permission: str) -> Callable[[View], View]:
    """A page below the list, for people who have this permission and may see the list. What goes wrong is told."""

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if not (owner.has_view_permission(request) and request.user.has_perm(permission)):
                raise PermissionDenied
            pk = kwargs.pop("pk", None) or kwargs.pop("object_id", None)
            if pk is not None:
                kwargs["row"] = get_object_or_404(owner.model, pk=pk)
            kwargs = {name: value for name, value in kwargs.items() if name not in ("extra_context", "model_admin")}
            try:
                return view(owner, request, **kwargs)
            except WrongKey as error:
                messages.error(request, f"{error} {error.advice}")
            except SideError as error:
                messages.error(request, told(error))
            return HttpResponseRedirect(page_of(kwargs["row"]) if "row" in kwargs else list_of(owner))

        return guarded_view

    return wrap


def form_page(
    owner: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    form: forms.BaseForm,
    button: str,
    template: str = "sync/form.html",
    back: str = "",
    **context: Any,
) -> HttpResponse:
    return page(owner, request, template, title, form=form, button=button, back=back or list_of(owner), **context)


def told(error: SideError) -> str:
    """What a side said, for whoever has just typed its address and keys."""
    return masked_text(plain(str(error)))
