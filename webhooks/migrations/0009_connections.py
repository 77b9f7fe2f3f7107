"""Shops and CRMs, and which are bridged. Those of the environment are there from the start: the bridge is number 1."""

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make_those_of_the_environment(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connections = apps.get_model("webhooks", "Connection").objects
    shop = connections.create(slug="shop", name="Shop", kind="woocommerce")
    crm = connections.create(slug="crm", name="CRM", kind=settings.CRM_BACKEND)
    # The first row of a new table gets 1, and the sequence of PostgreSQL goes on from there.
    bridge = apps.get_model("webhooks", "Bridge").objects.create(
        slug="default", name="Shop and CRM", shop=shop, crm=crm, state="on"
    )
    assert bridge.pk == 1, "all that was there before hangs on bridge 1"  # noqa: S101


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0008_keyed_customers")]
    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.SlugField(help_text="In the address at which it delivers", max_length=40, unique=True),
                ),
                ("name", models.CharField(max_length=80)),
                ("kind", models.CharField(help_text="woocommerce, or the name of a CRM backend", max_length=100)),
                (
                    "settings",
                    models.JSONField(blank=True, default=dict, help_text="In the backend's own schema: url …"),
                ),
                (
                    "credentials",
                    models.TextField(blank=True, editable=False, help_text="Encrypted (webhooks.credentials)"),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("archived_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="Bridge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=80)),
                (
                    "shop",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="bridge", to="webhooks.connection"
                    ),
                ),
                (
                    "crm",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty while it is being set up",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bridges",
                        to="webhooks.connection",
                        verbose_name="CRM",
                    ),
                ),
                (
                    "external_id_prefix",
                    models.CharField(
                        blank=True,
                        help_text="Goes before the shop's order number wherever the CRM is told it",
                        max_length=20,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^([A-Za-z0-9._:/#-]{0,19}[A-Za-z._:/#-])?\\Z",
                                "Use at most 20 of A-Z a-z 0-9 . _ : / # -, and no digit at the end, as in shop-b-",
                            )
                        ],
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Being set up"), ("on", "On"), ("paused", "Paused")],
                        default="draft",
                        max_length=8,
                    ),
                ),
                ("options", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("archived_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={"ordering": ["pk"]},
        ),
        migrations.RunPython(make_those_of_the_environment, migrations.RunPython.noop),
    ]
