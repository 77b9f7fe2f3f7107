"""Deliveries go straight to their view: sessions, logins and messages are for people, and cost more than the INSERT.

So does `/healthz`: whoever asks whether the process lives may call it by an address that is not in ALLOWED_HOSTS.
"""

import functools
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve

Answer = Callable[[HttpRequest], HttpResponse]

PREFIX = "/webhooks/"
ALIVE = "/healthz"
READY = "/readyz"


def deliveries_first(get_response: Answer) -> Answer:
    """The first of all middleware: what stands behind it never sees a delivery, and can not redirect one (FACTS A6)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path.startswith(PREFIX) or path == ALIVE:
            return _straight(request)
        answer = get_response(request)
        if path == READY:
            # For people only, as the redirects are: no machine is told to come by https (CONTRACT 1).
            answer.headers.pop("Strict-Transport-Security", None)
        return answer

    return middleware


def _straight(request: HttpRequest) -> HttpResponse:
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
