"""What pages say where attempts are past ROWS_RETENTION_DAYS."""

from datetime import timedelta

from django.conf import settings

from webhooks import clock
from webhooks.models import State, WebhookEvent


def attempts_removed() -> str:
    """The sentence about it."""
    return (
        f"Attempts and their calls are removed after {settings.ROWS_RETENTION_DAYS} days (ROWS_RETENTION_DAYS); what "
        "became of the event, and every transition, stays."
    )


def is_past(event: WebhookEvent) -> bool:
    """Its attempts are removed already, or will be by the next prune."""
    if not settings.ROWS_RETENTION_DAYS or event.state != State.DONE or event.finished_at is None:
        return False
    return event.finished_at < clock.now() - timedelta(days=settings.ROWS_RETENTION_DAYS)
