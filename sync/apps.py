"""The app that conducts."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SyncConfig(AppConfig):
    name = "sync"
    verbose_name = "Synchronisation"

    def ready(self) -> None:
        from sync import checks, roles  # noqa: F401  registers the system checks
        from sync.queue import signals  # noqa: F401  registers the queue's signals

        post_migrate.connect(roles.make_groups, sender=self)
