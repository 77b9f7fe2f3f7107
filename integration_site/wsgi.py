"""The WSGI entry: `gunicorn integration_site.wsgi`."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "integration_site.settings")


class Request(WSGIRequest):
    """Text is UTF-8, whatever a Content-Type says.

    Django takes its charset over before any handler of errors is there: an unknown or an odd one became a 500.
    """

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {}


class Handler(WSGIHandler):
    request_class = Request


try:
    django.setup(set_prefix=False)
except ImproperlyConfigured as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(3)  # gunicorn: not to be started again
application = Handler()
