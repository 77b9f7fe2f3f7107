"""A backend that brings its own webhooks: unsigned, before the change is stored, in its own words. The whole way."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.models import OrderLink, StatusTransition
from sync.backoffice import edited
from sync.clients import crm as crm_backends
from sync.clients.crm.base import TellsByHooks, Traits
from sync.clients.crm.rest import RestCrm
from sync.monitoring.connecting import delivery_url
from tests import pipeline
from tests.deliveries import post
from tests.factories import OrderLinkFactory
from tests.sync.conftest import TwoSides
from webhooks import schemas
from webhooks.connections import Connection
from webhooks.hooks import HOOKS, SECRET_IN_PATH, Hooks, pace
from webhooks.models import WebhookEvent
from webhooks.sources import reader

SECRET = "a-secret-that-is-long"
OPEN = {"secret-in-path", "secret-in-body", "basic", "jwt"}


def read(event: Any) -> dict[str, Any] | None:
    if event["_model"] != "sale.order":
        return None
    return {"crm_order_id": event["_id"], "status": event["state"], "version": event.get("version")}


class HintingCrm(RestCrm):
    """Speaks `rest`, and tells of changes as Odoo 17 does."""

    traits = Traits(hooks="hints", hook_before_commit=True, updated_at="seconds", ids_reused=True)
    hooks = Hooks(schema="hinting/1", parse=reader(read), verify=SECRET_IN_PATH)


@pytest.fixture
def hinting(two_sides: TwoSides, settings: Any) -> Iterator[TwoSides]:
    kind = f"{__name__}.HintingCrm"
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS, settings.VERIFY = kind, [SECRET], "critical"
    crm_backends.register_hooks()
    pace.forget()
    yield two_sides
    del HOOKS[kind]
    del schemas.PARSERS["hinting/1"]


def order(sides: TwoSides) -> OrderLink:
    made = sides.shop.create_order(status="pending")
    there = sides.crm.add_order(str(made["id"]))
    known = {"crm_status": "new", "woo_status": "pending", "external_id": str(made["id"]), "crm_version": None}
    link: OrderLink = OrderLinkFactory(woo_id=made["id"], crm_order_id=there["id"], crm_updated_at=None, **known)
    return link


def hint(link: OrderLink, **said: Any) -> WebhookEvent:
    body = {"_model": "sale.order", "_id": link.crm_order_id, "state": "paid", **said}
    answer = post(f"/webhooks/crm/crm/{SECRET}", json.dumps(body).encode(), {})
    assert answer.json()["status"] == "accepted"
    return WebhookEvent.objects.get(pk=answer.json()["event"])


def test_a_hint_before_commit_is_read_again_a_moment_later_and_its_schema_is_in_the_audit(hinting: TwoSides) -> None:
    link = order(hinting)
    for one in hinting.crm.orders.values():
        one["version"] = None
    event = hint(link)
    pipeline.work_once()
    event.refresh_from_db()
    assert (event.state, event.attempts) == ("retrying", 0), "it shows the state of before, and no attempt is used up"
    hinting.crm.orders[link.crm_order_id].update(status="paid", updated_at="2099-01-01T00:00:00Z")
    now = datetime.now(UTC)
    WebhookEvent.objects.update(next_attempt_at=now, received_at=now - timedelta(seconds=4))
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert event.outcome == "applied", event.reason
    assert hinting.shop.orders[link.woo_id]["status"] == "processing"
    assert StatusTransition.objects.get(link=link).schema == "hinting/1"


def test_a_forged_hint_moves_nothing_whatever_it_says_and_whatever_verify_is(hinting: TwoSides) -> None:
    """With VERIFY=critical, a signed event of a status that is not critical would be believed."""
    link = order(hinting)
    event = hint(link, state="on_hold", version=99)
    WebhookEvent.objects.update(received_at=datetime.now(UTC) - timedelta(minutes=2))
    hinting.forget_calls()
    pipeline.work_once()
    event.refresh_from_db()
    assert event.state == "done"
    assert [call.method for call in hinting.crm.requests] == ["GET"], "the order itself was read"
    assert hinting.shop.orders[link.woo_id]["status"] == "pending"
    assert not hinting.writes()


def test_an_unsigned_event_is_not_believed_though_the_crm_speaks_truly(
    hinting: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HintingCrm, "traits", Traits())
    link = order(hinting)
    OrderLink.objects.update(crm_version=1)
    hint(link, state="on_hold", version=99)
    WebhookEvent.objects.update(received_at=datetime.now(UTC) - timedelta(minutes=2))
    hinting.forget_calls()
    pipeline.work_once()
    assert [call.method for call in hinting.crm.requests] == ["GET"]


@pytest.mark.parametrize("words", ["the CRM's", "ours"])
def test_staff_edit_a_copy_in_its_words_or_in_ours(hinting: TwoSides, words: str) -> None:
    link = order(hinting)
    event = hint(link, _id="C-unknown")
    theirs = {"_model": "sale.order", "_id": link.crm_order_id, "state": "paid"}
    text = json.dumps(theirs if words == "the CRM's" else {"crm_order_id": link.crm_order_id})
    content, signal = edited.read_edited(event, text, exact=True)
    assert signal.order_ref == link.crm_order_id
    copy = edited.post_copy(event, content, signal, by="ann", once="1")
    assert copy.schema == "hinting/1"
    for wrong in ('{"_model": "res.partner"}', '{"_model": "sale.order", "_id": ""}', "7"):
        with pytest.raises(edited.NotUsable):
            edited.read_edited(event, wrong, exact=True)


def test_its_page_says_where_the_secret_goes(hinting: TwoSides) -> None:
    assert delivery_url(Connection.objects.get(slug="crm")).endswith("/webhooks/crm/crm/YOUR-WEBHOOK-SECRET/")
    assert delivery_url(Connection(slug="b", kind="rest")).endswith("/webhooks/crm/b/")


@pytest.mark.parametrize("kind", crm_backends.BACKENDS)
def test_a_built_in_backend_says_of_its_hooks_what_they_are(kind: str) -> None:
    backend = crm_backends.backend(kind)
    brought = HOOKS.get(kind)
    assert (brought is not None) == isinstance(backend, TellsByHooks)
    if brought is not None:
        assert brought.schema.partition("/")[0] == kind
        assert schemas.PARSERS[brought.schema] is brought.parse
        is_open = brought.verify is not None and brought.verify.name in OPEN
        # `none`: hardly an account has them (HubSpot), so that nobody misses them.
        assert backend.traits.hooks in ({"hints"} if is_open else {"signed", "none"})
        assert "webhook_secrets" in {one.name for one in backend.schema}
