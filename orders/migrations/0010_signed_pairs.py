"""The chains that are not an order's have an anchor from the start, pairs of ids are signed, seals cover more.

What stands there now is taken as it is. This runs once: what is missing later on is missed.
"""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import orders.models
from orders.append_only import GUARDS
from orders.keys import sign

STAFF, SEALS = 0, -1
PAGE = 10_000


def anchor(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    """Of a chain without rows. One that has some and no anchor lost it."""
    heads = apps.get_model("orders", "ChainHead")
    for chain, model in ((STAFF, "StaffAction"), (SEALS, "AuditSeal")):
        if not apps.get_model("orders", model).objects.exists() and not heads.objects.filter(pk=chain).exists():
            heads.objects.create(pk=chain, mac=sign(chain, 0, ""))


def sign_pairs(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    links, done = (
        apps.get_model("orders", "OrderLink").objects.order_by("pk").values_list("pk", "woo_id", "crm_order_id"),
        0,
    )
    with schema_editor.connection.cursor() as cursor:
        while page := list(links.filter(pk__gt=done).values_list("pk", "woo_id", "crm_order_id")[:PAGE]):
            done = page[-1][0]
            signed = [(sign("order", woo_id, crm_order_id), pk) for pk, woo_id, crm_order_id in page]
            cursor.executemany("UPDATE orders_orderlink SET mac = %s WHERE id = %s", signed)


def arm_anew(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """SQLite makes a table anew to add some columns, and its triggers go with the old one."""
    vendor = schema_editor.connection.vendor
    for guard in GUARDS:
        for statement in (*guard.disarm(vendor), *guard.arm(vendor)):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("orders", "0009_number")]
    operations = [
        migrations.RunPython(migrations.RunPython.noop, arm_anew),
        migrations.AddField(
            "orderlink",
            "mac",
            orders.models.PairSignature(
                blank=True,
                db_default="",
                editable=False,
                help_text="Of the pair of ids, with AUDIT_KEYS",
                max_length=64,
            ),
        ),
        migrations.AddField(
            "auditseal",
            "version",
            models.PositiveSmallIntegerField(default=1, help_text="1 covers no more than that"),
        ),
        migrations.AddField(
            "auditseal",
            "links_upto",
            models.BigIntegerField(default=0, help_text="The newest order that it covers"),
        ),
        migrations.AddField(
            "auditseal",
            "links",
            models.PositiveBigIntegerField(default=0, help_text="Orders since the seal before it"),
        ),
        migrations.AddField(
            "auditseal",
            "links_digest",
            models.CharField(
                blank=True,
                help_text="Over their ids here and in the shop, and over the digest before it",
                max_length=64,
            ),
        ),
        migrations.AddField(
            "auditseal",
            "chains",
            models.PositiveBigIntegerField(default=0, help_text="Orders with transitions"),
        ),
        migrations.AddField(
            "auditseal",
            "lifecycle",
            models.JSONField(
                default=dict,
                help_text="By table of old versions: up to where it covers them, and the new ones",
            ),
        ),
        migrations.RunPython(arm_anew, migrations.RunPython.noop),
        migrations.RunPython(anchor, migrations.RunPython.noop),
        migrations.RunPython(sign_pairs, migrations.RunPython.noop),
    ]
