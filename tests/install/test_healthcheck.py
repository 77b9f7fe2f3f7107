"""What a container engine asks: exit code 0, or a line that says why not."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from integration_site.health import HEARTBEAT_SECONDS
from sync.models import Heartbeat
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent


def test_web_answers(live_server: Any) -> None:
    call_command("healthcheck", "web", port=int(live_server.url.rpartition(":")[2]))


def test_web_that_does_not_answer_is_named() -> None:
    port = free_port()
    with pytest.raises(CommandError, match=rf"http://127.0.0.1:{port}/healthz does not answer: .*refused"):
        call_command("healthcheck", "web", port=port)


@pytest.mark.django_db
def test_a_worker_that_has_reported_works() -> None:
    Heartbeat.objects.create(worker="host:1", at=timezone.now() - timedelta(seconds=HEARTBEAT_SECONDS - 30))
    call_command("healthcheck", "worker")


@pytest.mark.django_db
def test_a_worker_that_reported_long_ago_or_never_is_named() -> None:
    with pytest.raises(CommandError, match="no worker has reported yet"):
        call_command("healthcheck", "worker")
    Heartbeat.objects.create(worker="host:1", at=timezone.now() - timedelta(seconds=HEARTBEAT_SECONDS + 5))
    with pytest.raises(CommandError, match="no worker has worked for 18"):
        call_command("healthcheck", "worker")


def test_a_database_that_is_away_is_one_line_and_exit_code_1() -> None:
    away = f"postgres://u:p@127.0.0.1:{free_port()}/x"
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": away}
    command = [sys.executable, "manage.py", "healthcheck", "worker"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "the database cannot be asked" in done.stderr, done.stderr
