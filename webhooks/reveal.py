"""Who sees personal data: those with the permission, of one event, for a quarter of an hour after they asked."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from webhooks.masking import HIDDEN_QUOTE, OF_A_SIDE_IN_HTML

SECONDS = 15 * 60
KEY = "revealed"


def may_reveal(request: HttpRequest) -> bool:
    return request.user.has_perm("webhooks.reveal_webhookevent")


def reveal(request: HttpRequest, event: int) -> None:
    """From now on, in this session. Whoever calls this records it."""
    now = time.time()
    others = {pk: until for pk, until in request.session.get(KEY, {}).items() if until > now}
    request.session[KEY] = {**others, str(event): now + SECONDS}


def is_revealed(request: HttpRequest, event: int) -> bool:
    """The permission is asked for again: it may have been taken away since."""
    until: float = request.session.get(KEY, {}).get(str(event), 0)
    revealed = until > time.time() and may_reveal(request)
    request.shows_what_sides_said = revealed  # type: ignore[attr-defined]
    return revealed


def hide_what_sides_said(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware, and the last of several nets: whichever page forgot the filter, the words of a side are on none."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        revealed = getattr(request, "shows_what_sides_said", False)
        if not response.streaming and not revealed and "html" in response.get("Content-Type", ""):
            text = response.content.decode(response.charset, "replace")
            if "«" in text:
                response.content = OF_A_SIDE_IN_HTML.sub(HIDDEN_QUOTE, text)
        return response

    return answer
