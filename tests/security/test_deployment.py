"""The settings of production, as Django's own examination sees them, and what each answer tells a browser."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import User
from django.test import Client

ROOT = Path(__file__).parent.parent.parent
PRODUCTION = {
    "ORDERBRIDGE_ENV_FILE": "",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "PUBLIC_URL": "https://bridge.example",
    "ALLOWED_HOSTS": "bridge.example",
    "DATABASE_URL": "sqlite://:memory:",
    "WOO_URL": "https://shop.example",
    "WOO_CONSUMER_KEY": "ck_1",
    "WOO_CONSUMER_SECRET": f"cs_{secrets.token_hex(20)}",
    "WOO_WEBHOOK_SECRETS": secrets.token_hex(24),
    "CRM_URL": "https://crm.example",
    "CRM_TOKEN": secrets.token_hex(16),
    "CRM_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
FROM_FILES = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "DATABASE_URL": "sqlite://:memory:",
    "QUEUE_BROKER": "orm",
    "WOO_URL": "https://mounted.example",
    "WOO_CONSUMER_KEY": "ck_mounted",
    "WOO_CONSUMER_SECRET": "cs_mounted",
    "WOO_WEBHOOK_SECRETS": "mounted",
    "CRM_URL": "https://crm.mounted.example",
    "CRM_TOKEN": "mounted-token",
    "METRICS_TOKEN": "mounted-metrics",
}
ANSWERS = """
import json
from django.test import Client
client = Client(headers={"host": "bridge.example"})
told = {}
for path in ("/admin/login/", "/webhooks/crm", "/healthz", "/readyz"):
    for secure in (False, True):
        answer = client.get(path, secure=secure)
        cookies = {name: morsel.OutputString() for name, morsel in answer.cookies.items()}
        told[f"{path} {secure}"] = [answer.status_code, dict(answer.headers), cookies]
