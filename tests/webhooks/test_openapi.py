"""What the project says about its endpoints at /openapi.json, compared with what they do."""

from typing import Any

import pytest
from django.test import Client

from tests.deliveries import CRM, WOO, post, recorded
from webhooks.sources import crm, woocommerce

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(client: Client) -> Any:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_both_endpoints_are_described_and_nothing_else(document: Any) -> None:
    named = [f"{url}{{connection}}/" for url in (WOO, CRM)]
    there = {path: list(methods) for path, methods in document["paths"].items()}
    unsigned = f"{CRM}{{connection}}/{{secret}}/"
    assert there == {path: ["post"] for path in (WOO, CRM, *named, unsigned)}
    for path in (*named, unsigned):
        answers = document["paths"][path]["post"]["responses"]
        assert set(answers) == {"200", "400", "401", "404", "413", "503"}
        in_path = [one["name"] for one in document["paths"][path]["post"]["parameters"] if one["in"] == "path"]
        assert in_path == (["connection", "secret"] if path == unsigned else ["connection"])


def test_every_status_of_the_contract_is_described_with_its_words(document: Any) -> None:
    for url in (WOO, CRM):
        answers = document["paths"][url]["post"]["responses"]
        assert set(answers) == {"200", "400", "401", "413", "503"}
        words = {
            status: answers[status]["content"]["application/json"]["schema"]["properties"]["error"]["enum"]
            for status in ("400", "401", "413", "503")
        }
        assert words["401"] == ["bad_signature", "stale_timestamp"] and words["413"] == ["too_large"]
        assert "Retry-After" in answers["503"]["headers"]


def test_the_headers_that_the_sources_read_are_named(document: Any) -> None:
    for url, source in ((WOO, woocommerce()), (CRM, crm())):
        named = {one["name"] for one in document["paths"][url]["post"]["parameters"] if one["in"] == "header"}
        assert source is not None and source.header in named


def test_it_tells_no_secret_and_needs_no_session(client: Client) -> None:
    text = client.get("/openapi.json").content.decode()
    assert "lab-webhook-secret" not in text and "whsec_" not in text
    assert post(WOO, *recorded("00008")).status_code == 200
