"""Each row of the lifecycle gets a version that says what it says: the defaults were made without one, and what says
something else than its newest version would be a finding. What stands there now is taken as it is, once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

TABLES = (
    ("StatusRule", ("crm_status", "woo_status", "critical")),
    ("AllowedMove", ("from_status", "to_status")),
)


def adopt(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name, fields in TABLES:
        rows, history = apps.get_model("orders", name).objects, apps.get_model("orders", f"Historical{name}").objects
        newest = {old.id: old for old in history.order_by("history_id")}
        live = {row.pk: row for row in rows.order_by("pk")}
        for pk in [*live, *(newest.keys() - live.keys())]:
            row, old = live.get(pk), newest.get(pk)
            was = None if old is None or old.history_type == "-" else [getattr(old, field) for field in fields]
            now = None if row is None else [getattr(row, field) for field in fields]
            if now != was:
                history.create(
                    id=pk,
                    **{field: getattr(row or old, field) for field in fields},
                    history_type="-" if row is None else "+" if was is None else "~",
                    history_date=timezone.now(),
                    history_change_reason="as found by migrate",
                )


class Migration(migrations.Migration):
    dependencies = [("orders", "0010_signed_pairs")]
    operations = [migrations.RunPython(adopt, migrations.RunPython.noop)]
