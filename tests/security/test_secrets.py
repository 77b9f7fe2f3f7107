"""A whole journey with marked secrets, failures included; then all that is left behind is searched for the marks."""

import base64
import html
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
import requests

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.journeys.conftest import wait_for
from tests.journeys.processes import ROOT, answers, ready, running
from tests.servers import free_port

PAGES = 80
COMMANDS = (
    *("doctor", "replay --dry-run 1", "verify_audit"),
    *(f"shop_webhooks check --bridge {bridge}" for bridge in ("default", "second")),
    *("explain 1001 --bridge default", "explain 2001 --bridge second"),
)


def mark(name: str) -> str:
    """Characters that URLs, JSON and HTML each spell in their own way."""
    return f"MARKED-{name}-{secrets.token_hex(8)}+/&<={secrets.token_hex(4)}"


def marked() -> dict[str, str]:
    return {
        "SECRET_KEY": mark("key") + secrets.token_urlsafe(30),
        "WOO_CONSUMER_KEY": f"ck_{secrets.token_hex(20)}",
        "WOO_CONSUMER_SECRET": f"cs_{secrets.token_hex(20)}",
        "WOO_BASIC_AUTH": f"staging:{mark('staging')}",
        "WOO_WEBHOOK_SECRETS": f"{mark('new')},{mark('old')}",
        "CRM_TOKEN": mark("token"),
        "CRM_WEBHOOK_SECRETS": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
        "METRICS_TOKEN": mark("metrics"),
        "AUDIT_KEYS": f"{mark('audit')},{mark('audit')}",
        "CREDENTIAL_KEYS": f"{mark('credentials')},{mark('credentials')}",
    }


def spelled(secret: str) -> Iterator[bytes]:
    """The secret as it is and as it may be written; of base64, what is the same wherever the text begins."""
    for text in (secret, secret.removeprefix("whsec_")):
        for form in (text, quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1], html.escape(text)):
            yield form.encode()
        yield text.encode().hex().encode()
        for offset in range(3):
            coded = base64.b64encode(b"x" * offset + text.encode())
            yield coded[4 if offset else 0 : len(coded) // 4 * 4 - 4]
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        yield from (key, key.hex().encode())


def leaks(env: Mapping[str, str], names: Mapping[str, str], found: bytes) -> list[str]:
    return [
        f"{name} as {form!r}"
        for name in names
        for secret in env[name].split(",")
        for form in set(spelled(secret))
        if form in found
    ]


class Parrot(BaseHTTPRequestHandler):
    """The worst of all servers: it repeats in its error what it was sent."""

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length).decode("utf-8", "replace")
        text = f"{self.requestline} {dict(self.headers)} {sent}"
        status = {"/orders": 400, "/wp-json/": 401}.get(self.path.partition("?")[0], 500)
        body = json.dumps({"error": text, "message": text, "code": text}).encode()
        self.send_response(status)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_OPTIONS = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@contextmanager
def parrot(url: str) -> Iterator[None]:
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", urlsplit(url).port or 0), Parrot)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def process_list() -> bytes:
    """Of every process that can be seen; its own environment nobody else may read."""
    lines = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines += path.read_bytes() + b"\n"
        except OSError:  # it has ended meanwhile
            continue
    return lines


ONE_AFTER_THE_OTHER = """
import sys, traceback
from django.core.management import execute_from_command_line
for command in sys.argv[1:]:
    try:
        execute_from_command_line(["manage.py", *command.split()])
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
"""


def manage(env: dict[str, str], log: Path, *commands: str) -> bytes:
    """In one process, which starts once."""
    command = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *commands]
    env = {"DJANGO_SETTINGS_MODULE": "integration_site.settings", **env}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=120, check=False)
    with log.open("ab") as written:
        written.write(done.stdout + done.stderr)
    return done.stdout


