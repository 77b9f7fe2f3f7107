"""Keys and secrets of connections, encrypted where they are stored: the database alone gives none of them away."""

import functools
import json
import re
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Iterable, Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"orderbridge.credentials"
_secrets: set[str] = set()
"""Of connections: what this process has decrypted, or was handed to talk to one."""
_passing: deque[str] = deque(maxlen=50)
"""Those that end by themselves, as tokens that are fetched do: the newest of them, else they would become ever more."""


class WrongKey(Exception):
    """What is stored was encrypted with a key that is not in CREDENTIAL_KEYS. It is left as it is."""

    def __init__(self) -> None:
        super().__init__(f"The stored credentials cannot be decrypted with {setting()}.")
        self.advice = (
            "Put the key that encrypted them into CREDENTIAL_KEYS, as NEW,OLD. Without CREDENTIAL_KEYS that is the "
            "SECRET_KEY of that time. If it is lost, enter the credentials of each connection again."
        )


def encrypt(values: Mapping[str, str]) -> str:
    """With the first key."""
    return _fernet().encrypt(json.dumps(dict(values)).encode()).decode()


def decrypt(stored: str, *, passing: bool = False) -> dict[str, str]:
    """With any of the keys; nothing is stored: no values. Raises WrongKey."""
    if not stored:
        return {}
    try:
        values: dict[str, str] = json.loads(_fernet().decrypt(stored.encode()))
    except InvalidToken as error:
        raise WrongKey from error
    (hide_passing if passing else hide)(values.values())
    return values


def hide_passing(secrets: Iterable[str]) -> None:
    """From whatever is kept, logged or shown while they last."""
    _passing.extend(one for one in secrets if one and one not in _passing)


def hide(secrets: Iterable[str]) -> None:
    """From whatever is kept, logged or shown from now on. A part of one, as in `KEY:SECRET`, is one, too; of an address
    with a token in it, none is: its host stands in many calls."""
    for secret in filter(None, secrets):
        _secrets.update([secret] if "://" in secret else filter(None, (secret, *re.split("[:,]", secret))))


def forget_secrets() -> None:
    """As a fresh process."""
    _secrets.clear()
    _passing.clear()


def known_secrets() -> tuple[str, ...]:
    return tuple(sorted({*_secrets, *_passing}))


def rotated(stored: str) -> str:
    """The same, encrypted with the first key. Raises WrongKey."""
    try:
        return _fernet().rotate(stored.encode()).decode() if stored else ""
    except InvalidToken as error:
        raise WrongKey from error


def is_current(stored: str) -> bool:
    """Whether the first key alone decrypts it."""
    try:
        Fernet(_key(_keys()[0])).decrypt(stored.encode())
    except InvalidToken:
        return not stored
    return True


def setting() -> str:
    """The name of the one that holds the keys."""
    return "CREDENTIAL_KEYS" if settings.CREDENTIAL_KEYS else "SECRET_KEY, from which the key is derived"


def _keys() -> tuple[str, ...]:
    return tuple(settings.CREDENTIAL_KEYS) or (settings.SECRET_KEY,)


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(_key(one)) for one in _keys()])


@functools.lru_cache(maxsize=16)
def _key(secret: str) -> bytes:
    """Fernet wants 32 bytes; people write what they like. One that stands in two settings makes two keys."""
    return urlsafe_b64encode(HKDF(SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode()))
