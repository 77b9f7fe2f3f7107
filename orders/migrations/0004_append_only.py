"""The history of statuses and of staff actions can be added to and not be changed, in the database too."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from orders.append_only import Guard

GUARDS = (
    Guard(table="orders_statustransition", unique=("link_id", "sequence")),
    Guard(table="orders_staffaction", unique=("sequence",)),
)


def arm(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for guard in GUARDS:
        for statement in guard.arm(schema_editor.connection.vendor):
            schema_editor.execute(statement)


def disarm(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for guard in GUARDS:
        for statement in guard.disarm(schema_editor.connection.vendor):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("orders", "0003_back_office")]
    operations = [migrations.RunPython(arm, disarm)]
