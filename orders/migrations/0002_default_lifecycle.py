"""A fresh database knows the default status map and lifecycle."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from orders.defaults import MOVES, RULES


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    rules, moves = apps.get_model("orders", "StatusRule"), apps.get_model("orders", "AllowedMove")
    rules.objects.bulk_create(rules(crm_status=crm, woo_status=woo, critical=critical) for crm, woo, critical in RULES)
    moves.objects.bulk_create(moves(from_status=old, to_status=new) for old, news in MOVES.items() for new in news)


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
