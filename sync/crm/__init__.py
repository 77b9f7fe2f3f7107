"""The CRM named in the settings, as a cache backend is: a built-in word, or a dotted path to a class."""

from collections.abc import Callable

from django.conf import settings
from django.utils.module_loading import import_string

from sync.crm.base import Crm
from sync.http import CallRecord, _ignore, _nothing

BACKENDS = {"rest": "sync.crm.rest.RestCrm"}


def connect(on_call: Callable[[CallRecord], None] = _ignore, before_call: Callable[[], None] = _nothing) -> Crm:
    """A backend ready for use. Raises NotConfigured when a setting is missing."""
    backend = import_string(BACKENDS.get(settings.CRM_BACKEND, settings.CRM_BACKEND))
    crm: Crm = backend.from_settings(on_call, before_call)
    return crm
