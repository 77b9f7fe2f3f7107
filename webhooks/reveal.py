"""Who sees personal data: those with the permission, of one event, for a quarter of an hour after they asked."""

import time

from django.http import HttpRequest

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
    return until > time.time() and may_reveal(request)
