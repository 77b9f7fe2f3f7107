"""Moved to `sync.clients.paging`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.paging import *  # noqa: F403
