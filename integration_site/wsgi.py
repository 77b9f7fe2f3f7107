"""The WSGI entry: `gunicorn integration_site.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "integration_site.settings")
application = get_wsgi_application()
