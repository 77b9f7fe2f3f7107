"""Deliveries go straight to their view: sessions, logins and messages are for people, and cost more than the INSERT.

So do `/healthz` and `/readyz`: a probe may call the process by an address that is not in ALLOWED_HOSTS, and no machine
is told to come by https (CONTRACT 1).
"""

import functools
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import SimpleTemplateResponse
from django.urls import Resolver404, ResolverMatch, resolve

Answer = Callable[[HttpRequest], HttpResponse]

PREFIX = "/webhooks/"
PROBES = ("/healthz", "/readyz")


def deliveries_first(get_response: Answer) -> Answer:
    """The first of all middleware: what stands behind it never sees a delivery, and cannot redirect one (FACTS A6)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.startswith(PREFIX) and path not in PROBES:
            return get_response(request)
        try:
            match = _view_of(path)
        except Resolver404:  # Django's page that says so is for people
            return JsonResponse({"error": "not_found"}, status=404)
        return _straight(request, match)

    return middleware


def _straight(request: HttpRequest, match: ResolverMatch) -> HttpResponse:
    request.resolver_match = match
    answer: HttpResponse = match.func(request, *match.args, **match.kwargs)
    if isinstance(answer, SimpleTemplateResponse):
        answer.render()  # DRF's own answers, as to a GET
    answer["Content-Length"] = str(len(answer.content))
    return answer


@functools.lru_cache(maxsize=256)
def _view_of(path: str) -> ResolverMatch:
    """What leads nowhere raises and is not remembered."""
    return resolve(path)
