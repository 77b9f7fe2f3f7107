"""Names that only fail at run time: of tasks, and of all that is used from outside (CONTRACT)."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.urls import resolve, reverse

ROOT = Path(__file__).parent.parent
PACKAGES = ("integration_site", "sync", "orders", "webhooks")
TASK_NAME = re.compile(r"""["']((?:integration_site|sync|orders|webhooks)(?:\.[a-z_]+)*\.tasks\.[A-Za-z_]+)["']""")
SETTING = re.compile(r"""env\.[a-z_]+\(\s*"([A-Z_]+)"|_secrets\("([A-Z_]+)"\)""")

SETTINGS = [
    "DEBUG",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "PUBLIC_URL",
    "DATABASE_URL",
    "QUEUE_BROKER",
    "QUEUE_WORKERS",
    "QUEUE_THREADS",
    "WOO_URL",
    "WOO_CONSUMER_KEY",
    "WOO_CONSUMER_SECRET",
    "WOO_BASIC_AUTH",
    "WOO_WEBHOOK_SECRETS",
    "CRM_BACKEND",
    "CRM_URL",
    "CRM_TOKEN",
    "CRM_WEBHOOK_SECRETS",
    "CRM_SIGNATURE",
    "CRM_SIGNATURE_HEADER",
    "CRM_LIST_LAG",
    "CA_BUNDLE",
    "VERIFY",
    "HTTP_TIMEOUT",
    "RETRY_MAX_ATTEMPTS",
    "RETRY_BASE_SECONDS",
    "RETRY_MAX_SECONDS",
    "MAX_BODY_BYTES",
    "RETENTION_DAYS",
    "RECONCILE_MINUTES",
    "RECONCILE_DAYS",
    "METRICS_TOKEN",
]
MODELS = {
    "webhooks.WebhookEvent": ["id", "state", "outcome", "duplicates"],
    "orders.OrderLink": ["woo_id", "crm_order_id"],
    "orders.StatusTransition": ["id", "from_status", "to_status"],
}


def task_names() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in TASK_NAME.findall(path.read_text()):
                yield str(path.relative_to(ROOT)), name


def settings_read() -> set[str]:
    """Every variable that the settings read, whoever added it."""
    text = (ROOT / "integration_site" / "settings.py").read_text()
    return {one or other for one, other in SETTING.findall(text)} | {"DATABASE_URL"}


def test_every_task_name_can_be_called() -> None:
    """A misspelt one is accepted when enqueued and fails in the worker only (docs/decisions/0001)."""
    names = list(task_names())
    assert {name for _, name in names} >= {"sync.tasks.drain", "sync.tasks.sweep"}
    for path, name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function, None)), f"{path} names {name}"


@pytest.mark.parametrize("path", ["/webhooks/woocommerce", "/webhooks/crm"])
def test_endpoints_with_and_without_the_last_slash(path: str) -> None:
    assert resolve(path)._func_path == resolve(f"{path}/")._func_path


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/admin/"])
def test_addresses(path: str) -> None:
    resolve(path)


@pytest.mark.parametrize(("label", "fields"), MODELS.items())
def test_models_and_their_admin_pages(label: str, fields: list[str]) -> None:
    model = apps.get_model(label)
    assert set(fields) <= {field.name for field in model._meta.get_fields()}
    app, name = label.lower().split(".")
    assert reverse(f"admin:{app}_{name}_changelist") == f"/admin/{app}/{name}/"


@pytest.mark.parametrize(
    "name",
    [
        "backfill",
        "resync",
        "reconcile",
        "drift",
        "replay",
        "explain",
        "doctor",
        "shop_webhooks",
        "sandbox",
        "send_webhook",
        "verify_audit",
        "prune",
        "erase_customer",
    ],
)
def test_commands(name: str) -> None:
    assert name in get_commands()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "DATABASE_URL"])
def test_settings(name: str) -> None:
    assert hasattr(settings, name)


@pytest.mark.parametrize("name", sorted({*SETTINGS, *settings_read()}))
def test_every_setting_is_explained(name: str) -> None:
    """In `.env.example`, with a line above it that says what it is; and in the README's table."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    places = [number for number, line in enumerate(lines) if re.match(rf"#?{name}=", line)]
    assert len(places) == 1
    assert lines[places[0] - 1].startswith("# ")
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_the_example_names_nothing_else() -> None:
    names = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert set(names) <= {*SETTINGS, *settings_read(), *compose}
