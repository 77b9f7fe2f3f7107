"""A built image, as compose.yaml runs it, but without a container engine: `try_image.py ROOT IMAGE.json`, and
DATABASE_URL is that of an empty PostgreSQL. Each process has a mount namespace of its own, its root read-only."""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

from tests.servers import free_port

ROOT, IMAGE = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())["Docker"]["config"]
PORT = free_port()
SITE = f"http://127.0.0.1:{PORT}"
OURS = {
    "DATABASE_URL": os.environ["DATABASE_URL"],
    "PUBLIC_URL": SITE,
    "SECRET_KEY": secrets.token_urlsafe(50),
}
ENTER = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev" && mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
root=$1 user=$2; shift 2
exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
"""
"""As `docker run --read-only --tmpfs /tmp --security-opt no-new-privileges`; a user that is not root has no rights."""


def inside(*command: str) -> list[str]:
    env = {one.partition("=")[0]: one.partition("=")[2] for one in IMAGE["Env"]}
    env |= OURS
    words = [f"{name}={value}" for name, value in env.items()]
    shell = ["sh", "-euc", ENTER, "enter", str(ROOT), IMAGE["User"], "env", "-i", "-C", IMAGE["WorkingDir"]]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *shell, *words, *command]


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(inside(*command), capture_output=True, text=True, timeout=300, check=False)


def must(holds: object, words: str, more: str = "") -> None:
    if not holds:
        sys.exit(f"image: NOT so: {words}\n{more}")
    print("image:", words, flush=True)


def soon(true: Callable[[], bool], words: str, seconds: int = 120) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            must(False, words)
        time.sleep(0.5)
    must(True, words)


def answers(path: str) -> bool:
    try:
        return urllib.request.urlopen(SITE + path, timeout=5).status == 200
    except OSError:
        return False


def try_what_is_in_it() -> None:
    told = json.dumps(json.loads(Path(sys.argv[2]).read_text()))
    must("must-not-be-in-a-layer" not in told, "no secret stands in its configuration or history")
    names = {str(path.relative_to(ROOT)) for path in (ROOT / "srv").rglob("*")}
    must(not [name for name in names if name.endswith((".env", ".sqlite3", ".git"))], "no .env, database or .git in it")
    must(not (ROOT / "opt/venv/bin/pip").exists(), "no pip in its environment")
    must("srv/orderbridge/staticfiles/sync/admin.css.gz" in names, "its static files are collected and compressed")
    must(IMAGE["User"] == "10001:10001" and IMAGE["Healthcheck"]["Test"][0] == "CMD", "a user without rights, a check")
    done = ask("sh", "-c", "touch /srv/orderbridge/x || touch /opt/venv/x || touch /etc/x || touch /x || id -u")
    must(done.stdout == "10001\n", "its user can write nowhere", done.stdout + done.stderr)
    done = ask("env", "SECRET_KEY=", "python", "manage.py", "migrate")
    must(done.returncode == 2 and "SECRET_KEY is not set" in done.stderr, "without SECRET_KEY it says so", done.stderr)


def try_the_link(link: str) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(link, timeout=20).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    password = secrets.token_urlsafe(12)
    form = {"username": "ann", "password1": password, "password2": password, "csrfmiddlewaretoken": token}
    answer = browser.open(urllib.request.Request(link, urlencode(form).encode(), {"Referer": link}), timeout=20)
    must(answer.url == f"{SITE}/admin/", "the link makes the first administrator, who is signed in", answer.url)
    try:
        urllib.request.urlopen(link, timeout=20)
        again = 200
    except urllib.error.HTTPError as error:
        again = error.code
    must(again == 410, "the link works once")


def main() -> None:
    try_what_is_in_it()
    done = ask("sh", "-c", "python manage.py migrate -v0 && exec python manage.py setup_link")
    link = re.search(rf"{re.escape(SITE)}/admin/account/setup/\S+", done.stdout)
    must(link, "migrate runs, and the set-up link is printed", done.stdout + done.stderr)
    check = ask("python", "manage.py", "healthcheck", "worker")
    must("no worker has reported yet" in check.stderr, "a worker is missed", check.stderr)
    web = [word.replace("0.0.0.0:8000", f"127.0.0.1:{PORT}") for word in IMAGE["Cmd"]]
    with tempfile.TemporaryFile("w+") as log:
        started = [
            subprocess.Popen(inside(*command), stdout=log, stderr=log)
            for command in (web, ["python", "manage.py", "qcluster"])
        ]
        try:
            soon(lambda: answers("/healthz"), "web answers")
            try_the_link(link[0])
            check = ask("python", "manage.py", "healthcheck", "web", "--port", str(PORT))
            must(check.returncode == 0, "the health check of web is content", check.stderr)
            must(answers("/static/sync/admin.css"), "static files are served")
            soon(lambda: answers("/readyz"), "all is ready: a worker has reported", 240)
            check = ask("python", "manage.py", "healthcheck", "worker")
            must(check.returncode == 0, "the health check of the worker is content", check.stderr)
        except BaseException:
            log.seek(0)
            print(log.read(), file=sys.stderr)
            raise
        finally:
            for one in started:
                one.kill()
            for one in started:
                one.wait(30)


main()
