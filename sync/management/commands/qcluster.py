"""`manage.py qcluster`: django-q2's own command, whose cluster is watched and started anew when it stalls."""

import os
from typing import Any

from django.core.management.base import CommandError
from django_q.management.commands.qcluster import Command as DjangoQCommand

from sync.queue.cluster import Supervisor, why_no_locks

EXAMPLE = "example:\n  QUEUE_WORKERS=4 python manage.py qcluster"


class Command(DjangoQCommand):
    help = "Run the workers until SIGTERM or Ctrl-C. What is killed or stalls is started anew."

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.epilog = EXAMPLE

    def handle(self, *args: Any, **options: Any) -> None:
        if words := why_no_locks():
            raise CommandError(words)
        if options["run_once"]:
            super().handle(*args, **options)
            return
        if options["cluster_name"]:
            os.environ["Q_CLUSTER_NAME"] = options["cluster_name"]
        Supervisor().run()
