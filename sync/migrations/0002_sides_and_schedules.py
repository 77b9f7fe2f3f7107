"""`migrate` prepares all there is to prepare: one row for each side, and the sweep's schedule."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("shop", "crm"):
        apps.get_model("sync", "SideState").objects.get_or_create(name=name)
    apps.get_model("django_q", "Schedule").objects.get_or_create(
        name="sweep", defaults={"func": "sync.tasks.sweep", "schedule_type": "I", "minutes": 1, "repeats": -1}
    )


class Migration(migrations.Migration):
    dependencies = [("sync", "0001_initial"), ("django_q", "0018_task_success_index")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
