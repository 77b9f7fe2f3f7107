"""Ctrl-C at a command that waits for a side."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.journeys.processes import ROOT


def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path, migrated: Path) -> None:
    """With a database that can be read: before it is known whose it is, the doctor calls no side."""
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sides = {"WOO_URL": url, "WOO_CONSUMER_KEY": "ck_a", "WOO_CONSUMER_SECRET": "cs_a", "CRM_URL": url}
        own = {"DEBUG": "true", "ORDERBRIDGE_ENV_FILE": "", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"}
        command = subprocess.Popen(
            (sys.executable, "manage.py", "doctor"),
            env=dict(os.environ) | own | sides,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that starts the tests in the background has them ignore it, and so whatever they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        asked, _ = silent.accept()
        with asked:
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=60)
    assert command.returncode == 1
    assert said.splitlines()[-1] == "Stopped."
    assert "Traceback" not in said
