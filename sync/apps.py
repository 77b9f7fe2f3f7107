"""The app that conducts."""

from importlib import import_module
from pkgutil import iter_modules

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save

RECIPIENT_FIELDS = (
    *("name", "address", "enabled", "min_severity", "time_zone"),
    *("quiet_from", "quiet_until", "quiet_but_critical", "daily_at"),
)
"""What of a recipient counts in the audit."""


class SyncConfig(AppConfig):
    name = "sync"
    verbose_name = "Synchronisation"

    def ready(self) -> None:
        from orders.edits import also_watch
        from sync import checks, jobs, roles  # noqa: F401  registers the system checks
        from sync.clients.crm import defaults, register_hooks
        from sync.models import SideState
        from sync.notification_models import Recipient
        from webhooks.connections import Connection

        for module in iter_modules(jobs.__path__):
            import_module(f"sync.jobs.{module.name}")  # registers its job

        register_hooks()
        post_save.connect(SideState.follow, sender=Connection)
        also_watch(Recipient, "recipient", RECIPIENT_FIELDS)
        post_migrate.connect(roles.make_groups, sender=self)
        post_migrate.connect(defaults.after_migrate, sender=self)
