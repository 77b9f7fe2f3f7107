"""A broker over the network: nobody waits for it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from unittest.mock import patch

import pytest

from tests.deliveries import from_shop
from webhooks import wake as wake_module
from webhooks.wake import enqueue, wake


class Silent:
    """It accepts, and never answers."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lines: list[socket.socket] = []
        self.asked = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            self.lines.append(line)
            self.asked.set()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for line in self.lines:
            line.close()


@pytest.fixture
def silent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    monkeypatch.setattr(wake_module, "WAKE_INTERVAL", 0.0)
    for name in ("_last", "_away_until"):
        monkeypatch.setattr(wake_module, name, float("-inf"))
    wake_module._broker.cache_clear()
    with closing(Silent()) as broker:
        settings.QUEUE_BROKER = f"redis://127.0.0.1:{broker.port}/0"
        yield broker
    if wake_module._sender:
        wake_module._sender.join(60)
    wake_module._broker.cache_clear()


@pytest.mark.django_db
def test_no_answer_waits_for_a_broker_that_is_silent(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there while the wake-up still waits."""
    monkeypatch.setattr(wake_module, "TIMEOUT", 60.0)
    assert from_shop(b'{"id": 5}').status_code == 200
    sender = wake_module._sender
    assert silent.asked.wait(20)
    assert sender and sender.is_alive()
    wake()
    enqueue("sync.tasks.carry_out", 7)
    assert wake_module._sender is sender


def test_a_broker_that_was_silent_is_left_alone_for_a_while(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake_module, "TIMEOUT", 0.05)
    wake()
    if sender := wake_module._sender:
        sender.join(60)
    tried = len(silent.lines)
    for _ in range(5):
        wake()
        enqueue("sync.tasks.carry_out", 7)
    assert (wake_module._sender, len(silent.lines)) == (None, tried)
    monkeypatch.setattr(wake_module, "_away_until", float("-inf"))
    silent.asked.clear()
    wake()
    assert silent.asked.wait(20)


def test_one_wake_up_serves_a_burst(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain that it starts looks on for longer than the next may be held back."""
    monkeypatch.setattr(wake_module, "WAKE_INTERVAL", 3600.0)
    with patch.object(wake_module, "enqueue") as enqueued:
        for _ in range(5):
            wake()
    enqueued.assert_called_once_with("sync.tasks.drain")


def test_with_the_database_as_the_broker_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clusters look at the inbox itself: a delivery costs no second row."""
    monkeypatch.setattr(wake_module, "_last", float("-inf"))
    with patch.object(wake_module, "enqueue") as enqueued:
        wake()
    enqueued.assert_not_called()
