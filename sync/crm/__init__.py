"""Moved to `sync.clients.crm`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.crm import *  # noqa: F403
