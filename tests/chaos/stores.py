"""The database and the broker of a chaos run: they can be stopped, flushed, and filled to the last byte."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis

from tests.servers import Postgres, Redis, binary

KINDS = ("sqlite", "postgres", "redis")
DISK_BYTES = 3 * 2**30
DATABASE = "chaos.sqlite3"


class Stores:
    """`kind` redis: PostgreSQL with Redis as the broker. `shared`: where hosts in other networks find them."""

    def __init__(self, kind: str, home: Path, disk_is_own: bool, shared: str = "") -> None:
        self.home = home
        self.ballast = home / "ballast"
        self.disk_is_own = disk_is_own
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        if kind == "sqlite":
            self.database_url = f"sqlite:///{home / DATABASE}"
        else:
            home.chmod(0o777)  # PostgreSQL runs as somebody else
            inner = home / "postgres"
            inner.mkdir()
            inner.chmod(0o777)
            self.postgres = Postgres(inner, fsync=True, shared=shared)
            self.postgres.start()
            self.database_url = self.postgres.url
        if kind == "redis":
            self.redis = Redis(home, shared)
            self.redis.start()

    @property
    def env(self) -> dict[str, str]:
        broker = self.redis.url if self.redis else "orm"
        return {"DATABASE_URL": self.database_url, "QUEUE_BROKER": broker}

    def restore(self, copy: Path) -> None:
        """As docs/backup.md says, but for the broken database, which nobody needs. Nothing of ours runs meanwhile."""
        if self.postgres is None:
            database = self.home / DATABASE
            for suffix in ("", "-wal", "-shm"):
                database.with_name(database.name + suffix).unlink(missing_ok=True)
            shutil.copy(copy, database)
            return
        server, _, name = self.postgres.url.rpartition("/")
        with psycopg.connect(f"{server}/template1", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        how = ["--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={self.postgres.url}"]
        subprocess.run([binary("pg_restore"), *how, str(copy)], check=True)

    def flush(self) -> None:
        if self.redis:
            with redis.from_url(self.redis.url) as client:
                client.flushall()

    def fill_the_disk(self) -> None:
        """The file system of the database is ours alone: nobody else runs out of space."""
        with contextlib.suppress(OSError), self.ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(2**20))

    def mend(self) -> None:
        """All of it runs, with space on the disk. A PostgreSQL that found its disk full may have ended itself."""
        self.ballast.unlink(missing_ok=True)
        if self.postgres and not self.postgres.is_running():
            self.postgres.start()
        if self.redis:
            self.redis.answer()

    def end(self) -> None:
        self.mend()
        if self.postgres:
            self.postgres.stop()
        if self.redis:
            self.redis.stop()


@contextmanager
def stores(kind: str, disk_bytes: int = DISK_BYTES, shared: str = "") -> Iterator[Stores]:
    """On a small file system of their own where we may mount one; else the disk is never filled."""
    home = Path(tempfile.mkdtemp(prefix="orderbridge-chaos-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={disk_bytes}", "tmpfs", str(home)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        found = Stores(kind, home, mounted, shared)
        try:
            yield found
        finally:
            found.end()
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(home)], check=False)
        shutil.rmtree(home, ignore_errors=True)
