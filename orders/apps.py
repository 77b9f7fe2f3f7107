"""The app that decides what is legal."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"
    verbose_name = "Orders"

    def ready(self) -> None:
        from orders import edits  # noqa: F401  registers the signals that put edits into the audit
