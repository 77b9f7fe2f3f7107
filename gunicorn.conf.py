"""What `gunicorn integration_site.wsgi` starts with; options on the command line and GUNICORN_CMD_ARGS go before it."""

import os
import sys
from pathlib import Path

from gunicorn.workers import gthread

sys.path.insert(0, str(Path(__file__).parent))
from integration_site.arrivals import Worker

gthread.ThreadWorker = Worker  # where -k gthread is said, too
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 8
worker_connections = 2000
keepalive = 75
graceful_timeout = 8
