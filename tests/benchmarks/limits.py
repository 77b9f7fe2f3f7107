"""What the database itself can do on this machine: commits of one row per second, without any Python web."""

import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests import servers

BODY_BYTES = 4_096
SECONDS = 3


def commits_per_second(kind: str, url: str, home: Path, clients: int) -> float:
    return _sqlite(home) if kind == "sqlite" else _pgbench(url, home, clients)


def _sqlite(home: Path) -> float:
    """One writer, as SQLite has only one, with the settings of ours: WAL and FULL."""
    connection = sqlite3.connect(home / "limit.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS bare (id integer PRIMARY KEY, body blob NOT NULL)")
    done, started = 0, time.monotonic()
    while time.monotonic() - started < SECONDS:
        connection.execute("INSERT INTO bare (body) VALUES (?)", [b"x" * BODY_BYTES])
        done += 1
    connection.close()
    return done / SECONDS


def _pgbench(url: str, home: Path, clients: int) -> float:
    where = urlsplit(url)
    script = home / "insert.sql"
    script.write_text(f"INSERT INTO bare (body) VALUES (convert_to(repeat('x', {BODY_BYTES}), 'UTF8'));\n")  # noqa: S608
    command = [servers.binary("pgbench"), "-n", "-f", str(script), "-c", str(clients), "-j", "2", "-T", str(SECONDS)]
    command += ["-h", str(where.hostname), "-p", str(where.port), "-U", str(where.username), where.path.strip("/")]
    env = {"PGPASSWORD": str(where.password), "PATH": "/usr/bin:/bin"}
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    return next(float(line.split()[2]) for line in said.splitlines() if line.startswith("tps"))
