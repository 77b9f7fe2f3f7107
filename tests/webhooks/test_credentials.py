"""Stored credentials are read with the keys of the settings, and with nothing else."""

from typing import Any

import pytest

from webhooks import credentials

VALUES = {"consumer_key": "ck_1", "consumer_secret": "cs_ü\n'\"", "token": ""}


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.SECRET_KEY, settings.CREDENTIAL_KEYS = "the secret key of this installation", []


def test_what_is_stored_shows_nothing_and_comes_back_as_it_was() -> None:
    stored = credentials.encrypt(VALUES)
    assert "cs_" not in stored and credentials.encrypt(VALUES) != stored
    assert credentials.decrypt(stored) == VALUES


def test_nothing_stored_is_no_values() -> None:
    assert credentials.decrypt("") == {}
    assert credentials.rotated("") == "" and credentials.is_current("")


@pytest.mark.parametrize(("secret_key", "keys"), [("another", []), ("another", ["third"]), (None, ["third"])])
def test_another_key_reads_nothing_and_says_which_setting(settings: Any, secret_key: str | None, keys: list) -> None:
    stored = credentials.encrypt(VALUES)
    settings.SECRET_KEY, settings.CREDENTIAL_KEYS = secret_key or settings.SECRET_KEY, keys
    for read in (credentials.decrypt, credentials.rotated):
        with pytest.raises(credentials.WrongKey) as error:
            read(stored)
        assert ("CREDENTIAL_KEYS" if keys else "SECRET_KEY") in str(error.value)
        assert "CREDENTIAL_KEYS" in error.value.advice
    assert not credentials.is_current(stored)


@pytest.mark.parametrize("stored", ["x", "gAAAAA", "ü", "{}"])
def test_what_was_never_encrypted_is_no_credential(stored: str) -> None:
    with pytest.raises(credentials.WrongKey):
        credentials.decrypt(stored)


def test_the_first_key_encrypts_and_all_decrypt(settings: Any) -> None:
    of_the_secret_key = credentials.encrypt(VALUES)
    settings.CREDENTIAL_KEYS = ["new", settings.SECRET_KEY]
    assert credentials.decrypt(of_the_secret_key) == VALUES and not credentials.is_current(of_the_secret_key)
    rotated = credentials.rotated(of_the_secret_key)
    settings.CREDENTIAL_KEYS = ["new"]
    assert credentials.decrypt(rotated) == VALUES and credentials.is_current(rotated)


def test_the_parts_of_a_secret_are_hidden_but_no_host_of_an_address() -> None:
    credentials.decrypt(
        credentials.encrypt({"token": "api-key-1:api-secret-1", "address": "json://127.0.0.1:80/tok-1"})
    )
    known = credentials.known_secrets()
    assert {"api-key-1", "api-secret-1", "json://127.0.0.1:80/tok-1"} <= set(known)
    assert not any(secret in "http://127.0.0.1:40235/orders/C-1001" for secret in known)