print(json.dumps(told))
"""


def manage(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    whole = {"PATH": os.environ["PATH"], **PRODUCTION, **env}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, env=whole, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


NOT_CONFIGURED = [
    ({"SECRET_KEY": ""}, "SECRET_KEY is not set. "),
    ({"SECRET_KEY_FILE": "/not/there"}, "SECRET_KEY_FILE is /not/there, which cannot be read"),
    ({"HTTP_TIMEOUT": "ten"}, "HTTP_TIMEOUT is 'ten'. Write a number."),
    ({"QUEUE_BROKER": "nats://x"}, "QUEUE_BROKER is 'nats://x': "),
    ({"DATABASE_URL": "postgres://u:pass@host:port/x"}, "DATABASE_URL is no address of a database"),
    ({"DATABASE_URL": "mysql://u:pass@host/x"}, "DATABASE_URL is no address of a database"),
    ({"DATABASE_URL": "nowhere:pass"}, "DATABASE_URL is no address of a database"),
]


@pytest.mark.parametrize(("env", "words"), NOT_CONFIGURED)
def test_what_is_not_configured_is_told_in_one_line(env: dict[str, str], words: str) -> None:
    done = manage("--help", **env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(words) and done.stderr.count("\n") == 1 and "pass@" not in done.stderr


def test_a_web_process_that_is_not_configured_tells_it_in_one_line_and_is_not_started_again() -> None:
    env = {"PATH": os.environ["PATH"], **PRODUCTION, "SECRET_KEY": ""}
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "integration_site.wsgi"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert "SECRET_KEY is not set" in done.stderr and "Traceback" not in done.stderr


def test_check_deploy_finds_nothing_with_the_settings_of_production() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


WEAK = {
    "ALLOWED_HOSTS": "*",
    "CSRF_TRUSTED_ORIGINS": "https://*",
    "WOO_URL": "http://shop.example.com",
    "CRM_URL": "http://1.1.1.1",
    "CRM_TOKEN": "a",
    "WOO_CONSUMER_SECRET": "a",
    "AUDIT_KEYS": "a",
    "CREDENTIAL_KEYS": "a",
    "METRICS_TOKEN": "a",
    "WOO_WEBHOOK_SECRETS": f"{secrets.token_hex(24)},a",
    "CRM_WEBHOOK_SECRETS": "whsec_YQ==",
    "TRUSTED_PROXIES": "5",
}


def test_check_deploy_finds_all_that_is_weak_at_once() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", QUEUE_BROKER="redis://redis.example.com/0", **WEAK)
    assert done.returncode == 1
    missing = [name for name in (*WEAK, "QUEUE_BROKER has no password") if name not in done.stderr]
    assert missing == [], done.stderr
    assert done.stderr.count("(orderbridge.") == len(WEAK) + 2


def test_check_deploy_finds_a_service_without_https() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", PUBLIC_URL="http://bridge.example")
    assert done.returncode == 1 and "security.W004" in done.stderr and "security.W012" in done.stderr


def test_a_newline_at_the_end_of_a_mounted_file_is_no_part_of_the_setting(tmp_path: Path) -> None:
    files = {}
    for name, value in FROM_FILES.items():
        path = tmp_path / name
        path.write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(path)
    names = sorted(FROM_FILES.keys() - {"DATABASE_URL", "WOO_WEBHOOK_SECRETS"})
    code = (
        "import json; from django.conf import settings\n"
        f"told = {{name: getattr(settings, name) for name in {names}}}\n"
        "told |= {'DATABASE': settings.DATABASES['default']['NAME'], 'HOOKS': settings.WOO_WEBHOOK_SECRETS}\n"
        "print(json.dumps(told))"
    )
    done = manage("shell", "-v", "0", "-c", code, **files)
    assert done.returncode == 0, done.stderr
    expected = {name: FROM_FILES[name] for name in names}
    assert json.loads(done.stdout.splitlines()[-1]) == {**expected, "DATABASE": ":memory:", "HOOKS": ["mounted"]}


def test_over_https_the_back_office_is_strict_and_a_delivery_is_never_redirected() -> None:
    done = manage("shell", "-v", "0", "-c", ANSWERS)
    told = json.loads(done.stdout.splitlines()[-1])
    status, headers, _ = told["/admin/login/ False"]
    assert (status, headers["Location"]) == (301, "https://bridge.example/admin/login/")
    status, headers, cookies = told["/admin/login/ True"]
    assert (status, headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookies["csrftoken"].split("; "))
    assert told["/webhooks/crm False"][0] == 405
    assert told["/healthz False"][0] == 200
    for path in ("/webhooks/crm", "/healthz", "/readyz"):
        for secure in (False, True):
            status, headers, _ = told[f"{path} {secure}"]
            assert status in (200, 405, 503) and "Strict-Transport-Security" not in headers


def tells_what_a_browser_may_do(headers: Any) -> None:
    policy = dict(one.strip().split(" ", 1) for one in headers["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["default-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def visitor(db: None) -> Client:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    return client


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 302),
        ("/admin/", 200),
        ("/admin/login/", 302),
        ("/admin/webhooks/webhookevent/", 403),
        ("/admin/nowhere/", 404),
        ("/nowhere", 404),
        ("/static/sync/icon.svg", 200),
        ("/openapi.json", 200),
    ],
)
def test_every_page_tells_the_browser_what_it_may_do(visitor: Client, path: str, status: int) -> None:
    answer = visitor.get(path)
    assert answer.status_code == status
    tells_what_a_browser_may_do(answer.headers)


def test_pages_of_errors_tell_it_too(visitor: Client) -> None:
    answers = [visitor.post("/admin/login/"), visitor.get("/admin/", headers={"host": "evil.example"})]
    with patch.object(AdminSite, "each_context", side_effect=ValueError):
        answers.append(visitor.get("/admin/"))
    assert [answer.status_code for answer in answers] == [403, 400, 500]
    for answer in answers:
        tells_what_a_browser_may_do(answer.headers)


@pytest.mark.django_db
def test_a_delivery_does_not_pay_for_what_only_browsers_need(client: Client) -> None:
    answer = client.post("/webhooks/woocommerce/", b"{}", content_type="application/json")
    assert answer.status_code == 401
    assert "Content-Security-Policy" not in answer.headers and not answer.cookies


def test_a_session_ends_with_the_browser_and_after_a_working_day() -> None:
    assert settings.SESSION_EXPIRE_AT_BROWSER_CLOSE and settings.SESSION_COOKIE_AGE == 12 * 3600
