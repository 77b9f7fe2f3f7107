"""The backend of docs/adding-a-crm.md does what every backend must do, as it is printed there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access
from sync.clients.http import Answer, JsonClient
from sync.sandbox.crm import SandboxCrm
from tests.sync.crm_contract import CrmContract, Stage

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-crm.md"


@pytest.fixture
def sandbox(settings: Any) -> Iterator[SandboxCrm]:
    one = SandboxCrm(token="a-token-of-the-crm")
    one.start()
    settings.CRM_URL, settings.CRM_TOKEN = one.url, one.token
    yield one
    one.stop()


def printed(*places: int) -> dict[str, Any]:
    """What the blocks of code at these places of the page make."""
    blocks = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    module: dict[str, Any] = {"__name__": "acme.orderbridge"}
    for place in places:
        exec(compile(blocks[place], str(PAGE), "exec"), module)  # noqa: S102
    return module


def test_its_webhooks_are_read_as_printed() -> None:
    hooks = printed(0, 1)["AcmeCrm"].hooks
    order = b'{"_model": "sale.order", "_id": 3, "state": "sale"}'
    [signal] = hooks.parse(order, {})
    assert (hooks.schema, signal.order_ref, signal.status) == ("acme/1", "3", "sale")
    assert hooks.parse(order.replace(b"sale.order", b"res.partner"), {}) == []


def test_its_token_is_fetched_as_printed() -> None:
    acme = printed(0, 2)["AcmeCrm"](Access(values={"refresh_token": "the-right"}))
    asked: list[Any] = []

    class Login(JsonClient):
        def request(self, *call: Any, **more: Any) -> Answer:
            asked.append((*call, more))
            return Answer(status=200, data={"access_token": "short-lived", "expires_in": 3600}, headers={})

    token = acme.fetch(Login("crm", ""))
    assert (token.value, token.seconds) == ("short-lived", 3600)
    form = {"grant_type": "refresh_token", "refresh_token": "the-right"}
    assert asked == [("POST", "/oauth/v2/token", {"form": form})]


class TestTheBackendToBeginWith(CrmContract):
    @pytest.fixture
    def stage(self, sandbox: SandboxCrm) -> Stage:
        acme = printed(0)["AcmeCrm"]
        return Stage(
            kind=acme,
            access=crm_backends.environment(acme),
            move=sandbox.set_status,
            take_away=sandbox.stop,
            missing_id="C-999",
            status="paid",
        )
