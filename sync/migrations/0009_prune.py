"""What is older than RETENTION_DAYS is emptied every night."""

from datetime import timedelta

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    night = (timezone.now() + timedelta(days=1)).replace(hour=3, minute=17, second=0, microsecond=0)
    apps.get_model("django_q", "Schedule").objects.get_or_create(
        name="prune",
        defaults={
            "func": "sync.tasks.prune",
            "schedule_type": "I",
            "minutes": 24 * 60,
            "repeats": -1,
            "next_run": night,
        },
    )


class Migration(migrations.Migration):
    dependencies = [("sync", "0008_verify_audit")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
