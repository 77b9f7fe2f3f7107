"""The help texts say checkpoint, as everything else does. The tables stay as they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0013_hash_version"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditseal",
            name="links",
            field=models.PositiveBigIntegerField(default=0, help_text="Orders since the checkpoint before it"),
        ),
        migrations.AlterField(
            model_name="auditseal",
            name="rows",
            field=models.PositiveBigIntegerField(help_text="Transitions since the checkpoint before it"),
        ),
        migrations.AlterField(
            model_name="chainhead",
            name="id",
            field=models.BigIntegerField(
                help_text="The link of the order; 0: staff actions; -1: checkpoints", primary_key=True, serialize=False
            ),
        ),
    ]
