"""What HubSpot says no with: which class it is, whom it concerns, and what a person is told."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from sync.clients.answers import Reply
from sync.clients.crm.hubspot.words import OBJECTS, _limited, day_ends, judge, snapshot, status_of, zone_of
from sync.clients.errors import AuthFailed, Blocked, NotConfigured, NotFound, Odd, RateLimited, Rejected, SideError
from sync.clients.http import CallRecord
from sync.sandbox.crms.hubspot import HubspotStandIn
from tests.sync.hubspot_stage import connect, document, hubspot, order, started

__all__ = ["hubspot"]

RECORDS = "/crm/objects/2026-03/orders"


def reply(status: int, data: Any, *, path: str = RECORDS, method: str = "POST", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(method=method, path=path, status=status, data=data, text="", headers=named)


def judged(status: int, data: Any, zone: str = "", **more: str) -> SideError:
    error = judge(reply(status, data, **more), zone_of(zone))
    assert error is not None
    assert error.side == "crm"
    return error


# --- the side ------------------------------------------------------------------------------------------------------


def test_a_key_that_was_revoked_is_the_side(hubspot: HubspotStandIn) -> None:
    with pytest.raises(AuthFailed, match=r"does not accept the key.*Service keys.*CRM_TOKEN") as raised:
        connect(hubspot, token="pat-revoked").ping()
    assert raised.value.about_order is False


@pytest.mark.parametrize("write", [False, True])
def test_a_missing_scope_is_named(hubspot: HubspotStandIn, write: bool) -> None:
    scope = f"crm.objects.orders.{'write' if write else 'read'}"
    hubspot.missing_scopes = {scope}
    crm = connect(hubspot)
    with pytest.raises(AuthFailed, match=rf"lacks a scope: {scope}\. Add it") as raised:
        crm.create("14", document(crm, order())) if write else crm.ping()
    assert raised.value.about_order is False


@pytest.mark.parametrize("key", ["woo_order_id", "woo_line_id", "woo_customer_id"])
def test_a_unique_property_that_nobody_made_concerns_all_orders(key: str) -> None:
    """As an outage does: they wait until it is made, instead of each being parked."""
    for unprepared in started(is_prepared=False):
        kind = {"woo_order_id": "orders", "woo_line_id": "line_items", "woo_customer_id": "contacts"}[key]
        for one, name in (("orders", "woo_order_id"), ("line_items", "woo_line_id"), ("contacts", "woo_customer_id")):
            if one != kind:
                unprepared.records[one].define({"name": name, "type": "string", "hasUniqueValue": True})
        crm = connect(unprepared)
        with pytest.raises(NotConfigured, match=rf"no unique property {key}\..*doctor --fix") as raised:
            crm.create("14", document(crm, order(billing={"first_name": "Ann"})))
        assert raised.value.outage


def test_a_look_up_without_the_property_is_not_taken_for_no_order() -> None:
    for unprepared in started(is_prepared=False):
        with pytest.raises(NotConfigured):
            connect(unprepared).find("14")


def test_a_plan_without_orders_is_told() -> None:
    error = judged(404, {"message": "Unable to infer object type from: orders"}, method="GET")
    assert isinstance(error, Blocked)
    assert "let an order become a deal" in str(error)


# --- the order -----------------------------------------------------------------------------------------------------


def test_a_record_that_is_not_there_is_not_found(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    for one in ("999", "abc", "1/2", "٣", "9" * 30):
        with pytest.raises(NotFound):
            crm.get(one)


def test_a_contact_that_is_gone_is_not_the_order_that_is_gone() -> None:
    error = judged(404, {"message": "One or more associations are not valid"})
    assert type(error) is Rejected
    assert error.about_order


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"message": 'not valid: [{"error":"INVALID_OPTION","name":"hs_currency_code"}]'}, "hs_currency_code"),
        ({"message": "x", "errors": [{"message": "y", "context": {"propertyName": ["email", "zip"]}}]}, "email, zip"),
        ({"message": "x", "context": {"propertyName": ["amount"]}}, "amount"),
        ({"message": "x", "errors": [None, "y", {"context": None}]}, ""),
    ],
)
def test_a_value_that_is_refused_is_about_the_order_and_names_its_property(data: dict[str, Any], named: str) -> None:
    error = judged(400, {"category": "VALIDATION_ERROR", **data})
    assert type(error) is Rejected
    assert (error.about_order, error.code) == (True, "")
    assert (f"because of {named}:" in str(error)) is bool(named)


@pytest.mark.parametrize(
    ("status", "words"),
    [(409, "Contact already exists. Existing ID: 7"), (400, "7 already has that value."), (409, "anything")],
)
def test_a_conflict_is_told_apart(status: int, words: str) -> None:
    assert judged(status, {"message": words}).code == "CONFLICT"


def test_what_one_of_a_batch_is_refused_for_is_the_orders(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    told = dict(document(crm, order()))
    told["lines"] = [{"id": "1", "properties": {**told["lines"][0]["properties"], "price": "x"}}]
    with pytest.raises(Rejected, match="because of price"):
        crm.create("14", told)


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "header", "after"),
    [
        ("TEN_SECONDLY_ROLLING", "", 10),
        ("SECONDLY", "", 1),
        ("TEN_SECONDLY_ROLLING", "3", 3),
        ("something new", "", 10),
        ("TEN_SECONDLY_ROLLING", "Wed, 21 Oct 2026 07:28:00 GMT", 10),
    ],
)
def test_a_limit_of_seconds_is_waited_for(policy: str, header: str, after: float) -> None:
    error = judged(429, {"policyName": policy, "message": "You have reached your limit."}, Retry_After=header)
    assert isinstance(error, RateLimited)
    assert error.after == after


def test_the_limit_of_searches_has_only_words() -> None:
    assert judged(429, {"message": "You have reached your secondly limit."}).after == 1


@pytest.mark.parametrize(
    ("zone", "now", "until"),
    [
        ("Europe/Berlin", datetime(2026, 11, 28, 10, 0, tzinfo=UTC), datetime(2026, 11, 28, 23, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 11, 28, 23, 30, tzinfo=UTC), datetime(2026, 11, 29, 23, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 28, 4, 59, tzinfo=UTC), datetime(2026, 11, 28, 5, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 5, 0, tzinfo=UTC), datetime(2026, 11, 2, 5, 0, tzinfo=UTC)),
        ("", datetime(2026, 11, 28, 10, 0, tzinfo=UTC), datetime(2026, 11, 28, 11, 0, tzinfo=UTC)),
    ],
)
def test_the_day_ends_at_midnight_of_the_account(zone: str, now: datetime, until: datetime) -> None:
    assert day_ends(zone_of(zone), now) == until


def test_the_daily_limit_says_until_when() -> None:
    said, now = {"policyName": "DAILY"}, datetime(2026, 11, 28, 10, 0, tzinfo=UTC)
    known = _limited(said, "", zone_of("Europe/Berlin"), now)
    assert "daily limit of calls is used up. We wait until 2026-11-29 00:00 CET." in str(known)
    assert known.after == 13 * 3600
    unknown = _limited(said, "", None, now)
    assert "until 2026-11-28 11:00 UTC, and then ask again." in str(unknown)
    assert "CRM_TIME_ZONE" in unknown.advice
    assert unknown.after == 3600


def test_both_limits_are_met_on_the_way(hubspot: HubspotStandIn) -> None:
    for policy, words in (("DAILY", "daily limit"), ("TEN_SECONDLY_ROLLING", "ten_secondly_rolling")):
        hubspot.left = {policy: 0}
        with pytest.raises(RateLimited, match=words):
            connect(hubspot).ping()


def test_a_time_zone_that_is_none_is_told_at_once(hubspot: HubspotStandIn) -> None:
    with pytest.raises(NotConfigured, match=r"no time zone Mars/Base\..*CRM_TIME_ZONE"):
        connect(hubspot, time_zone="Mars/Base")


def test_an_object_that_is_none_is_told_at_once(hubspot: HubspotStandIn) -> None:
    with pytest.raises(NotConfigured, match=r"orders, deals.*'tickets'.*CRM_OBJECT"):
        connect(hubspot, object="tickets")


@pytest.mark.parametrize(("status", "after"), [(423, 2), (477, 3600)])
def test_what_is_over_by_itself_is_waited_for(status: int, after: float) -> None:
    error = judged(status, {"message": "later"})
    assert isinstance(error, RateLimited)
    assert error.after == after


@pytest.mark.parametrize(
    ("status", "data"), [(500, {"message": "x"}), (502, None), (200, {"results": []}), (400, None)]
)
def test_of_the_rest_the_status_tells(status: int, data: Any) -> None:
    assert judge(reply(status, data)) is None


# --- answers that must not be believed -----------------------------------------------------------------------------

SHOWN = {
    "woo_order_id": "woo-14",
    "hs_pipeline": "p",
    "hs_pipeline_stage": "s",
    "hs_total_price": "1.00",
    "hs_lastmodifieddate": "2026-11-24T03:12:09.123Z",
}
ONE = {"id": "77", "updatedAt": "2026-11-24T03:12:09.123Z", "properties": SHOWN}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"id": "77"},
        {**ONE, "id": "x"},
        {**ONE, "id": None},
        {**ONE, "properties": None},
        {**ONE, "properties": {**SHOWN, "hs_pipeline_stage": None}},
        {**ONE, "properties": {**SHOWN, "hs_total_price": "free"}},
        {**ONE, "properties": {**SHOWN, "hs_lastmodifieddate": "yesterday"}},
    ],
)
def test_an_answer_that_is_no_order_is_odd(wrong: Any) -> None:
    with pytest.raises(Odd):
        snapshot(wrong, OBJECTS["orders"])


def test_what_may_be_missing_is_understood() -> None:
    shown = {**SHOWN, "hs_lastmodifieddate": None, "woo_order_id": None, "hs_total_price": ""}
    found = snapshot({**ONE, "properties": shown}, OBJECTS["orders"])
    assert (found.external_id, found.total) == (None, None)
    assert found.updated_at == datetime(2026, 11, 24, 3, 12, 9, 123000, UTC)


def test_a_record_that_was_merged_into_another_is_not_taken_for_it(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    hubspot.orders.all["77"] = hubspot.orders.all[made.crm_order_id]
    with pytest.raises(Rejected, match="merged") as raised:
        crm.get("77")
    assert raised.value.about_order, "a person is asked at once, and the others go on"


def test_another_order_than_was_asked_for_is_not_found(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    monkeypatch.setattr(hubspot.orders, "by", lambda name, value: hubspot.orders.all[made.crm_order_id])
    assert crm.find("15") is None
    assert crm.find_many(["15", "16"]) == {}
    assert crm.get_many(["1"]) == {}


def test_long_ids_of_pipeline_and_stage_fit_into_a_status() -> None:
    stage = "4b27b500-f031-4927-9811-68a0b525cbae"
    assert status_of("default", "closedwon") == "default/closedwon"
    assert status_of("14a2e10e-5471-408a-906e-c51f3b04369e", stage) == f"14a2e10e/{stage}"


# --- what has to be there ------------------------------------------------------------------------------------------


@pytest.fixture(params=["orders", "deals"])
def unprepared(request: pytest.FixtureRequest) -> Iterator[HubspotStandIn]:
    yield from started(request.param, is_prepared=False)


def test_what_is_missing_is_named_and_made(unprepared: HubspotStandIn) -> None:
    crm = connect(unprepared)
    lacking = crm.lacks()
    assert [words.partition("property ")[2] for words, _ in lacking] == [
        "woo_order_id.",
        "woo_line_id.",
        "woo_customer_id.",
    ]
    assert all("doctor --fix" in advice and "Require unique values" in advice for _, advice in lacking)
    assert len(crm.prepare()) == 3
    assert (crm.lacks(), crm.prepare()) == ([], [])
    assert crm.create("14", document(crm, order()))[1]


def test_a_property_that_is_not_unique_is_not_enough(unprepared: HubspotStandIn) -> None:
    unprepared.orders.define({"name": "woo_order_id", "type": "string"})
    [(words, advice)] = [one for one in connect(unprepared).lacks() if "woo_order_id" in one[0]]
    assert "is not unique" in words
    assert "make it anew" in advice


def test_what_we_write_to_has_to_be_there(hubspot: HubspotStandIn) -> None:
    del hubspot.orders.definitions["hs_order_note"]
    assert [words for words, _ in connect(hubspot).lacks()] == ["HubSpot's orders lack what we write: hs_order_note."]


def test_without_the_scope_to_make_properties_it_is_named(unprepared: HubspotStandIn) -> None:
    unprepared.missing_scopes = {f"crm.schemas.{unprepared.kind}.write"}
    calls: list[CallRecord] = []
    with pytest.raises(AuthFailed, match=rf"crm\.schemas\.{unprepared.kind}\.write"):
        connect(unprepared, calls.append).prepare()
