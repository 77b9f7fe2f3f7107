"""What a container engine asks of one container, again and again: does its process do its work?"""

import urllib.request
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from integration_site.health import heartbeat_trouble
from webhooks import clock


class Command(BaseCommand):
    help = "Exit code 0: it works. Otherwise 1, and a line that says why. The image and compose.yaml ask it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py healthcheck worker"
        parser.add_argument("part", choices=("web", "worker"), help="web answers; a worker has reported lately")
        parser.add_argument("--port", type=int, default=8000, help="where the web process listens, on this machine")

    def handle(self, *args: Any, part: str, port: int, **options: Any) -> None:
        if words := web_trouble(port) if part == "web" else worker_trouble():
            raise CommandError(words)


def web_trouble(port: int) -> str:
    address = f"http://127.0.0.1:{port}/healthz"
    try:
        with urllib.request.urlopen(address, timeout=5):
            return ""
    except OSError as error:
        return f"{address} does not answer: {error}"


def worker_trouble() -> str:
    """By the heartbeats in the database: they are tasks, so a worker that lives and takes none sends none. With several
    workers any may take them; a stalled cluster is started anew by its own supervisor."""
    try:
        return heartbeat_trouble(clock.now())
    except Error as error:
        return f"the database cannot be asked ({type(error).__name__}): check DATABASE_URL and that it runs"
