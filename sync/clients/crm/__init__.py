"""The CRM named in the settings, as a cache backend is: a built-in word, or a dotted path to a class."""

from collections.abc import Callable

from django.conf import settings
from django.utils.module_loading import import_string

from sync.clients import installation
from sync.clients.crm.base import Crm
from sync.clients.errors import NotConfigured
from sync.clients.http import CallRecord, ignore, nothing

BACKENDS = {"rest": "sync.clients.crm.rest.RestCrm"}


def connect(on_call: Callable[[CallRecord], None] = ignore, before_call: Callable[[], None] = nothing) -> Crm:
    """A backend ready for use. Raises NotConfigured when a setting is missing."""
    installation.ensure_ours("crm")
    try:
        backend = import_string(BACKENDS.get(settings.CRM_BACKEND, settings.CRM_BACKEND))
    except ImportError as error:
        words = f"CRM_BACKEND is {settings.CRM_BACKEND!r}: use 'rest' or the dotted path of a class ({error})."
        raise NotConfigured(words, side="crm") from error
    crm: Crm = backend.from_settings(on_call, before_call)
    return crm
