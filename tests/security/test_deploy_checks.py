"""What `check --deploy` says of settings that would let somebody read or guess."""

import base64
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from sync import checks
from sync.clients.addresses import is_private


def ids(found: list[Any]) -> list[str]:
    return [message.id.removeprefix("orderbridge.") for message in found]


@pytest.mark.parametrize("name", ["WOO_URL", "CRM_URL", "QUEUE_BROKER"])
@pytest.mark.parametrize(
    "host", ["shop.example", "8.8.8.8", "[2606:4700::1111]", "user:pass@crm.example:8080", "SHOP.EXAMPLE."]
)
def test_keys_do_not_go_open_over_the_internet(settings: Any, name: str, host: str) -> None:
    scheme = "redis" if name == "QUEUE_BROKER" else "http"
    setattr(settings, name, f"{scheme}://{host}/path")
    [found] = checks.nothing_goes_open_over_the_internet()
    assert ids([found]) == ["W030"] and name in found.msg and f"{scheme}s://" in str(found.hint)
    assert "pass@" not in found.msg
    setattr(settings, name, f"{scheme}s://{host}/path")
    assert checks.nothing_goes_open_over_the_internet() == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "172.20.0.2",
        "::1",
        "fd00::1",
        "169.254.1.1",
        "localhost",
        "wordpress",
        "a.local",
        "crm.internal",
    ],
)
def test_a_network_of_ones_own_may_be_open(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize(
    "host", ["shop.example", "local.example", "172.32.0.1", "internal.evil.example", "2606:4700::1111"]
)
def test_the_internet_is_not_ones_own(host: str) -> None:
    assert not is_private(host)


GOOD = "b8a1c7e3f0d94625aa17"
WEAK = [
    "x",
    "s3cr3t",
    "a" * 64,
    "ab" * 32,
    "abcdefgh" * 8,
    "changeme-changeme-9",
    "My-Password-2026-!",
    "0123456789abcdef",
]


LISTS = ("WOO_WEBHOOK_SECRETS", "CRM_WEBHOOK_SECRETS", "AUDIT_KEYS", "CREDENTIAL_KEYS")


@pytest.mark.parametrize("name", [*LISTS, "METRICS_TOKEN"])
@pytest.mark.parametrize("weak", WEAK)
def test_a_secret_that_can_be_guessed_is_named_and_not_shown(settings: Any, name: str, weak: str) -> None:
    settings.CRM_SIGNATURE = "hmac-sha256-hex"
    for one in LISTS:
        setattr(settings, one, [GOOD])
    assert checks.no_secret_can_be_guessed() == []
    setattr(settings, name, weak if name == "METRICS_TOKEN" else [GOOD, weak])
    [found] = checks.no_secret_can_be_guessed()
    assert ids([found]) == ["W031"] and name in found.msg
    assert len(weak) < 3 or weak not in f"{found.msg} {found.hint}"


@pytest.mark.parametrize(("secret", "weak"), [(b"x", True), (b"a" * 40, True), (bytes(range(7, 31)), False)])
def test_of_a_standard_secret_the_bytes_count(settings: Any, secret: bytes, weak: bool) -> None:
    settings.WOO_WEBHOOK_SECRETS = []
    settings.CRM_WEBHOOK_SECRETS = [f"whsec_{base64.b64encode(secret).decode()}"]
    assert bool(checks.no_secret_can_be_guessed()) == weak


SHORT = ["a", "cs_1", "1234567", "a" * 40]


@pytest.mark.parametrize("name", ["WOO_CONSUMER_SECRET", "CRM_TOKEN", "WOO_BASIC_AUTH"])
@pytest.mark.parametrize("key", SHORT)
def test_a_key_of_a_side_that_can_be_tried_out_is_named(settings: Any, name: str, key: str) -> None:
    settings.WOO_CONSUMER_SECRET = settings.CRM_TOKEN = GOOD
    before = "staging:" if name == "WOO_BASIC_AUTH" else ""
    setattr(settings, name, before + GOOD)
    assert checks.keys_of_the_sides_are_whole() == []
    setattr(settings, name, before + key)
    [found] = checks.keys_of_the_sides_are_whole()
    assert ids([found]) == ["W033"] and name in found.msg


def test_of_a_crm_that_is_not_called_the_token_does_not_matter(settings: Any) -> None:
    settings.WOO_CONSUMER_SECRET, settings.CRM_TOKEN, settings.CRM_BACKEND = GOOD, "a", "none"
    assert checks.keys_of_the_sides_are_whole() == []


ANYBODYS = [
    ("ALLOWED_HOSTS", "*"),
    ("ALLOWED_HOSTS", ".com"),
    ("CSRF_TRUSTED_ORIGINS", "https://*"),
    ("CSRF_TRUSTED_ORIGINS", "https://*.com"),
    ("CSRF_TRUSTED_ORIGINS", "https://*.com:8443"),
]


@pytest.mark.parametrize(("name", "one"), ANYBODYS)
def test_names_that_are_anybodys_are_named(settings: Any, name: str, one: str) -> None:
    settings.ALLOWED_HOSTS = ["bridge.example", "127.0.0.1", "localhost", "[::1]", ".shop.example", ".local"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://bridge.example", "https://*.shop.example", "http://web:8000"]
    assert checks.not_everybody_is_trusted() == []
    getattr(settings, name).append(one)
    [found] = checks.not_everybody_is_trusted()
    assert ids([found]) == ["W034"] and f"{name} has {one}," in found.msg


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize("host", ["redis.example.com", "10.0.0.7:6380", "redis"])
def test_a_broker_elsewhere_without_a_password_is_named(settings: Any, scheme: str, host: str) -> None:
    settings.QUEUE_BROKER = f"{scheme}://{host}/0"
    assert ids(checks.the_broker_asks_for_a_password()) == ["W035"]
    settings.QUEUE_BROKER = f"{scheme}://:{GOOD}@{host}/0"
    assert checks.the_broker_asks_for_a_password() == []


@pytest.mark.parametrize(
    "broker", ["orm", "redis://127.0.0.1/0", "redis://localhost:6379", "unix:///run/redis", "redis://["]
)
def test_a_broker_of_this_machine_needs_none(settings: Any, broker: str) -> None:
    settings.QUEUE_BROKER = broker
    assert checks.the_broker_asks_for_a_password() == []


def test_an_address_that_is_none_is_for_other_checks(settings: Any) -> None:
    settings.WOO_URL, settings.CRM_URL, settings.QUEUE_BROKER = "http://[", "", "orm"
    assert checks.nothing_goes_open_over_the_internet() == []


def test_a_file_that_others_may_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in (".env", "db.sqlite3", "db.sqlite3-wal")]
    monkeypatch.setenv("ORDERBRIDGE_ENV_FILE", str(paths[0]))
    monkeypatch.setitem(settings.DATABASES, "default", {"ENGINE": "django.db.backends.sqlite3", "NAME": paths[1]})
    for path in paths:
        path.touch()
        path.chmod(0o644)
    found = checks.no_file_is_for_others()
    assert [str(path) in message.msg for path, message in zip(paths, found, strict=True)] == [True] * 3
    for path in paths:
        path.chmod(0o600)
    assert checks.no_file_is_for_others() == []


def test_what_our_processes_make_is_for_them_alone(tmp_path: Path) -> None:
    """The settings have been read, whatever the umask was."""
    path = tmp_path / "made"
    path.touch()
    assert path.stat().st_mode & 0o077 == 0
