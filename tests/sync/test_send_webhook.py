"""What `send_webhook` signs is what our own endpoint accepts, over HTTP and under every scheme."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.deliveries import CRM_SECRET, PAYLOADS
from webhooks.connections import Bridge, Connection
from webhooks.credentials import encrypt
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = {"event_id": "evt_1", "crm_order_id": "C-1001", "status": "shipped", "version": 7, "note": "Grüße 🚪"}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(EVENT, ensure_ascii=False, indent=2) + "\n")
    return str(path)


def send(file: str, url: str, **options: Any) -> list[str]:
    """The first two words of each answer: its status and what became of the delivery."""
    out = StringIO()
    call_command("send_webhook", file, url=url, stdout=out, **options)
    lines = [line.split(" ", 1) for line in out.getvalue().splitlines()]
    return [f"{status} {json.loads(answer)['status']}" for status, answer in lines]


@pytest.mark.cases_alike
@pytest.mark.parametrize("path", ["/webhooks/crm/", "/webhooks/crm", "/webhooks/crm/?a=1&b=%2F"])
@pytest.mark.parametrize("header", ["X-CRM-Signature", "X-Signature-Of-Ours", ""])
@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("standard-webhooks", CRM_SECRET),
        ("hmac-sha256-hex", "a secret of the CRM ü"),
        ("hmac-sha256-base64", "a secret of the CRM ü"),
        ("woocommerce", "a secret of the CRM ü"),
        ("hubspot-v3", "client-secret"),
    ],
)
def test_the_endpoint_accepts_what_is_signed(
    live_server: Any, settings: Any, file: str, scheme: str, secret: str, header: str, path: str
) -> None:
    settings.CRM_SIGNATURE, settings.CRM_SIGNATURE_HEADER = scheme, header
    settings.CRM_WEBHOOK_SECRETS = [secret, "an-older-one"]
    # What the world knows us by is not where this delivery goes.
    settings.PUBLIC_URL = "https://hub.example"
    assert send(file, f"{live_server.url}{path}", repeat=2) == ["200 accepted", "200 duplicate"]
    event = WebhookEvent.objects.get()
    assert (event.order_ref, event.version, event.signed_by[:8]) == ("C-1001", 7, "secret 1")
    assert json.loads(bytes(event.body)) == EVENT


@pytest.mark.parametrize("number", ["00008", "00020", "00025"])
def test_a_capture_is_accepted(live_server: Any, number: str) -> None:
    capture = str(next(PAYLOADS.glob(f"{number}-*.json")))
    url = f"{live_server.url}/webhooks/woocommerce/"
    assert send(capture, url, repeat=2) == ["200 accepted", "200 duplicate"]


@pytest.mark.parametrize("scheme", ["standard-webhooks", "hmac-sha256-hex", "hubspot-v3"])
def test_a_connection_of_the_back_office_signs_with_its_own(
    live_server: Any, settings: Any, file: str, scheme: str
) -> None:
    settings.PUBLIC_URL = live_server.url
    told = encrypt({"webhook_secrets": f"{CRM_SECRET},older"})
    crm = Connection.objects.create(
        slug="crm-b", name="B", kind="rest", settings={"signature": scheme, "signature_header": "X-B"}, credentials=told
    )
    shop = Connection.objects.create(
        slug="shop-b", name="B", kind="woocommerce", credentials=encrypt({"webhook_secrets": "of-shop-b"})
    )
    bridge = Bridge.objects.create(slug="b", name="B", shop=shop, crm=crm, state="on")
    assert send(file, "", connection="crm-b", repeat=2) == ["200 accepted", "200 duplicate"]
    capture = str(next(PAYLOADS.glob("00008-*.json")))
    assert send(capture, "", connection="shop-b") == ["200 accepted"]
    assert set(WebhookEvent.objects.values_list("bridge", "source")) == {(bridge.pk, "crm"), (bridge.pk, "woocommerce")}
    with pytest.raises(CommandError, match="No connection for crm is called 'shop-b'") as raised:
        send(file, "", connection="shop-b")
    assert raised.value.returncode == 2


def test_an_unknown_scheme_is_wrong_use(settings: Any, file: str) -> None:
    settings.CRM_SIGNATURE = "nonsense"
    with pytest.raises(CommandError, match="'nonsense'") as raised:
        send(file, "http://127.0.0.1:1/")
    assert raised.value.returncode == 2
