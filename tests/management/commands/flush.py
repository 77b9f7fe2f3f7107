"""Emptying the test's own database: what is append-only gives way for it, and for nothing else."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from orders.append_only import GUARDS


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        with connection.cursor() as cursor:
            for guard in GUARDS:
                for statement in guard.disarm(connection.vendor):
                    cursor.execute(statement)
            super().handle(**options)
            for guard in GUARDS:
                for statement in guard.arm(connection.vendor):
                    cursor.execute(statement)
