"""Moved to `sync.clients.crm.base`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.crm.base import *  # noqa: F403
