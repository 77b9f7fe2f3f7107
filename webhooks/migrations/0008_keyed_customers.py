"""The hashes of customers get a key. In short transactions: an inbox may be large."""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from webhooks.customers import rekey


def with_key(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    rekey(apps.get_model("webhooks", "WebhookEvent")._default_manager.using(schema_editor.connection.alias))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("webhooks", "0007_duplicates")]
    operations = [migrations.RunPython(with_key, migrations.RunPython.noop, elidable=True)]
