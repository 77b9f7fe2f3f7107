"""What tells one order from another, as tables. That nothing is written in doubt: `test_whose`."""

from typing import Any

import pytest

from sync.pipeline.whose import agrees, external_id, identity, is_named, is_same, number_of, woo_id_in


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("1042", "1042"),
        ("#1042/A", "#1042/A"),
        ("WC-2026-0042", "WC-2026-0042"),
        ("14", ""),  # it is the id
        (1042, ""),
        (None, ""),
        ("", ""),
        ("ann@example.test", ""),
        ("42 High Street", ""),
        ("1" * 20 + "-" + "2" * 20 + "-" + "3" * 20 + "-4", "1" * 20 + "-" + "2" * 20 + "-" + "3" * 20 + "-4"),  # 64
        ("1" * 20 + "-" + "2" * 20 + "-" + "3" * 20 + "-45", ""),
    ],
)
def test_a_number_is_shown_if_it_looks_like_one_and_is_not_the_id(number: Any, shown: str) -> None:
    assert number_of({"id": 14, "number": number}) == shown


def test_an_order_without_a_number_has_none() -> None:
    assert number_of({"id": 14}) == ""


@pytest.mark.parametrize(("digits", "found"), [("0" * 18 + "14", 14), ("0" * 19 + "14", None), ("1" * 5000, None)])
def test_a_name_with_more_digits_than_ids_have_names_nobody(digits: str, found: int | None) -> None:
    assert woo_id_in(digits, "") == found


@pytest.mark.parametrize("key", ["", 5, None, ["x"]])
def test_an_order_key_is_a_text(key: Any) -> None:
    assert "key" not in identity({"order_key": key, "date_created_gmt": "2026-01-01T00:00:00"})


def test_a_key_is_kept_as_a_hash_whatever_stands_in_it() -> None:
    keys = [identity({"order_key": key})["key"] for key in ("wc_order_a", "wc_order_b", "wc_\ud800")]
    assert len({*keys}) == 3
    assert all(len(key) == 32 and int(key, 16) and key.isascii() for key in keys)


@pytest.mark.parametrize(
    ("created", "seen"),
    [
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00"),
        ("2026-01-01 00:00:00Z", "2026-01-01T00:00:00"),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_moment_of_creation_is_compared_without_its_zone(created: Any, seen: str | None) -> None:
    assert identity({"order_key": "k", "date_created_gmt": created}).get("created") == seen


@pytest.mark.parametrize(
    ("total", "seen"),
    [
        (10, "10"),
        (10.0, "10"),
        ("10.00", "10"),
        ("10.50", "10.5"),
        ("-3", "-3"),
        ("0", "0"),
        ("0.00", "0"),
        ("0E+30", "0"),
        ("1e19", "1" + "0" * 19),
        ("1e20", None),
        ("1e-19", "0." + "0" * 18 + "1"),
        ("1e-20", None),
        ("1e999999999", None),
        ("nan", None),
        ("inf", None),
        ("ten", None),
        ("", None),
        (None, None),
        (["10"], None),
    ],
)
def test_a_total_is_an_amount_however_it_is_written(total: Any, seen: str | None) -> None:
    assert identity({"total": total}) == ({} if seen is None else {"total": seen})


def test_customer_and_total_count_only_without_key_and_creation() -> None:
    bought = {"total": "10", "billing": {"email": "ann@example.test"}}
    assert identity(bought).keys() == {"customer", "total"}
    assert identity({**bought, "order_key": "k"}).keys() == {"key"}
    assert identity({**bought, "date_created_gmt": "2026-01-01T00:00:00"}).keys() == {"created"}


KNOWN = {"key": "a", "created": "2026", "customer": "ann", "total": "10"}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"key": "b"}, False),
        ({"created": "2027"}, False),
        ({"customer": "bob"}, True),  # an edit
        ({"total": "11"}, True),
        ({"customer": "bob", "total": "11"}, False),
    ],
)
def test_what_makes_it_another_order(changed: dict[str, str], same: bool) -> None:
    assert is_same(KNOWN, {**KNOWN, **changed}) is same
    assert is_same(changed, {}) and is_same({}, changed)


ORDER = {"order_key": "k", "date_created_gmt": "2026-01-01T00:00:00", "total": "10", "billing": {"email": "a@x.test"}}


@pytest.mark.parametrize(
    ("shown", "agree"),
    [
        ({}, True),
        (ORDER, True),
        ({"order_key": "k"}, True),
        ({"order_key": "other"}, False),
        ({"date_created_gmt": "2026-01-02T00:00:00"}, False),
        ({"order_key": "k", "total": "11"}, True),  # the key is as good as anything
        ({"total": "10"}, True),
        ({"total": "11"}, False),
        ({"billing": {"email": "b@x.test"}}, False),
    ],
)
def test_what_a_crm_shows_agrees_with_the_order(shown: dict[str, Any], agree: bool) -> None:
    assert agrees(shown, ORDER) is agree


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "known", "named"),
    [
        ("a-14", "", True),
        ("14", "", True),
        ("14", "14", True),
        ("a-14", "14", True),
        ("14", "a-14", False),
        ("b-14", "", False),
        ("b-14", "b-14", True),
        ("a-15", "a-14", False),
        ("", "a-14", True),
        (None, "a-14", True),
    ],
)
def test_whether_it_is_named_as_it_was(seen: str | None, known: str, named: bool) -> None:
    assert is_named(seen, 14, "a-", known) is named


@pytest.mark.parametrize("prefix", ["", "a-", "shop.b:", "EU_", "2x-"])
def test_a_name_leads_back_to_its_order(prefix: str) -> None:
    for woo_id in (1, 14, 2**63 - 1):
        assert woo_id_in(external_id(woo_id, prefix), prefix) == woo_id
    for other in (
        None,
        "",
        prefix,
        f"{prefix}0",
        f"{prefix}-1",
        f"{prefix}1.0",
        f"{prefix}{2**63}",
        f"{prefix}٣",
        "x14",
    ):
        assert woo_id_in(other, prefix) is None
