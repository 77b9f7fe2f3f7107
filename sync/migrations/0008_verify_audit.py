"""The audit is verified every night and sealed every hour."""

from datetime import timedelta

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

DAY = 24 * 60


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    now = timezone.now()
    night = (now + timedelta(days=1)).replace(hour=3, minute=17, second=0, microsecond=0)
    for name, task, minutes in (
        ("verify audit", "sync.tasks.verify_audit", DAY),
        ("seal audit", "sync.tasks.seal_audit", 60),
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
    dependencies = [
        ("sync", "0007_why_of_attempts"),
        ("orders", "0005_anchors"),
        ("django_q", "0018_task_success_index"),
    ]
    operations = [
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("backfill", "Backfill"),
                    ("resync", "Resync"),
                    ("reconcile", "Reconcile"),
                    ("drift", "Drift"),
                    ("replay", "Replay of many"),
                    ("verify", "Verification of the audit"),
                    ("prune", "Prune"),
                ],
                max_length=12,
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
