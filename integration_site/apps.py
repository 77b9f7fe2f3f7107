"""The site is an app for its commands, its static files, and what it hears of sign-ins."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "integration_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from integration_site import accounts, checks  # noqa: F401  registers receivers and system checks
