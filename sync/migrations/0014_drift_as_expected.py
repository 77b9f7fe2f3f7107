from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sync", "0013_a_slow_shop_gets_time")]

    operations = [
        migrations.AddField(
            model_name="driftfinding",
            name="expected",
            field=models.BooleanField(
                default=False,
                help_text="Ahead as every sold order is, while the CRM has the status with which it began",
            ),
        ),
    ]
