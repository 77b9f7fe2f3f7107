"""Intents, findings, to-do items, runs and alarms hang on a bridge: those that are there, on the default one."""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.models import Q

from webhooks.migrations._one_copy import OneCopy

OF_A_BRIDGE = ("backfill", "resync", "reconcile", "drift", "replay")


def adopt(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("sync", "Run").objects.filter(kind__in=OF_A_BRIDGE).update(bridge=1)
    apps.get_model("sync", "Alarm").objects.exclude(key__in=("audit", "queue")).update(bridge=1)


def bridge(model: str, **options: object) -> Operation:
    standing = {
        "db_constraint": False,
        "db_default": 1,
        "db_index": False,
        "default": 1,
        "editable": False,
        "on_delete": django.db.models.deletion.PROTECT,
        "related_name": "+",
        "to": "webhooks.bridge",
    }
    return migrations.AddField(model, "bridge", models.ForeignKey(**{**standing, **options}))


def or_none(model: str) -> Operation:
    words = "Empty: it is about none"
    return bridge(model, blank=True, null=True, default=None, db_default=None, help_text=words)


def unique(model: str, name: str, *fields: str, condition: Q | None = None) -> Operation:
    return migrations.AddConstraint(model, models.UniqueConstraint(fields=fields, name=name, condition=condition))


class Migration(migrations.Migration):
    dependencies = [("sync", "0021_hourly_figures"), ("webhooks", "0010_bridges_of_events")]
    operations = [
        OneCopy(
            "Intent",
            [
                migrations.RemoveConstraint("intent", "one_intent_of_a_kind"),
                bridge("intent"),
                unique("intent", "one_intent_of_a_kind", "woo_id", "kind", "bridge"),
            ],
        ),
        OneCopy(
            "DriftFinding",
            [
                migrations.RemoveConstraint("driftfinding", "open_finding_once"),
                bridge("driftfinding"),
                unique(
                    *("driftfinding", "open_finding_once", "kind", "woo_id", "crm_order_id", "bridge"),
                    condition=Q(gone_at__isnull=True),
                ),
            ],
        ),
        OneCopy(
            "TodoItem",
            [
                migrations.RemoveConstraint("todoitem", "open_todo_once"),
                bridge("todoitem"),
                unique(
                    *("todoitem", "open_todo_once", "order", "cause", "bridge"), condition=Q(closed_at__isnull=True)
                ),
            ],
        ),
        migrations.RemoveConstraint("run", "one_running_of_a_kind"),
        or_none("run"),
        migrations.RemoveConstraint("alarm", "open_alarm_once"),
        or_none("alarm"),
        migrations.AlterField(
            "sidestate",
            "name",
            models.SlugField(help_text="Of its connection", max_length=40, primary_key=True, serialize=False),
        ),
        migrations.RunPython(adopt, migrations.RunPython.noop),
        unique(
            *("run", "one_running_of_a_kind", "kind", "bridge"),
            condition=Q(state="running") & ~Q(kind="replay") & Q(bridge__isnull=False),
        ),
        unique(
            *("run", "one_running_about_no_bridge", "kind"),
            condition=Q(state="running") & ~Q(kind="replay") & Q(bridge__isnull=True),
        ),
        unique(
            *("alarm", "open_alarm_once", "key", "bridge"),
            condition=Q(cleared_at__isnull=True, bridge__isnull=False),
        ),
        unique(
            *("alarm", "open_alarm_about_no_bridge", "key"),
            condition=Q(cleared_at__isnull=True, bridge__isnull=True),
        ),
    ]
