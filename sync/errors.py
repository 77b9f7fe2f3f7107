"""Moved to `sync.clients.errors`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.errors import *  # noqa: F403
