"""Each chain of history gets an anchor, and all of them together seals. What stands there now is taken as it is."""

import django.utils.timezone
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max

from orders.append_only import HEADS, SEALS
from orders.keys import sign

STAFF = 0
PAGE = 1000


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    transitions, actions = apps.get_model("orders", "StatusTransition"), apps.get_model("orders", "StaffAction")
    heads, done = apps.get_model("orders", "ChainHead"), 0
    while True:
        newest = transitions.objects.filter(link_id__gt=done).order_by("link_id").values_list("link_id")
        lengths = dict(newest.annotate(length=Max("sequence"))[:PAGE])
        if not lengths:
            break
        done = max(lengths)
        rows = transitions.objects.filter(link_id__in=lengths).order_by().values_list("link_id", "sequence", "hash")
        heads.objects.bulk_create(
            heads(pk=link, length=length, hash=digest, mac=sign(link, length, digest))
            for link, length, digest in rows
            if length == lengths[link]
        )
    last = actions.objects.order_by("-sequence").first()
    if last is not None:
        mac = sign(STAFF, last.sequence, last.hash)
        heads.objects.create(pk=STAFF, length=last.sequence, hash=last.hash, mac=mac)


def arm(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for guard in (SEALS, HEADS):
        for statement in guard.arm(schema_editor.connection.vendor):
            schema_editor.execute(statement)


def disarm(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for guard in (SEALS, HEADS):
        for statement in guard.disarm(schema_editor.connection.vendor):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("orders", "0004_append_only")]
    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("sequence", models.PositiveBigIntegerField(help_text="1, 2, 3 …", unique=True)),
                ("upto", models.BigIntegerField(help_text="The newest transition that it covers")),
                ("rows", models.PositiveBigIntegerField(help_text="Transitions since the seal before it")),
                (
                    "rows_digest",
                    models.CharField(
                        help_text="Over their ids and hashes, and over the digest before it", max_length=64
                    ),
                ),
                ("staff_length", models.PositiveBigIntegerField(help_text="Staff actions until then")),
                ("staff_hash", models.CharField(blank=True, max_length=64)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("previous_hash", models.CharField(blank=True, max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.CreateModel(
            name="ChainHead",
            fields=[
                (
                    "id",
                    models.BigIntegerField(
                        help_text="The link of the order; 0: staff actions; -1: seals",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("length", models.PositiveBigIntegerField(default=0)),
                ("hash", models.CharField(blank=True, help_text="Of the newest row", max_length=64)),
                (
                    "mac",
                    models.CharField(
                        help_text="Signed with AUDIT_KEYS, which the database does not hold", max_length=64
                    ),
                ),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(arm, disarm),
    ]
