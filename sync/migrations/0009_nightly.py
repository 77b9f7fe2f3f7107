"""What is older than RETENTION_DAYS is emptied every night, and both sides are compared."""

from datetime import timedelta

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    night = (timezone.now() + timedelta(days=1)).replace(minute=17, second=0, microsecond=0)
    for name, task, hour in (("prune", "sync.tasks.prune", 3), ("drift", "sync.tasks.drift_nightly", 4)):
        apps.get_model("django_q", "Schedule").objects.get_or_create(
            name=name,
            defaults={
                "func": task,
                "schedule_type": "I",
                "minutes": 24 * 60,
                "repeats": -1,
                "next_run": night.replace(hour=hour),
            },
        )


class Migration(migrations.Migration):
    dependencies = [("sync", "0008_verify_audit")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
