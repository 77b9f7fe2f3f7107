"""Events hang on a bridge: those that are there, on the default one. Refusals are counted by connection."""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from webhooks.migrations._one_copy import OneCopy


def name_connections(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("RefusalCount", "RefusedDelivery"):
        rows = apps.get_model("webhooks", name).objects
        for source, connection in (("woocommerce", "shop"), ("crm", "crm")):
            rows.filter(source=source).update(connection=connection)


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0009_connections")]
    operations = [
        OneCopy(
            "WebhookEvent",
            [
                migrations.RemoveConstraint("webhookevent", "event_once_per_source"),
                migrations.RemoveIndex("webhookevent", "event_due"),
                migrations.AddField(
                    "webhookevent",
                    "bridge",
                    models.ForeignKey(
                        db_constraint=False,
                        db_default=1,
                        db_index=False,
                        default=1,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="webhooks.bridge",
                    ),
                ),
                migrations.AddIndex(
                    "webhookevent",
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["bridge", "next_attempt_at", "id"],
                        name="event_due",
                    ),
                ),
                migrations.AddIndex(
                    "webhookevent",
                    models.Index(condition=models.Q(("bridge__gt", 1)), fields=["bridge", "id"], name="event_bridge"),
                ),
                migrations.AddConstraint(
                    "webhookevent",
                    models.UniqueConstraint(fields=("source", "dedupe_key", "bridge"), name="event_once_per_source"),
                ),
            ],
        ),
        migrations.RemoveConstraint("refusalcount", "refusal_count_once"),
        migrations.AddField(
            "refusalcount",
            "connection",
            models.SlugField(db_default="", db_index=False, default="", max_length=40),
        ),
        migrations.AddField(
            "refuseddelivery",
            "connection",
            models.SlugField(db_default="", db_index=False, default="", max_length=40),
        ),
        migrations.AddConstraint(
            "refusalcount",
            models.UniqueConstraint(fields=("source", "reason", "connection"), name="refusal_count_once"),
        ),
        migrations.RunPython(name_connections, migrations.RunPython.noop),
    ]
