"""Moved to `sync.clients.http`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.http import *  # noqa: F403
