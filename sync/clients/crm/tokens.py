"""A token that a CRM gives for an hour or so: one for all workers, fetched by one of them, and stored encrypted.

A backend whose CRM wants one makes its client with `TokenClient`, and says how it is fetched (docs/adding-a-crm.md).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Self

from django.db import connection
from django.db.models import Q

from sync.clients.crm.base import Access
from sync.clients.crm.cache import Cache
from sync.clients.errors import AuthFailed, Blocked, GivenUp, NotConfigured, RateLimited, SideError, Unreachable
from sync.clients.http import Answer, CallRecord, JsonClient
from sync.models import SideState
from webhooks import clock
from webhooks.credentials import WrongKey, decrypt, encrypt, hide_passing

EARLY = 30.0
"""Seconds before its end in which the next one is fetched: longer than a call takes, so that none ends on its way."""
TURN = timedelta(seconds=45)
"""For as long as one worker may fetch. Whoever dies in it keeps nobody away for longer."""
PATIENCE, PAUSE = 10.0, 0.1
"""Seconds that the others wait for it, and between two looks."""
USUAL, LONGEST = 3600.0, 24 * 3600.0
REVOKED = "Grant Orderbridge the access anew in the CRM, then enter the new keys on the connection's page or in .env."


@dataclass(frozen=True, kw_only=True)
class Token:
    value: str = field(repr=False)
    seconds: float
    "For which it lasts, from when it was given or read."
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, data: Any) -> Self:
        """Of an answer of OAuth 2. Raises Blocked."""
        try:
            value, seconds = data["access_token"], float(data.get("expires_in") or USUAL)
            if isinstance(value, str) and value and seconds > 0:
                return cls(value=value, seconds=min(seconds, LONGEST))
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        raise Blocked("The CRM's answer holds no token.", side="crm")

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.since)


class TokenClient(JsonClient):
    """Sends the token of its connection with each call. One that is refused (401) is replaced, and the call repeated
    once: a CRM that knows nobody has done nothing."""

    def __init__(
        self,
        access: Access,
        fetch: Callable[[JsonClient], Token],
        *,
        login: str = "",
        scheme: str = "Bearer",
        **more: Any,
    ) -> None:
        """`fetch` asks for a token with the client that it is given, of the address `login` or else the CRM's own."""
        more |= {"before_call": access.before_call, "public_only": access.public_only}
        super().__init__("crm", access["url"], on_call=access.on_call, **more)
        self.access, self.fetch, self.scheme = access, fetch, scheme
        self.asking = JsonClient("crm", login or access["url"], on_call=self._keep_without_answer, **more)
        self.held = Cache.of(access)
        known = "\n".join(f"{name}={value}" for name, value in sorted(access.values.items()))
        self.of = hashlib.sha256(known.encode(errors="replace")).hexdigest()
        "What leads to the account: a token of other keys is none of ours."

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        used = self._token()
        try:
            return super().request(method, path, headers={**(headers or {}), **self._shown(used)}, **more)
        except AuthFailed as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        fresh = self._token(refused=used)
        return super().request(method, path, headers={**(headers or {}), **self._shown(fresh)}, **more)

    def _shown(self, token: str) -> dict[str, str]:
        return {"Authorization": f"{self.scheme} {token}"}

    def _keep_without_answer(self, record: CallRecord) -> None:
        is_good = record.status is not None and record.status < HTTPStatus.BAD_REQUEST
        self.on_call(replace(record, response_body="•••") if is_good else record)

    def _token(self, refused: str = "") -> str:
        token: Token | None = self.held.get("token", lambda: None)
        if token is None or token.left < EARLY or token.value == refused:
            self.held.forget("token")
            token = self.held.get("token", lambda: self._shared(refused))
        return token.value

    def _shared(self, refused: str) -> Token:
        """That of all workers. Whoever finds that it ends fetches the next one. The others use it while it lasts, and
        else wait."""
        until = time.monotonic() + PATIENCE
        while True:
            with _database():
                rows = SideState.objects.filter(pk=self.access.slug)
                row = rows.first()
                stored = self._stored(row) if row else None
                if stored and stored.value != refused and stored.left >= EARLY:
                    return stored
                now = clock.now()
                # Another worker may have begun a moment later. What is farther off was set by a wrong clock.
                waits = Q(token_turn_ends_at__gt=now, token_turn_ends_at__lte=now + 2 * TURN)
                # Of the token that was read: where another one came meanwhile, nobody has to ask.
                mine = row and rows.exclude(waits).filter(token=row.token).update(token_turn_ends_at=now + TURN)
            if row is None:  # a connection that is tried before it is stored
                return self._fetched()
            if mine:
                return self._fetched_for_all()
            if stored and stored.value != refused and stored.left > 0:
                return stored
            if time.monotonic() >= until:
                words = "Another worker asks the CRM for a token, and has not got it yet."
                raise Unreachable(words, side="crm", about_order=False)
            time.sleep(PAUSE)

    def _stored(self, row: SideState) -> Token | None:
        """What cannot be decrypted any more is fetched anew."""
        try:
            kept = decrypt(row.token, passing=True)
        except WrongKey:
            return None
        if kept.get("of") != self.of or row.token_ends_at is None:
            return None
        return Token(value=kept["value"], seconds=(row.token_ends_at - clock.now()).total_seconds())

    def _fetched_for_all(self) -> Token:
        kept: dict[str, Any] = {}
        try:
            fresh = self._fetched()
            kept["token"] = encrypt({"value": fresh.value, "of": self.of})
            return fresh
        finally:
            with _database():
                if kept:
                    kept["token_ends_at"] = clock.now() + timedelta(seconds=fresh.left)
                SideState.objects.filter(pk=self.access.slug).update(**kept, token_turn_ends_at=None)

    def _fetched(self) -> Token:
        """Whatever goes wrong is about the side, and nothing of an order has been sent."""
        try:
            fresh = self.fetch(self.asking)
        except (RateLimited, Unreachable, NotConfigured, GivenUp):
            raise
        except SideError as error:
            about: dict[str, Any] = {"side": "crm", "status": error.status, "code": error.code, "about_order": False}
            if error.again and not isinstance(error, AuthFailed):
                raise Unreachable(f"The CRM gives no token: {error.message}", **about) from error
            raise AuthFailed(f"The CRM gives no token: {error.message}", advice=REVOKED, **about) from error
        hide_passing([fresh.value])
        return fresh


@contextmanager
def _database() -> Iterator[None]:
    """A thread that only calls has no connection to the database, and keeps none."""
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open:
            connection.close()
