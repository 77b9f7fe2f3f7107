"""What a side said in errors that were kept before this version is marked, as it is from now on where it comes in."""

import re
from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from webhooks.masking import quoted

KEPT = (
    ("sync", "Attempt", "error"),
    ("sync", "Call", "error"),
    ("sync", "SideState", "last_error"),
    ("sync", "Alarm", "words"),
    ("sync", "Run", "error"),
    ("webhooks", "WebhookEvent", "reason"),
)
OF_A_SIDE = re.compile(r"( on the (?:shop|crm): \d{3}(?:: not found)?: )([^«]+)\Z", re.DOTALL)
PAGE = 500


def marked(text: str) -> str:
    return OF_A_SIDE.sub(lambda found: found[1] + quoted(found[2]), text)


def mark(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Page by page, each in its own short transaction: there may be many."""
    for app, name, column in KEPT:
        rows = apps.get_model(app, name)._default_manager.using(schema_editor.connection.alias)
        quoting = rows.filter(**{f"{column}__contains": " on the "}).order_by("pk").only("pk", column)
        page = list(quoting[:PAGE])
        while page:
            for row in page:
                setattr(row, column, marked(getattr(row, column)))
            rows.bulk_update(page, [column])
            page = list(quoting.filter(pk__gt=page[-1].pk)[:PAGE])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("sync", "0015_drift_of_content"), ("webhooks", "0008_keyed_customers")]
    operations = [migrations.RunPython(mark, migrations.RunPython.noop, elidable=True)]
