"""The app that conducts."""

from importlib import import_module
from pkgutil import iter_modules

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SyncConfig(AppConfig):
    name = "sync"
    verbose_name = "Synchronisation"

    def ready(self) -> None:
        from sync import checks, jobs, roles  # noqa: F401  registers the system checks

        for module in iter_modules(jobs.__path__):
            import_module(f"sync.jobs.{module.name}")  # registers its job

        post_migrate.connect(roles.make_groups, sender=self)
