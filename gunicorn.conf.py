"""What `gunicorn integration_site.wsgi` starts with; options on the command line and GUNICORN_CMD_ARGS go before it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gunicorn.workers import gthread

sys.path.insert(0, str(Path(__file__).parent))
from integration_site.arrivals import Worker

gthread.ThreadWorker = Worker  # where -k gthread is said, too
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8
worker_connections = 2000  # fewer where open files are limited to fewer
keepalive = 75
graceful_timeout = 8


def on_starting(server: Any) -> None:
    """What is not configured is told once, before workers are started that all fail. In a process of its own: settings
    that this one had read would outlive a reload."""
    command = [sys.executable, Path(__file__).parent / "manage.py", "version"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:  # noqa: S603  our own
        sys.exit(3)
