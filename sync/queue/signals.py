"""A worker that has just started looks for work: what its dead predecessor left is found at once."""

import logging
from typing import Any

from django.db import Error
from django.dispatch import receiver
from django_q.signals import post_spawn

from webhooks.wake import wake

log = logging.getLogger("orderbridge.worker")


@receiver(post_spawn)
def look_for_work(sender: Any, **kwargs: Any) -> None:
    try:
        wake(force=True)
    except Error:
        log.exception("could not look for work; the sweep will")
