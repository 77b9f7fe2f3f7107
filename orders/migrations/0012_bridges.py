"""Orders and lifecycles hang on a bridge: those that are there, on the default one. No signature changes."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from webhooks.migrations._one_copy import OneCopy


def bridge(model: str, **options: object) -> Operation:
    standing = {"db_constraint": False, "db_default": 1, "default": 1, "related_name": "+", "to": "webhooks.bridge"}
    return migrations.AddField(model, "bridge", models.ForeignKey(**{**standing, **options}))


def of_row(model: str, **options: object) -> Operation:
    return bridge(model, db_index=False, on_delete=django.db.models.deletion.PROTECT, **options)


def of_old_version(model: str) -> Operation:
    return bridge(model, blank=True, null=True, on_delete=django.db.models.deletion.DO_NOTHING)


def unique(model: str, name: str, *fields: str) -> Operation:
    return migrations.AddConstraint(model, models.UniqueConstraint(fields=(*fields, "bridge"), name=name))


class Migration(migrations.Migration):
    dependencies = [("orders", "0011_lifecycle_has_history"), ("webhooks", "0010_bridges_of_events")]
    operations = [
        OneCopy(
            "OrderLink",
            [
                of_row("orderlink", editable=False),
                migrations.AlterField(
                    "orderlink", "crm_order_id", models.CharField(max_length=64, verbose_name="CRM order")
                ),
                migrations.AlterField("orderlink", "woo_id", models.BigIntegerField(verbose_name="shop order")),
                unique("orderlink", "link_of_shop_order", "woo_id"),
                unique("orderlink", "link_of_crm_order", "crm_order_id"),
            ],
        ),
        OneCopy(
            "StatusRule",
            [
                of_row("statusrule"),
                migrations.AlterField(
                    "statusrule", "crm_status", models.CharField(max_length=64, verbose_name="CRM status")
                ),
                unique("statusrule", "rule_once", "crm_status"),
            ],
        ),
        OneCopy(
            "AllowedMove",
            [
                migrations.RemoveConstraint("allowedmove", "move_once"),
                of_row("allowedmove"),
                unique("allowedmove", "move_once", "from_status", "to_status"),
            ],
        ),
        of_old_version("historicalstatusrule"),
        of_old_version("historicalallowedmove"),
        migrations.AlterField(
            "historicalstatusrule", "crm_status", models.CharField(max_length=64, verbose_name="CRM status")
        ),
    ]
