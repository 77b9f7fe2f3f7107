"""Deliveries go straight to their view: sessions, logins and messages are for people, and cost more than the INSERT."""

import functools
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve

Answer = Callable[[HttpRequest], HttpResponse]

PREFIX = "/webhooks/"


def deliveries_first(get_response: Answer) -> Answer:
    """The first of all middleware: what stands behind it never sees a delivery, and can not redirect one (FACTS A6)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return _deliver(request) if request.path_info.startswith(PREFIX) else get_response(request)

    return middleware


def _deliver(request: HttpRequest) -> HttpResponse:
    request.resolver_match = match = _view_of(request.path_info)
    answer: HttpResponse = match.func(request, *match.args, **match.kwargs)
    if isinstance(answer, SimpleTemplateResponse):
        answer.render()  # DRF's own answers, as to a GET
    answer["Content-Length"] = str(len(answer.content))
    return answer


@functools.lru_cache(maxsize=16)
def _view_of(path: str) -> ResolverMatch:
    """What leads nowhere raises and is not remembered."""
    return resolve(path)
