"""Where our keys go: to the two configured hosts, whatever an id, an answer or the machine's environment says."""

import ast
import base64
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import responses
from django.core.signing import BadSignature
from django_q import core_signing as signing
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import PickleSerializer, SignedPackage

from sync.clients import crm
from sync.clients import shop as shop_client
from sync.clients.errors import SideError
from sync.monitoring import bridge_checks
from webhooks import wake as wake_module

ROOT = Path(__file__).parent.parent.parent
OURS = ("integration_site", "sync", "orders", "webhooks")
SHOP, CRM = "https://shop.example", "https://crm.example/api"
IDS = [
    "../../admin",
    "..",
    ".",
    "a/b",
    "//evil.example/x",
    "https://evil.example/",
    "@evil.example",
    "C-1?updated_since=x",
    "C-1#fragment",
    "C-1%2e%2e%2f",
    "C 1",
    "\\evil.example",
    "Ⅳ/‥/．．",
    "C-1\r\nX-Injected: yes",
]


@pytest.fixture(autouse=True)
def both(settings: Any) -> None:
    settings.WOO_URL, settings.CRM_URL = SHOP, CRM


def ours() -> list[tuple[Path, ast.AST]]:
    return [(path, ast.parse(path.read_text())) for folder in OURS for path in (ROOT / folder).rglob("*.py")]


@responses.activate
@pytest.mark.parametrize("crm_order_id", IDS)
def test_an_id_of_the_crm_stays_one_piece_of_the_path(crm_order_id: str) -> None:
    responses.add_callback("GET", re.compile(".*"), callback=lambda request: (404, {}, "{}"))
    with suppress(SideError):
        crm.connect().get(crm_order_id)
    for call in responses.calls:
        parts = urlsplit(call.request.url)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "crm.example", "", "")
        assert parts.path.startswith("/api/orders/") and parts.path.count("/") == 3
        assert parts.path.rpartition("/")[2] not in ("", ".", "..")


@responses.activate
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_our_keys_elsewhere(status: int) -> None:
    for method, url in (("GET", f"{CRM}/orders/C-1"), ("GET", f"{SHOP}/wp-json/wc/v3/orders/14")):
        responses.add(method, url, status=status, headers={"Location": "https://evil.example/"}, json={})
    with pytest.raises(SideError):
        crm.connect().get("C-1")
    with pytest.raises(SideError):
        shop_client.connect().get(14)
    assert {urlsplit(str(call.request.url)).hostname for call in responses.calls} == {"crm.example", "shop.example"}


@responses.activate
def test_the_doctors_own_ping_follows_no_redirect_either(settings: Any) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    url = "https://bridge.example/webhooks/woocommerce/"
    responses.add("POST", url, status=302, headers={"Location": "https://evil.example"})
    findings = list(bridge_checks.reached_at(url, "https://shop.example"))
    assert "redirects to" in findings[0].words and len(responses.calls) == 1


def test_every_call_out_is_made_in_known_places_and_none_of_them_trusts_the_environment() -> None:
    """A proxy of the environment or a `.netrc` would get our keys to see; a redirect takes them elsewhere."""
    imports = {
        str(path.relative_to(ROOT))
        for path, tree in ours()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and {one.name.partition(".")[0] for one in node.names} & NETWORK)
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in NETWORK)
    }
    outside = {name for name in imports if not name.startswith("sync/sandbox/")}
    makes_no_call = {
        "sync/clients/addresses.py",
        "sync/clients/answers.py",
        "sync/clients/deadline.py",
        "sync/clients/causes.py",
    }  # for those of sync/clients/http.py: their bounds, and their errors
    assert outside - makes_no_call <= {
        "sync/clients/http.py",
        "sync/monitoring/bridge_checks.py",
        "sync/clients/shop.py",
        "sync/management/commands/send_webhook.py",
        "integration_site/company.py",
    }
    for name in ("sync/clients/http.py", "sync/monitoring/bridge_checks.py"):
        text = (ROOT / name).read_text()
        assert "trust_env = False" in text and "allow_redirects=False" in text
    directory = (ROOT / "integration_site/company.py").read_text()
    assert "trust_env = False" in directory and "max_redirects = 0" in directory


NETWORK = {"requests", "urllib3", "httpx", "aiohttp", "smtplib", "http.client"}


# --- the queue -----------------------------------------------------------------------------------------------------


def test_the_queue_is_handed_names_and_ids_only() -> None:
    """Payloads are pickles: what is not in them can be neither stolen nor forged."""
    calls = [
        (path, node)
        for path, tree in ours()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("enqueue", "async_task", "schedule")
    ]
    assert calls
    for path, call in calls:
        for argument in call.args[1:]:
            text = ast.unparse(argument)
            fits = isinstance(argument, ast.Constant) or re.search(r"(^|[._])(pk|id)$", text) or text == "*arguments"
            assert fits, f"{path}: {text} is handed to the queue; hand over its id"


@pytest.mark.django_db
def test_what_lies_in_the_queue_holds_a_name_and_an_id() -> None:
    wake_module.enqueue("sync.tasks.carry_out", 7)
    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert (task["func"], task["args"]) == ("sync.tasks.carry_out", (7,))


class Evil:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a forged payload was opened",))


@pytest.mark.parametrize("key", [None, "another-key" * 5])
def test_a_payload_that_our_key_did_not_sign_is_never_opened(key: str | None) -> None:
    forged = base64.urlsafe_b64encode(pickle.dumps(Evil())).decode() + ":1:" + "x" * 43
    if key:
        forged = signing.dumps(Evil(), key=key, salt=Conf.PREFIX, serializer=PickleSerializer)
    with pytest.raises(BadSignature):
        SignedPackage.loads(forged)


# --- secrets are compared in constant time -------------------------------------------------------------------------


def test_no_secret_is_compared_with_an_equals_sign() -> None:
    """Not measured, as such a test would fail by chance; `python -m tests.benchmarks.signatures` prints figures."""
    for name in ("webhooks/signatures.py", "integration_site/health.py"):
        tree = ast.parse((ROOT / name).read_text())
        compared = [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        ]
        suspect = [
            text for text in compared if any(word in text for word in ("mac", "given", "token", "secret", "key"))
        ]
        assert not suspect
        assert "hmac.compare_digest" in ast.unparse(tree)
