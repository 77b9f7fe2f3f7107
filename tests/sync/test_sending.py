"""Which orders a rule sends: a table of rules and orders, and what the reason says."""

import json
from decimal import Decimal
from typing import Any

import pytest

from sync.pipeline.sending import SEND_ALL, SendingRule, sends

ORDER: dict[str, Any] = {
    "id": 14,
    "parent_id": 0,
    "status": "processing",
    "total": "49.90",
    "payment_method": "bacs",
    "billing": {"country": "DE", "email": "ann@home.example"},
    "shipping": {"country": "AT"},
    "meta_data": [{"key": "channel", "value": "pos"}, {"key": "rank", "value": 3}],
}


def rule(**said: Any) -> SendingRule:
    return SendingRule.of(said)


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ({}, {}),
        ({"statuses": ["on-hold", "processing"]}, {}),
        ({"minimum_total": "49.90"}, {}),
        ({"minimum_total": "10"}, {"total": "1e3"}),
        ({"payment_methods": ["bacs"]}, {}),
        ({"countries": ["AT"]}, {}),
        ({"countries": ["DE"]}, {"shipping": {"country": ""}}),
        ({"countries": ["DE"]}, {"shipping": None, "billing": {"country": "de"}}),
        ({"meta_key": "channel"}, {}),
        ({"meta_key": "channel", "meta_value": "pos"}, {}),
        ({"meta_key": "rank", "meta_value": "3"}, {}),
        ({"sub_orders": "leave_out"}, {}),
        ({"sub_orders": "only"}, {"parent_id": 13}),
        ({"sub_orders": "send"}, {"parent_id": 13}),
    ],
)
def test_an_order_that_fulfils_all_is_sent(said: dict[str, Any], order: dict[str, Any]) -> None:
    assert sends(rule(**said), {**ORDER, **order}) == (True, "")


@pytest.mark.parametrize(
    ("said", "order", "why"),
    [
        ({"statuses": ["completed"]}, {}, "its status is 'processing'"),
        ({"minimum_total": "49.91"}, {}, "its total 49.90 is below 49.91"),
        ({"minimum_total": "1"}, {"total": "free"}, "its total 0 is below 1"),
        ({"minimum_total": "1"}, {"total": "NaN"}, "its total 0 is below 1"),
        ({"payment_methods": ["paypal"]}, {}, "its payment method is 'bacs'"),
        ({"countries": ["DE"]}, {}, "its country is 'AT'"),
        ({"countries": ["DE"]}, {"shipping": None, "billing": []}, "its country is ''"),
        ({"meta_key": "vip"}, {}, "it has no meta field 'vip'"),
        ({"meta_key": "channel", "meta_value": "web"}, {}, "it has no meta field 'channel' with the value 'web'"),
        ({"meta_key": "channel"}, {"meta_data": "none"}, "it has no meta field 'channel'"),
        ({"sub_orders": "leave_out"}, {"parent_id": 13}, "it is a sub-order of 13"),
        ({"sub_orders": "only"}, {}, "it is no sub-order"),
    ],
)
def test_one_that_fails_a_condition_is_left_out_with_the_reason(
    said: dict[str, Any], order: dict[str, Any], why: str
) -> None:
    assert sends(rule(**said), {**ORDER, **order}) == (False, f"The bridge's rule leaves it out: {why}.")


def test_all_reasons_are_told() -> None:
    goes, why = sends(rule(statuses=["completed"], countries=["US"]), ORDER)
    assert not goes
    assert "its status is 'processing'; its country is 'AT'" in why


STRICT = SendingRule(
    statuses=("processing",),
    minimum_total=Decimal("1"),
    payment_methods=("bacs",),
    countries=("AT",),
    meta_key="channel",
    meta_value="pos",
    sub_orders="leave_out",
)
ODD: list[Any] = [None, True, -1, 1.5, "", "x" * 100, [], [None, 7], {}, {"country": None}, [{"key": ["channel"]}]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", sorted(ORDER))
def test_whatever_stands_in_an_order_the_rule_answers(name: str, odd: Any) -> None:
    for one in (STRICT, SendingRule(minimum_total=Decimal("1"), sub_orders="only")):
        goes, why = sends(one, {**ORDER, name: odd})
        assert goes is (why == "")


@pytest.mark.parametrize("one", [STRICT, SEND_ALL, SendingRule(sub_orders="only"), SendingRule(meta_key="vip")])
def test_a_rule_is_kept_as_it_is(one: SendingRule) -> None:
    assert SendingRule.of(json.loads(json.dumps(one.as_json()))) == one


def test_a_rule_that_says_nothing_is_empty() -> None:
    assert SEND_ALL.as_json() == {}
    assert rule(minimum_total="0.50").minimum_total == Decimal("0.5")