def whole_back_office(url: str, password: str) -> bytes:
    """Every page that links lead to, from the home page on."""
    browser = requests.Session()
    browser.get(f"{url}/admin/login/", timeout=60)
    form = {"username": "root", "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    browser.post(f"{url}/admin/login/", form, headers={"Referer": url}, timeout=60)
    assert "orderbridge_session" in browser.cookies
    waiting, seen, found = ["/admin/", "/admin/sync/call/"], set(), b""
    while waiting and len(seen) < PAGES:
        path = waiting.pop(0)
        seen.add(path)
        text = browser.get(f"{url}{path}", timeout=60).text
        found += text.encode()
        links = {html.unescape(link).partition("#")[0] for link in re.findall(r'href="(/admin/[^"]*)"', text)}
        waiting += sorted(link for link in links - seen - set(waiting) if "logout" not in link and "?" not in link)
    assert len(seen) > 40
    return found


SECOND_PAIR = """
import json, sys
from orders.rules import give_default_lifecycle
from webhooks.connections import Bridge, Connection
from webhooks.credentials import encrypt
said = json.loads(sys.stdin.read())
rows = [
    Connection.objects.create(slug=slug, name=slug, kind=kind, settings={"url": url}, credentials=encrypt(told))
    for slug, kind, url, told in said
]
bridge = Bridge.objects.create(slug="second", name="Second", shop=rows[0], crm=rows[1], state="on")
give_default_lifecycle(bridge.pk)
"""


def of_rows() -> dict[str, str]:
    """Secrets that no setting has: only the rows of a second pair of connections."""
    return {
        "consumer_key": f"ck_{secrets.token_hex(20)}",
        "consumer_secret": f"cs_{secrets.token_hex(20)}",
        "basic_auth": f"staging:{mark('row-staging')}",
        "shop_webhook": f"{mark('row-new')},{mark('row-old')}",
        "token": mark("row-token"),
        "crm_webhook": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
    }


@contextmanager
def second_pair(env: Mapping[str, str], told: Mapping[str, str]) -> Iterator[tuple[SandboxShop, SandboxCrm]]:
    """A shop and a CRM that are connected by rows alone."""
    url = env["PUBLIC_URL"]
    shop = SandboxShop(
        webhook_url=f"{url}/webhooks/woocommerce/second-shop/",
        webhook_secret=told["shop_webhook"].split(",")[1],
        consumer_key=told["consumer_key"],
        consumer_secret=told["consumer_secret"],
        first_id=2001,
    )
    hooks = f"{url}/webhooks/crm/second-crm/"
    crm = SandboxCrm(token=told["token"], webhook_url=hooks, webhook_secret=told["crm_webhook"])
    shop.start()
    crm.start()
    keys = {name: told[name] for name in ("consumer_key", "consumer_secret", "basic_auth")}
    rows = [
        ("second-shop", "woocommerce", shop.url, {**keys, "webhook_secrets": told["shop_webhook"]}),
        ("second-crm", "rest", crm.url, {"token": told["token"], "webhook_secrets": told["crm_webhook"]}),
    ]
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", SECOND_PAIR]
    subprocess.run(command, env=dict(env), cwd=ROOT, input=json.dumps(rows), text=True, check=True, timeout=120)
    try:
        yield shop, crm
    finally:
        shop.stop()
        crm.stop()


def test_marked_secrets_stay_in_memory(tmp_path: Path) -> None:
    url, log, database = f"http://127.0.0.1:{free_port()}", tmp_path / "log", tmp_path / "db.sqlite3"
    names = marked()
    old = names["WOO_WEBHOOK_SECRETS"].split(",")[1]
    shop = SandboxShop(
        webhook_url=f"{url}/webhooks/woocommerce/",
        webhook_secret=old,
        consumer_key=names["WOO_CONSUMER_KEY"],
        consumer_secret=names["WOO_CONSUMER_SECRET"],
    )
    crm = SandboxCrm(
        token=names["CRM_TOKEN"], webhook_url=f"{url}/webhooks/crm/", webhook_secret=names["CRM_WEBHOOK_SECRETS"]
    )
    shop.start()
    crm.start()
    password = mark("password")
    env = {
        "PATH": os.environ["PATH"],
        "ORDERBRIDGE_ENV_FILE": "",
        "PUBLIC_URL": url,
        "DATABASE_URL": f"sqlite:///{database}",
        "WOO_URL": shop.url,
        "CRM_URL": crm.url,
        "RETRY_BASE_SECONDS": "0.2",
        "RETRY_MAX_SECONDS": "1",
        "LOG_LEVEL": "DEBUG",
        "ALLOW_PRIVATE_ADDRESSES": "true",
        "DJANGO_SUPERUSER_PASSWORD": password,
        **names,
    }
    left, rows = b"", of_rows()
    manage(env, log, "migrate -v0", "createsuperuser --noinput --username root --email root@example.test")
    gunicorn = (sys.executable, "-m", "gunicorn", "integration_site.wsgi", "-w1", "-b", url.removeprefix("http://"))
    with (
        second_pair(env, rows) as (second_shop, second_crm),
        running(*gunicorn, "--access-logfile", "-", "--no-control-socket", env=env, log=log),
        running(sys.executable, "manage.py", "qcluster", env=env, log=log),
    ):
        wait_for(lambda: ready(url), 60)
        crm.faults.add("500", times=1)
        shop.faults.add("html", times=1)
        numbers = [shop.create_order(status="pending")["id"] for _ in range(3)]
        wait_for(lambda: all(crm.by_external(number) for number in numbers), 60)
        crm.set_status(crm.by_external(numbers[0])[0]["id"], "paid")
        wait_for(lambda: shop.orders[numbers[0]]["status"] == "processing", 60)
        other = second_shop.create_order(status="pending")["id"]
        wait_for(lambda: second_crm.by_external(other), 60)
        second_crm.set_status(second_crm.by_external(other)[0]["id"], "paid")
        wait_for(lambda: second_shop.orders[other]["status"] == "processing", 60)
        knock(url, names)
        wrongly = {"Authorization": f"Bearer {rows['token']}", "X-WC-Webhook-Signature": rows["shop_webhook"]}
        for path in ("woocommerce/second-shop/", "crm/second-crm/"):
            requests.post(f"{url}/webhooks/{path}", data=b"{}", headers=wrongly, timeout=60)
        for side in (shop, crm, second_shop, second_crm):
            side.stop()
        with parrot(shop.url), parrot(crm.url), parrot(second_shop.url), parrot(second_crm.url):
            manage(env, log, "replay --source woocommerce", *COMMANDS)
            wait_for(lambda: b'"status": 500' in log.read_bytes(), 60)
        manage(env, log, "doctor --json")
        bearer = {"Authorization": f"Bearer {names['METRICS_TOKEN']}"}
        for path in ("readyz", "healthz", "metrics", "openapi.json", "nowhere", "admin/nowhere"):
            left += requests.get(f"{url}/{path}", headers=bearer, timeout=60).content
        assert b"orderbridge_events" in left
        left += whole_back_office(url, password)
        left += process_list()
    left += manage(env, log, "dumpdata --indent 1")
    left += b"".join(path.read_bytes() for path in (log, *tmp_path.glob("db.sqlite3*")))
    assert b"gunicorn" in left and b'"what": "call"' in left and "•••".encode() in left
    assert b"second-crm" in left and b"/wp-json/wc/v3/orders/2001" in left
    marked_ones = {**names, **rows, "password": password}
    assert not leaks(marked_ones, marked_ones, left)


def knock(url: str, names: Mapping[str, str]) -> None:
    """What is refused may hold a secret as well: a sender that was set up wrongly sends it in the wrong place."""
    headers = {
        "Authorization": f"Bearer {names['CRM_TOKEN']}",
        "X-Api-Key": names["WOO_CONSUMER_KEY"],
        "Cookie": f"key={names['SECRET_KEY']}",
        "X-WC-Webhook-Signature": names["WOO_WEBHOOK_SECRETS"],
        "webhook-signature": names["CRM_WEBHOOK_SECRETS"],
    }
    for path in ("webhooks/woocommerce/", "webhooks/crm", "admin/", "metrics"):
        requests.post(f"{url}/{path}", data=b"{}", headers=headers, timeout=60)
    requests.get(f"{url}/metrics", headers={"Authorization": "Bearer wrong"}, timeout=60)


def test_passwords_of_the_database_and_the_broker_stay_in_memory_when_both_are_away(tmp_path: Path) -> None:
    url, log = f"http://127.0.0.1:{free_port()}", tmp_path / "log"
    names = {**marked(), "database": secrets.token_hex(12), "broker": secrets.token_hex(12)}
    env = {
        "PATH": os.environ["PATH"],
        "ORDERBRIDGE_ENV_FILE": "",
        "PUBLIC_URL": url,
        "DATABASE_URL": f"postgres://orderbridge:{names['database']}@127.0.0.1:1/orderbridge",
        "QUEUE_BROKER": f"redis://:{names['broker']}@127.0.0.1:1/0",
        **{name: value for name, value in names.items() if name.isupper()},
    }
    gunicorn = (sys.executable, "-m", "gunicorn", "integration_site.wsgi", "-w1", "-b", url.removeprefix("http://"))
    with running(*gunicorn, "--no-control-socket", env=env, log=log):
        wait_for(lambda: answers(f"{url}/healthz"), 60)
        left = requests.get(f"{url}/readyz", timeout=30).content
        assert b"DATABASE_URL" in left
        left += requests.get(f"{url}/admin/", timeout=30).content
        left += requests.post(f"{url}/webhooks/woocommerce/", data=b"{}", timeout=30).content
        left += process_list()
    manage(env, log, "migrate", "doctor", "check", "verify_audit")
    manage(env, log, "qcluster --run-once")
    left += log.read_bytes()
    assert b"connection failed" in left
    assert not leaks(names, names, left)


@pytest.mark.parametrize("name", ["WOO_CONSUMER_SECRET", "CRM_WEBHOOK_SECRETS"])
def test_the_search_finds_what_it_is_to_find(name: str) -> None:
    names = marked()
    assert leaks(names, names, b"all is well") == []
    for form in (
        names[name].encode(),
        quote(names[name], safe="").encode(),
        base64.b64encode(f"user:{names[name]}".encode()),
        html.escape(names[name]).encode(),
    ):
        assert leaks(names, names, b"some text " + form + b" and more")
