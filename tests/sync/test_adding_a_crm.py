"""The backend of docs/adding-a-crm.md does what every backend must do, as it is printed there."""

import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import Client

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, Crm, access
from sync.clients.crm.defaults import ensure_rules
from sync.clients.errors import Rejected
from sync.clients.http import Answer, JsonClient
from sync.sandbox.crm import SandboxCrm
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from tests.sync.crm_contract import ORDER, CrmContract, Stage
from tests.sync.money import CASES, Case

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-crm.md"
NAME = "acme.orderbridge"
SECRET = "a-secret-of-acme"


@pytest.fixture
def sandbox() -> Iterator[SandboxCrm]:
    one = SandboxCrm(token="a-token-of-the-crm")
    one.start()
    yield one
    one.stop()


def printed(*places: int) -> dict[str, Any]:
    """What the blocks of code at these places of the page make."""
    blocks = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    module: dict[str, Any] = {"__name__": NAME}
    for place in places:
        exec(compile(blocks[place], str(PAGE), "exec"), module)  # noqa: S102
    return module


@pytest.fixture
def acme() -> Any:
    return printed(0)["AcmeCrm"]


class TestTheBackendToCopy(CrmContract):
    @pytest.fixture
    def stage(self, acme: type[Crm], sandbox: SandboxCrm) -> Stage:
        return Stage(
            kind=acme,
            access=access(acme.schema, {"url": sandbox.url, "token": sandbox.token}),
            move=sandbox.set_status,
            take_away=sandbox.stop,
            missing_id="C-999",
            status="paid",
        )

    def test_what_it_refuses_is_about_the_order(self, crm: Crm, stage: Stage, sandbox: SandboxCrm) -> None:
        sandbox.faults.add("422", method="POST")
        with pytest.raises(Rejected, match="Acme refuses the order") as raised:
            crm.create("14", stage.compose(ORDER))
        assert raised.value.about_order

    def test_what_is_mapped_goes_over_its_own_values(self, crm: Crm, stage: Stage, sandbox: SandboxCrm) -> None:
        crm.create("14", {**stage.compose(ORDER), "fields": {"note": "mapped"}})
        [made] = sandbox.orders.values()
        assert (made["external_id"], made["order"]["note"]) == ("woo-14", "mapped")
        assert "fields" not in made["order"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_its_documents_agree_with_the_shop(acme: type[Crm], case: Case) -> None:
    told: Mapping[str, Any] = acme.composer(Access(values={})).document(case.shown())
    assert Decimal(told["total"]) == Decimal(case.total)


def test_an_order_goes_there_and_comes_back_by_its_webhook(
    two_sides: TwoSides, acme: type[Crm], settings: Any, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    module = ModuleType(NAME)
    module.AcmeCrm = acme  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, NAME, module)
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS = f"{NAME}.AcmeCrm", [SECRET]
    crm_backends.register_hooks()
    ensure_rules(settings.CRM_BACKEND)
    order = two_sides.order(14, status="pending")
    event = WebhookEventFactory(order_ref="14")
    pipeline.work_once()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    [made] = two_sides.crm.orders.values()
    assert made["order"]["total"] == order["total"]

    two_sides.crm.set_status(made["id"], "paid")
    body = json.dumps([{"type": "customer.changed"}, {"type": "order.changed", "order": {"id": made["id"]}}]).encode()
    for secret, answer in ((b"wrong", 401), (SECRET.encode(), 200)):
        signed = {"X-Acme-Signature": hmac.digest(secret, body, hashlib.sha256).hex()}
        assert client.post("/webhooks/crm/", body, "application/json", headers=signed).status_code == answer
    pipeline.work_once()
    assert two_sides.shop.orders[14]["status"] == "processing"


def test_its_token_is_fetched_as_printed() -> None:
    acme = printed(0, 1)["AcmeCrm"](Access(values={"refresh_token": "the-right"}))
    asked: list[Any] = []

    class Login(JsonClient):
        def request(self, *call: Any, **more: Any) -> Answer:
            asked.append((*call, more))
            return Answer(status=200, data={"access_token": "short-lived", "expires_in": 3600}, headers={})

    token = acme.fetch(Login("crm", ""))
    assert (token.value, token.seconds) == ("short-lived", 3600)
    form = {"grant_type": "refresh_token", "refresh_token": "the-right"}
    assert asked == [("POST", "/oauth/v2/token", {"form": form})]
