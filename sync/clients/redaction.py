"""No secret leaves us: what is kept, logged or shown of a call goes through `clean`."""

import base64
import functools
import json
import re
from typing import Any
from urllib.parse import quote

from django.conf import settings

from sync.clients.parsing import parsed
from webhooks.configs import CRM, SHOP, CrmConfig, ShopConfig
from webhooks.credentials import known_secrets

SHORTEST_SECRET = 8
"""Hiding a shorter one would blot out words."""
# Whatever backend it is of: what is called so is nobody's to keep, in a query, a form, JSON, or JSON within JSON.
SECRET_NAME = re.compile(
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|(?:api|access|private|consumer|auth)[_-]?key|hapikey|authorization"
    r"|credentials?|assertion|signature|session_?id|cookie|jwt|otp)s?(?:_\w+|\[\w*\])?",
    re.IGNORECASE,
)
SECRET_WORDS = (
    *("token", "secret", "passw", "passphrase", "pwd", "hapikey", "authorization", "credential", "assertion", "jwt"),
    *("signature", "session_id", "sessionid", "cookie", "otp", "oauth_"),
    *(f"{of}{key}" for of in ("api", "access", "private", "consumer", "auth") for key in ("key", "_key", "-key")),
)
"""One of them is in whatever the patterns match: most texts have none, and are spared the patterns."""
SECRETS = (
    (re.compile(rf"((?:oauth_\w+|{SECRET_NAME.pattern})=)[^&\s\"']+", re.IGNORECASE), r"\1•••"),
    (
        re.compile(
            rf"""({SECRET_NAME.pattern}["']\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[{{[].*|[^\s,}}\]]+)""",
            re.IGNORECASE | re.DOTALL,
        ),
        r'\1"•••"',
    ),
    # JSON in JSON that was cut off: where the value ends cannot be told.
    (re.compile(rf'({SECRET_NAME.pattern}\\+"\s*:).*', re.IGNORECASE | re.DOTALL), r"\1•••"),
)
SECRET_SETTING = re.compile(r"[A-Z_]+_(?:KEYS?|SECRETS?|TOKEN|PASSWORD|AUTH)")
USER_IN_URL = re.compile(r"(//)[^/@\s]+@")


def clean(text: str) -> str:
    """Fit to be kept and shown: no secrets, nothing that a database refuses (NUL, lone surrogates)."""
    text = _without_named(text)
    text = USER_IN_URL.sub(r"\1•••@", text)
    for secret in _hidden():
        text = text.replace(secret, "•••")
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def our_keys() -> tuple[str, ...]:
    """Of the environment's pair."""
    shop, crm = ShopConfig.of_environment(SHOP), CrmConfig.of_environment(CRM)
    return (shop.consumer_key, shop.consumer_secret, crm.token, shop.basic_auth)


def _hidden() -> list[str]:
    """Every setting that is named as a secret is one: those of a backend that is yet to come, too. And the secrets of
    every connection that is a row, whether or not it was ever talked to."""
    values = (getattr(settings, name) for name in _secret_settings())
    named = [one for some in values for one in ([some] if isinstance(some, str) else some or ())]
    return _spelled(our_keys(), (*named, *known_secrets()))


@functools.cache
def _secret_settings() -> tuple[str, ...]:
    return tuple(name for name in dir(settings) if SECRET_SETTING.fullmatch(name))


@functools.lru_cache(maxsize=2)
def _spelled(ours: tuple[str, ...], more: tuple[str, ...]) -> list[str]:
    """Every secret, as it is and as calls and answers spell it; the longest first, as one may hold another."""
    consumer_key, consumer_secret, _, user_and_password = ours
    password = user_and_password.partition(":")[2]
    plain = [secret for secret in (*ours, password, *more) if len(secret) >= SHORTEST_SECRET]
    basic = [f"{consumer_key}:{consumer_secret}", *([user_and_password] if user_and_password else [])]
    basic += [one for one in more if ":" in one]
    spelled = [form for secret in plain for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])]
    return sorted({*spelled, *(base64.b64encode(one.encode()).decode() for one in basic)}, key=len, reverse=True)


def _without_named(text: str) -> str:
    """Without what has a secret's name."""
    small = text.lower()
    if not any(word in small for word in SECRET_WORDS):
        return text
    if text[:1] in ("{", "["):
        data, is_json = parsed(text.encode("utf-8", "surrogatepass"))
        if is_json:
            return json.dumps(_emptied(data), ensure_ascii=False)
    for pattern, hidden in SECRETS:
        text = pattern.sub(hidden, text)
    return text


def _emptied(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: "•••" if value and _ends_as_secret(name) else _emptied(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_emptied(one) for one in data]
    return _without_named(data) if isinstance(data, str) else data


@functools.lru_cache(maxsize=1024)
def _ends_as_secret(name: str) -> bool:
    return any(match.end() == len(name) for match in SECRET_NAME.finditer(name))
