"""Moved to `sync.clients.snapshots`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.snapshots import *  # noqa: F403
