"""The keys that encrypt credentials are changed without losing one; a wrong key is an error and overwrites nothing."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.apps import apps
from django.conf import settings as project
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import models

from sync.models import Recipient
from tests.people import signed_in
from webhooks import approvals
from webhooks.credentials import decrypt, encrypt, is_current
from webhooks.models import Connection

pytestmark = pytest.mark.django_db

SLUGS = ["one", "two"]
ENCRYPT = {"sync/monitoring/connecting.py", "sync/notification_models.py", "webhooks/approvals.py"}
"""Whoever encrypts, besides the adapter of second factors; `everything_encrypted` has one of each."""
FETCHED_ANEW = {"sync/clients/crm/tokens.py"}
"""What need not be moved: whoever cannot decrypt it asks the CRM for another (`test_tokens.py`)."""
TOKEN = re.compile(r"gAAAAA[\w-]+=*")


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


def everything_encrypted() -> tuple[Recipient, User]:
    """One of each thing that is stored encrypted, besides connections."""
    recipient = Recipient(name="Night shift")
    recipient.store_address("ntfys://ntfy.sh/orders-4711")
    recipient.save()
    ann = User.objects.create_user("ann")
    TOTP.activate(ann, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(ann)
    _, token = approvals.ask(ann, name="Shop", url="https://shop.example")
    keys = {"consumer_key": "ck_1", "consumer_secret": "cs_1", "key_permissions": "read_write"}
    approvals.take({"user_id": token, **keys})
    return recipient, ann


def tokens_in_the_database() -> list[str]:
    """Of every text and JSON column of every table."""
    found = []
    for model in apps.get_models():
        names = [one.name for one in model._meta.fields if isinstance(one, models.CharField | models.TextField)]
        names += [one.name for one in model._meta.fields if isinstance(one, models.JSONField)]
        for row in model._default_manager.values_list(*names) if names else ():
            found += TOKEN.findall(str(row))
    return found


def test_whatever_is_stored_encrypted_is_moved_to_the_new_key(settings: Any) -> None:
    """Not the keys of connections alone: whoever takes the old key away would else be told of no alarm any more, and
    nobody with a second factor could sign in."""
    recipient, ann = everything_encrypted()
    settings.CREDENTIAL_KEYS = ["new", "old"]
    assert len(run(dry_run=True)["rotated"]) == len(run()["rotated"]) == len(SLUGS) + 4
    settings.CREDENTIAL_KEYS = ["new"]
    tokens = tokens_in_the_database()
    assert len(tokens) == len(SLUGS) + 4 and all(map(is_current, tokens))
    recipient.refresh_from_db()
    assert recipient.stored_address() == "ntfys://ntfy.sh/orders-4711"
    factors = {one.type: one.wrap() for one in ann.authenticator_set.all()}
    assert len(factors["recovery_codes"].get_unused_codes()) == 10
    assert decrypt(factors["totp"].instance.data["secret"]) == {"secret": "JBSWY3DPEHPK3PXP"}


def test_nothing_else_is_encrypted_than_this_test_knows() -> None:
    calls = re.compile(r"(?<!def )\bencrypt\(")
    root = Path(project.BASE_DIR)
    named = (path for folder in ("sync", "orders", "webhooks") for path in (root / folder).rglob("*.py"))
    found = {str(path.relative_to(root)) for path in named if calls.search(path.read_text())}
    assert found - {"webhooks/credentials.py"} == ENCRYPT | FETCHED_ANEW


def test_a_second_factor_of_a_lost_key_is_named_and_nothing_is_overwritten(settings: Any) -> None:
    everything_encrypted()
    before = tokens_in_the_database()
    settings.CREDENTIAL_KEYS = ["new"]
    with pytest.raises(CommandError, match="Nothing was written"):
        run()
    assert tokens_in_the_database() == before


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
