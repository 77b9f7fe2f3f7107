"""The back office of the conductor, page by page; registered here are also the pages that show what sync knows."""

from django.apps import apps
from django.contrib import admin
from django_q import admin as django_q_pages  # noqa: F401  registered now, so that they can be unregistered below

from sync.admin import (  # noqa: F401  each of them registers its pages
    alarms,
    attempts,
    audit,
    bridges,
    choices,
    connections,
    events,
    figures,
    findings,
    health,
    lifecycle,
    orders,
    people,
    recipients,
    runs,
    todo,
)

admin.site.index_title = "Home"

# django-q's own pages delete the failures that they resubmit; our attempts are the history.
for model in apps.get_app_config("django_q").get_models():
    if admin.site.is_registered(model):
        admin.site.unregister(model)
