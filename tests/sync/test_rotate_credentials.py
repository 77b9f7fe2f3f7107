"""The keys that encrypt credentials are changed without losing one; a wrong key is an error and overwrites nothing."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command

from tests.people import signed_in
from webhooks.credentials import decrypt, encrypt
from webhooks.models import Connection

pytestmark = pytest.mark.django_db

SLUGS = ["one", "two"]


@pytest.fixture(autouse=True)
def stored(settings: Any) -> None:
    settings.CREDENTIAL_KEYS = ["old"]
    for slug in SLUGS:
        kept = encrypt({"token": f"token-{slug}"})
        Connection.objects.create(
            slug=slug, name=slug, kind="rest", settings={"url": "https://x.example"}, credentials=kept
        )


def rows() -> list[str]:
    return list(Connection.objects.filter(slug__in=SLUGS).order_by("pk").values_list("credentials", flat=True))


def run(**options: Any) -> Any:
    out = StringIO()
    call_command("rotate_credentials", json=True, stdout=out, **options)
    return json.loads(out.getvalue())


def test_a_new_key_takes_over_and_the_old_one_can_go(settings: Any) -> None:
    settings.CREDENTIAL_KEYS = ["new", "old"]
    before = rows()
    assert run(dry_run=True) == {"dry_run": True, "rotated": SLUGS, "current": []} and rows() == before
    assert run() == {"dry_run": False, "rotated": SLUGS, "current": []}
    assert run() == {"dry_run": False, "rotated": [], "current": SLUGS}
    settings.CREDENTIAL_KEYS = ["new"]
    assert [decrypt(one)["token"] for one in rows()] == ["token-one", "token-two"]


def test_a_wrong_key_is_named_and_nothing_is_overwritten(settings: Any) -> None:
    Connection.objects.filter(slug="one").update(credentials=encrypt({"token": "t"}))
    before = rows()
    settings.CREDENTIAL_KEYS = ["wrong"]
    with pytest.raises(CommandError, match="CREDENTIAL_KEYS") as error:
        run()
    assert error.value.returncode == 1 and rows() == before
    [found] = [one for one in checks.run_checks() if one.id == "orderbridge.E024"]
    assert found.level == checks.ERROR and "CREDENTIAL_KEYS" in found.msg and "one, two" in found.msg
    client = signed_in("manager")
    for slug in SLUGS:
        pk = Connection.objects.get(slug=slug).pk
        page = client.get(f"/admin/webhooks/connection/{pk}/change/").content.decode()
        assert "CREDENTIAL_KEYS" in page and "Unreadable" in page
        client.post(f"/admin/webhooks/connection/{pk}/keys/", {"url": "https://x.example", "token": "n", "reason": "r"})
    assert rows() == before


def test_with_the_right_keys_the_check_is_silent(settings: Any) -> None:
    settings.CREDENTIAL_KEYS = ["new", "old"]
    assert [one for one in checks.run_checks() if one.id == "orderbridge.E024"] == []
