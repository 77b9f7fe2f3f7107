"""The app that receives."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = "Inbox"

    def ready(self) -> None:
        from webhooks import checks  # noqa: F401  registers the system checks
