"""The endpoints against the document that they are described by: schemathesis invents what it allows, and what not."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from integration_site.wsgi import application
from tests.fuzz.sent import fewer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_connection(settings: Any) -> Iterator[None]:
    """The end of a request would close the connection that the test's transaction lives on."""
    settings.ALLOWED_HOSTS = ["*"]
    with patch("django.http.response.signals.request_finished.send"), patch("django.db.connection.close"):
        yield


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("url", ["/webhooks/woocommerce/", "/webhooks/crm/"])
def test_the_endpoints_do_what_the_document_says(url: str, mode: schemathesis.GenerationMode) -> None:
    document = schemathesis.openapi.from_wsgi("/openapi.json", application)

    @fewer
    @given(st.data())
    def each(data: st.DataObject) -> None:
        case = data.draw(document[url]["POST"].as_strategy(generation_mode=mode))
        case.call_and_validate(checks=CHECKS)

    each()
