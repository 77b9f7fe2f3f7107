"""Messages go out side by side, and nobody waits for one longer than a deadline.

A thread that hangs is left behind: this runs in a process that ends right after it. It has no connection to the
database.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import EmailMessage

from sync.notifications import addresses, guard

DEADLINE: float = getattr(settings, "NOTIFY_SECONDS", 20.0)
"""For all messages of one round together. Tests set it."""
SIDE_BY_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one recipient gets, and where."""

    recipient: int
    address: str
    title: str
    body: str
    is_bad: bool = True
    "It tells of something that is wrong; services show that by a colour."


def send_all(messages: Sequence[Message], deadline: float = DEADLINE) -> dict[int, str]:
    """By recipient: why it could not be sent; empty: it was."""
    results: dict[int, str] = {}
    for one in messages:
        if not addresses.is_mail(one.address):
            addresses.service(one.address)  # loads apprise, which may take longer than to send
            break
    first, rest = messages[:SIDE_BY_SIDE], messages[SIDE_BY_SIDE:]
    threads = [threading.Thread(target=_send, args=(one, results), daemon=True, name="sender") for one in first]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    found = dict(results)
    late = f"There was no answer within {deadline:g} s. It may have arrived."
    answered = {one.recipient: found.get(one.recipient, late) for one in first}
    return answered | send_all(rest, deadline) if rest else answered


def _send(message: Message, results: dict[int, str]) -> None:
    try:
        results[message.recipient] = _mail(message) if addresses.is_mail(message.address) else _apprise(message)
    except Exception as error:  # of any library of any service
        results[message.recipient] = _plain(f"{type(error).__name__}: {error}", message)


def _mail(message: Message) -> str:
    addresses.check(message.address)
    EmailMessage(message.title, message.body, settings.DEFAULT_FROM_EMAIL, [message.address]).send()
    return ""


def _apprise(message: Message) -> str:
    """Apprise tells what went wrong in its log only, which is taken per call."""
    try:
        addresses.check(message.address)
    except addresses.Refused as error:
        return str(error)
    service = addresses.service(message.address)
    if service is None:
        return f"apprise does not understand the address. {addresses.ADVICE}"
    import apprise

    sender = apprise.Apprise()
    sender.add(service)
    said: list[str] = []
    kind = apprise.NotifyType.WARNING if message.is_bad else apprise.NotifyType.SUCCESS
    with guard.only_outside() as refused:
        went = sender.notify(
            title=message.title,
            body=message.body,
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
            log_callback=lambda entry, _: said.append(str(entry.message)),
            log_level=logging.WARNING,
        )
    if went:
        return ""
    if refused:
        return refused[0]
    return _plain(" ".join(said) or "The service did not take it, and did not say why.", message)


def _plain(words: str, message: Message) -> str:
    """Without the address, of which libraries quote parts."""
    for secret in _parts(message.address):
        words = words.replace(secret, "•••")
    return words[:500]


def _parts(address: str) -> list[str]:
    """Of a URL whatever is long enough to be a token."""
    if addresses.is_mail(address):
        return [address]
    _, _, rest = address.partition("://")
    for sign in "/?&=@:":
        rest = rest.replace(sign, " ")
    return sorted({address, *(one for one in rest.split() if len(one) > 7)}, key=len, reverse=True)
