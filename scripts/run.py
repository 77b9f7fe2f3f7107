"""What `make run` starts: web, worker and sandbox as children that are watched and ended together."""

import argparse
import base64
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sync.sandbox.crms import CRMS, stand_in  # noqa: E402
from sync.sandbox.crms.base import PAGE  # noqa: E402

VAR = ROOT / "var"
RUN_ENV = VAR / "run.env"
LOGS = VAR / "log"
GRACE_SECONDS = 10
SUPERUSER = """
from django.contrib.auth import get_user_model
import os
user, _ = get_user_model().objects.get_or_create(username="admin", defaults={"email": "admin@example.test"})
user.is_staff = user.is_superuser = user.is_active = True
if not user.check_password(os.environ["ORDERBRIDGE_ADMIN_PASSWORD"]):
    user.set_password(os.environ["ORDERBRIDGE_ADMIN_PASSWORD"])
user.save()
"""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def read_env(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = [line.strip().removeprefix("export ") for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def free_port(wanted: int, taken: set[int]) -> int:
    """The wanted port, or the next one that nobody listens on."""
    for port in range(wanted, min(wanted + 200, 65_536)):
        if port in taken:
            continue
        with socket.socket() as probe:
            # As the servers do: a port whose last connections still linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise SystemExit(f"No free port from {wanted} on.")


def kept_secrets() -> dict[str, str]:
    """The made-up secrets of this machine, written once to var/run.env."""
    kept = read_env(RUN_ENV)
    fresh = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "WOO_CONSUMER_KEY": f"ck_{secrets.token_hex(20)}",
        "WOO_CONSUMER_SECRET": f"cs_{secrets.token_hex(20)}",
        "WOO_WEBHOOK_SECRETS": secrets.token_hex(24),
        "CRM_TOKEN": secrets.token_hex(20),
        "CRM_WEBHOOK_SECRETS": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
        "ORDERBRIDGE_ADMIN_PASSWORD": secrets.token_urlsafe(12),
    }
    merged = {**fresh, **kept}
    if merged != kept:
        VAR.mkdir(exist_ok=True)
        RUN_ENV.touch(mode=0o600)
        text = "".join(f"{name}={value}\n" for name, value in merged.items())
        RUN_ENV.write_text(f"# Made by `make run`. Delete it for new secrets.\n{text}")
    return merged


def environment(crm_name: str) -> tuple[dict[str, str], int, bool]:
    """The children's environment, the web port, and whether the sandbox stands in for the two sides."""
    kept = kept_secrets()
    own = {**read_env(ROOT / ".env"), **os.environ}
    real = bool(own.get("WOO_URL") or own.get("WOO_URL_FILE"))
    taken: set[int] = set()
    web = free_port(int(own.get("PORT", "8000")), taken)
    env = dict(os.environ)
    env["ORDERBRIDGE_ADMIN_PASSWORD"] = kept["ORDERBRIDGE_ADMIN_PASSWORD"]
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("DJANGO_SETTINGS_MODULE", "integration_site.settings")
    if real:
        return env, web, False
    shop, crm = free_port(8081, taken), free_port(8082, taken)
    made = {name: value for name, value in kept.items() if name != "ORDERBRIDGE_ADMIN_PASSWORD"}
    made |= {"WOO_URL": f"http://127.0.0.1:{shop}", "CRM_URL": f"http://127.0.0.1:{crm}"}
    # A second pair, and leave to connect it: whoever tries to add another in the back office needs no account anywhere.
    more = [f"http://127.0.0.1:{free_port(port, taken)}" for port in (8083, 8084)]
    made |= {"SANDBOX_URLS": ",".join(more), "ALLOW_PRIVATE_ADDRESSES": "true"}
    made |= {"PUBLIC_URL": f"http://127.0.0.1:{web}", "CRM_BACKEND": "rest", "CRM_SIGNATURE": "standard-webhooks"}
    made |= connection_to(crm_name, made["CRM_URL"]) if crm_name else {}
    for name, value in made.items():
        env.pop(f"{name}_FILE", None)
        env[name] = value
    env["ORDERBRIDGE_ENV_FILE"] = ""
    env["CRM_LIST_LAG"] = "0"
    env.setdefault("DATABASE_URL", f"sqlite:///{ROOT / file_of(crm_name, 'db.sqlite3')}")
    return env, web, True


def connection_to(name: str, url: str) -> dict[str, str]:
    """The settings that connect us to this CRM. Most send no webhooks, so they are asked often."""
    chosen = stand_in(name)
    values = {"BACKEND": name, "URL": f"{url}{chosen.path}", **chosen.settings}
    often = {"RECONCILE_MINUTES": "1", "CRM_POLL_SECONDS": "30"}
    return {**often, **{f"CRM_{word.upper()}": value for word, value in values.items()}}


def file_of(crm_name: str, name: str) -> str:
    """Each CRM has files of its own: the ids of one mean nothing to another."""
    stem, dot, kind = name.partition(".")
    return f"{stem}-{crm_name}{dot}{kind}" if crm_name else name


def ensure_whole(crm_name: str) -> None:
    """The database and what the sandbox remembers belong together: a CRM that begins anew gives old numbers to new
    orders, and links of before would lead to them."""
    database, kept = ROOT / file_of(crm_name, "db.sqlite3"), VAR / file_of(crm_name, "sandbox.json")
    gone = [one for one in (kept, VAR / "tryton") if not one.exists() and (one == kept or crm_name == "tryton")]
    if crm_name and gone and "DATABASE_URL" not in os.environ and has_links(database):
        raise SystemExit(
            f"{database.name} has links to orders of a sandbox that is gone ({gone[0].relative_to(ROOT)} is missing). "
            f"To begin anew, delete that database as well: rm {database.name}*"
        )


def has_links(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            return bool(opened.execute("SELECT EXISTS (SELECT 1 FROM orders_orderlink)").fetchone()[0])
    except sqlite3.Error:  # there is none, or it is empty
        return False


class Child:
    """A process in a session of its own: the terminal's Ctrl-C does not reach it, so that we end them in our order."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: bool = True) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def start(self) -> None:
        self.started = time.monotonic()
        output: IO[bytes] | None = (LOGS / f"{self.name}.log").open("ab") if self.log else None
        # Our own commands, no shell, nothing from outside.
        self.process = subprocess.Popen(  # noqa: S603
            self.command, cwd=ROOT, env=self.env, stdout=output, stderr=output, start_new_session=True
        )
        if output:
            output.close()

    def restart_if_dead(self) -> None:
        if self.process is None or self.process.poll() is None or time.monotonic() - self.started < 2:
            return
        say(f"run: {self.name} ended with {self.process.returncode}; started again (var/log/{self.name}.log)")
        self.sweep()
        self.start()

    def tell(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def sweep(self) -> None:
        """Kill what is left of this child's own group."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def stop_all(children: list[Child]) -> None:
    for child in children:
        child.tell()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        if child.process:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                say(f"run: {child.name} did not end in {GRACE_SECONDS} s and is killed")
        child.sweep()


def prepare(env: dict[str, str]) -> None:
    manage = [sys.executable, "manage.py"]
    for command in ([*manage, "migrate", "-v", "0"], [*manage, "shell", "-v", "0", "-c", SUPERUSER]):
        done = subprocess.run(command, cwd=ROOT, env=env, check=False)  # noqa: S603
        if done.returncode:
            raise SystemExit(f"`{' '.join(command[1:3])}` failed; its message is above.")


def wait_ready(web: int, stop: threading.Event) -> None:
    """The sandbox starts when the web answers: seven refused deliveries would disable its webhooks."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{web}/healthz", timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            if stop.wait(0.1):
                return
    say("run: the web does not answer yet; see var/log/web.log")


def banner(env: dict[str, str], web: int, sandbox: bool) -> None:
    say(f"""
  Orderbridge   http://127.0.0.1:{web}/admin/
  user          admin
  password      {env["ORDERBRIDGE_ADMIN_PASSWORD"]}

  Look at       webhook events (what came, and what became of it), order links, status transitions
                http://127.0.0.1:{web}/readyz   http://127.0.0.1:{web}/metrics
  Logs          var/log/web.log  var/log/worker.log""")
    if sandbox:
        say(f"  Sandbox       shop {env['WOO_URL']}  CRM {env['CRM_URL']}  (its happenings follow; keys: var/run.env)")
        say(f"                see the CRM's orders, and move them: {server_of(env['CRM_URL'])}{PAGE}")
        say(f"                connect its second shop and CRM: http://127.0.0.1:{web}/admin/webhooks/connection/")
        say(
            '                a failing CRM: curl -X POST -d \'{"name": "500", "times": 5}\' '
            + f"{server_of(env['CRM_URL'])}/_faults"
        )
    say("  Ctrl-C ends everything.\n")


def server_of(url: str) -> str:
    return "/".join(url.split("/")[:3])


def children_of(env: dict[str, str], web: int) -> list[Child]:
    gunicorn = [sys.executable, "-m", "gunicorn", "integration_site.wsgi", "--bind", f"127.0.0.1:{web}"]
    gunicorn += ["--error-logfile", "-", "--no-control-socket"]  # the rest: gunicorn.conf.py
    return [Child("web", gunicorn, env), Child("worker", [sys.executable, "manage.py", "qcluster"], env)]


def chosen_crm() -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crm", choices=("", *CRMS), default="", help="what to start as the CRM")
    return str(parser.parse_args().crm)


def main() -> None:
    crm_name = chosen_crm()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    os.umask(0o077)
    LOGS.mkdir(parents=True, exist_ok=True)
    env, web, sandbox = environment(crm_name)
    if crm_name and not sandbox:
        raise SystemExit("WOO_URL is set, so there is no sandbox: CRM= is for the sandbox alone.")
    ensure_whole(crm_name)
    prepare(env)
    children = children_of(env, web)
    try:
        for child in children:
            child.start()
        wait_ready(web, stop)
        if not stop.is_set():
            banner(env, web, sandbox)
        if sandbox and not stop.is_set():
            kept = str(VAR / file_of(crm_name, "sandbox.json"))
            command = [sys.executable, "manage.py", "sandbox", "--state", kept, "--crm", crm_name or "rest"]
            children.append(Child("sandbox", command, env, log=False))
            children[-1].start()
        while not stop.wait(0.5):
            for child in children:
                child.restart_if_dead()
    finally:
        say("\nrun: stopping")
        # The sandbox first, so that nothing is delivered to a web that is going.
        stop_all(children[::-1])


if __name__ == "__main__":
    main()
