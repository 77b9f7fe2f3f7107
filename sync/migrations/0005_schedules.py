"""The nightly and the frequent look at both sides. Settings change: `sync.queue.schedules` keeps these rows in step."""

from datetime import timedelta

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

DAY = 24 * 60


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    now = timezone.now()
    night = (now + timedelta(days=1)).replace(hour=3, minute=17, second=0, microsecond=0)
    for name, task, minutes in (
        ("reconcile", "sync.tasks.reconcile", 5),
        ("reconcile deep", "sync.tasks.reconcile_deep", DAY),
        ("watch", "sync.tasks.watch", 5),
    ):
        apps.get_model("django_q", "Schedule").objects.get_or_create(
            name=name,
            defaults={
                "func": task,
                "schedule_type": "I",
                "minutes": minutes,
                "repeats": -1,
                "next_run": night if minutes == DAY else now,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("sync", "0004_one_run_of_a_kind"), ("django_q", "0018_task_success_index")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
