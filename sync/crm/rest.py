"""Moved to `sync.clients.crm.rest`. Backends of your own that import it here keep working until 0.4."""

from sync.clients.crm.rest import *  # noqa: F403
