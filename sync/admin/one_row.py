"""The addresses under the page of one event or one order: who may open them, and the way back."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from webhooks.models import WebhookEvent

View = Callable[[Any, HttpRequest, Any], HttpResponse]


def for_row(permission: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """A page of one row, for people who may see such rows and have this permission, too."""

    def wrap(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        def page(self: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
            if not (self.has_view_permission(request) and request.user.has_perm(permission)):
                raise PermissionDenied
            return view(self, request, get_object_or_404(self.get_queryset(request), pk=pk))

        return page

    return wrap


def page_of(event: WebhookEvent) -> str:
    return reverse("admin:webhooks_webhookevent_change", args=[event.pk])
