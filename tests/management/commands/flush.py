"""What Django calls after a test that commits."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from tests import fresh


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        fresh.restore(connections[options["database"]])
