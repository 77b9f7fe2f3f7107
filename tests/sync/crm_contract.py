"""What every CRM backend must do: subclass `CrmContract`, fulfil its `stage`, and all of it is tested."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.clients.crm import connect_to
from sync.clients.crm.base import Access, BatchReads, Crm, Field, Traits
from sync.clients.errors import NotFound, SideError
from sync.clients.http import CallRecord, ignore, nothing
from sync.clients.snapshots import CrmSnapshot, Document

ORDER: dict[str, Any] = {
    "id": 14,
    "number": "14",
    "status": "processing",
    "currency": "EUR",
    "total": "12.00",
    "billing": {"first_name": "Jürgen <b>", "last_name": "Müller 王 🚪", "email": "juergen@example.test"},
    "line_items": [{"id": 1, "name": "T-shirt", "quantity": 2, "total": "12.00", "total_tax": "0.00", "taxes": []}],
}
"""As the shop shows it: what a backend is handed is the document that its composer makes of it."""
WOOCOMMERCE = frozenset({"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"})
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A CRM to test against, empty at first: its own sandbox, or a stand-in that behaves as it does."""

    kind: type[Crm]
    access: Access
    "The values that lead to this CRM: `sync.clients.crm.base.access`."
    move: Callable[[str, str], object]
    "What its people do: (CRM order id, new status)."
    take_away: Callable[[], object]
    "From now on it cannot be reached."
    missing_id: str
    "An id as this CRM writes them, of an order that it does not have."
    status: str
    "One that an order can be moved to and does not begin with."

    def connect(self, on_call: Callable[[CallRecord], None] = ignore, before_call: Callable[[], None] = nothing) -> Crm:
        return connect_to(self.kind, self.access, on_call, before_call)

    def compose(self, order: Mapping[str, Any]) -> Document:
        """What this CRM is told of the order."""
        return self.kind.composer(self.access).document(order)


class CrmContract:
    """The tests of `docs/adding-a-crm.md`. `tests/sync/crms/test_odoo_contract.py` is an example."""

    @pytest.fixture
    def stage(self) -> Stage:
        raise NotImplementedError("Provide the fixture `stage` in your test class.")

    @pytest.fixture
    def crm(self, stage: Stage) -> Crm:
        return stage.connect()

    def test_the_ping_answers_nothing(self, crm: Crm, stage: Stage) -> None:
        crm.ping()

    def test_a_new_order_is_created(self, crm: Crm, stage: Stage) -> None:
        made, is_new = crm.create("14", stage.compose(ORDER))
        assert (made.external_id, is_new) == ("14", True)
        assert_is_whole(made)

    def test_an_order_that_is_there_is_returned_and_not_created_again(self, crm: Crm, stage: Stage) -> None:
        first, _ = crm.create("14", stage.compose(ORDER))
        second, is_new = crm.create("14", stage.compose(ORDER))
        assert (second.crm_order_id, is_new) == (first.crm_order_id, False)

    def test_what_was_created_can_be_read_and_found(self, crm: Crm, stage: Stage) -> None:
        made, _ = crm.create("14", stage.compose(ORDER))
        for found in (crm.get(made.crm_order_id), crm.find("14")):
            assert found is not None
            assert (found.crm_order_id, found.external_id) == (made.crm_order_id, "14")
            assert_is_whole(found)

    def test_only_the_order_of_that_name_is_found(self, crm: Crm, stage: Stage) -> None:
        made = {
            name: crm.create(name, stage.compose(ORDER))[0].crm_order_id
            for name in ("14", "141", "1", "b-14", "shop_2:14")
        }
        for name, crm_order_id in made.items():
            found = crm.find(name)
            assert found is not None
            assert found.crm_order_id == crm_order_id
        assert crm.find("4") is None

    def test_an_order_that_is_not_there_is_not_found(self, crm: Crm, stage: Stage) -> None:
        for call in (lambda: crm.get(stage.missing_id), lambda: crm.update(stage.missing_id, stage.compose(ORDER))):
            with pytest.raises(NotFound) as raised:
                call()
            assert raised.value.side == "crm"

    def test_what_the_shop_changed_is_told_of_the_same_order(self, crm: Crm, stage: Stage) -> None:
        made, _ = crm.create("14", stage.compose(ORDER))
        told = crm.update(made.crm_order_id, stage.compose({**ORDER, "customer_note": "Bitte klingeln 🚪"}))
        assert (told.crm_order_id, told.status) == (made.crm_order_id, made.status)
        assert_is_whole(told)

    def test_a_move_is_seen_and_is_newer(self, crm: Crm, stage: Stage) -> None:
        before, _ = crm.create("14", stage.compose(ORDER))
        stage.move(before.crm_order_id, stage.status)
        after = crm.get(before.crm_order_id)
        assert after.status == stage.status != before.status
        if before.version is not None:
            assert after.version is not None
            assert after.version > before.version
        else:
            assert before.updated_at is not None
            assert after.updated_at is not None
            is_of_one_second = crm.traits.updated_at == "seconds" and after.updated_at == before.updated_at
            assert after.updated_at > before.updated_at or is_of_one_second

    def test_all_that_changed_is_listed(self, crm: Crm, stage: Stage) -> None:
        made = [crm.create(str(number), stage.compose(ORDER))[0].crm_order_id for number in range(1, 4)]
        stage.move(made[0], stage.status)
        listed = list(crm.changed_since(LONG_AGO))
        assert {one.crm_order_id for one in listed} == set(made)
        assert next(one for one in listed if one.crm_order_id == made[0]).status == stage.status
        times = [one.updated_at for one in listed if one.updated_at]
        assert times == sorted(times)
        for one in listed:
            assert_is_whole(one)

    def test_a_change_at_that_very_moment_is_listed_and_nothing_is_of_the_future(self, crm: Crm, stage: Stage) -> None:
        made, _ = crm.create("14", stage.compose(ORDER))
        assert made.updated_at is not None
        assert made.crm_order_id in {one.crm_order_id for one in crm.changed_since(made.updated_at)}
        assert not list(crm.changed_since(datetime.now(UTC) + timedelta(days=1)))

    def test_its_statuses_are_told_apart_and_can_be_moved_to(self, crm: Crm, stage: Stage) -> None:
        names = [one.name for one in crm.statuses()]
        assert len(names) == len(set(names))
        assert not names or stage.status in names
        assert {one.shop_status for one in crm.statuses()} <= {"", *WOOCOMMERCE}

    def test_it_says_what_it_has_to_be_told_and_how_it_behaves(self, crm: Crm) -> None:
        assert crm.title
        assert {one.name for one in crm.schema} >= {"url"}
        assert isinstance(crm.traits, Traits)
        assert {one.shop_status for one in crm.default_statuses} <= {"", *WOOCOMMERCE}
        fields = crm.fields()
        assert len({one.name for one in fields}) == len(fields)
        assert all(isinstance(one, Field) for one in fields)

    def test_every_call_is_announced_and_recorded(self, stage: Stage) -> None:
        records: list[CallRecord] = []
        announced: list[int] = []
        crm = stage.connect(records.append, lambda: announced.append(1))
        made, _ = crm.create("14", stage.compose(ORDER))
        crm.get(made.crm_order_id)
        crm.update(made.crm_order_id, stage.compose(ORDER))
        crm.find("14")
        list(crm.changed_since(LONG_AGO))
        crm.ping()
        assert len(announced) == len(records) >= 6
        assert {record.side for record in records} == {"crm"}

    def test_a_crm_that_is_away_is_an_outage_of_the_crm(self, crm: Crm, stage: Stage) -> None:
        made, _ = crm.create("14", stage.compose(ORDER))
        stage.take_away()
        for call in (
            crm.ping,
            lambda: crm.get(made.crm_order_id),
            lambda: crm.find("14"),
            lambda: crm.create("15", stage.compose(ORDER)),
            lambda: crm.update(made.crm_order_id, stage.compose(ORDER)),
            lambda: list(crm.changed_since(LONG_AGO)),
        ):
            with pytest.raises(SideError) as raised:
                call()
            assert (raised.value.side, raised.value.outage, raised.value.again) == ("crm", True, True)


class BatchContract(CrmContract):
    """And what a backend must do that offers `BatchReads`."""

    def test_what_a_batch_shows_is_what_single_reads_show(self, crm: Crm, stage: Stage) -> None:
        batch = batch_of(crm)
        made = {name: crm.create(name, stage.compose(ORDER))[0].crm_order_id for name in ("14", "141", "1", "b-14")}
        stage.move(made["141"], stage.status)
        by_id = batch.get_many([*made.values(), stage.missing_id])
        by_name = batch.find_many([*made, "4"])
        assert by_id
        assert by_name
        assert by_id == {crm_order_id: crm.get(crm_order_id) for crm_order_id in by_id}
        assert by_name == {name: crm.find(name) for name in by_name}
        assert by_id.keys() <= {*made.values()}
        assert by_name.keys() <= {*made, "4"}

    def test_a_batch_of_nothing_is_nothing(self, crm: Crm, stage: Stage) -> None:
        batch = batch_of(crm)
        crm.create("14", stage.compose(ORDER))
        assert (batch.get_many([]), batch.find_many([])) == ({}, {})
        assert (batch.get_many([stage.missing_id]), batch.find_many(["4"])) == ({}, {})

    def test_a_batch_is_announced_and_recorded(self, stage: Stage) -> None:
        records: list[CallRecord] = []
        announced: list[int] = []
        crm = stage.connect(records.append, lambda: announced.append(1))
        made, _ = crm.create("14", stage.compose(ORDER))
        batch_of(crm).get_many([made.crm_order_id])
        batch_of(crm).find_many(["14"])
        assert len(announced) == len(records) >= 3
        assert {record.side for record in records} == {"crm"}

    def test_a_batch_of_a_crm_that_is_away_is_an_outage(self, crm: Crm, stage: Stage) -> None:
        batch = batch_of(crm)
        stage.take_away()
        for call in (lambda: batch.get_many([stage.missing_id]), lambda: batch.find_many(["14"])):
            with pytest.raises(SideError) as raised:
                call()
            assert (raised.value.side, raised.value.outage, raised.value.again) == ("crm", True, True)


def batch_of(crm: Crm) -> BatchReads:
    assert isinstance(crm, BatchReads)
    return crm


def assert_is_whole(one: CrmSnapshot) -> None:
    """Ids and status as text, the version a number, the time with a zone, and an answer that the audit can keep."""
    assert isinstance(one.crm_order_id, str)
    assert one.crm_order_id
    assert isinstance(one.status, str)
    assert one.status
    assert one.version is None or type(one.version) is int
    assert one.updated_at is None or one.updated_at.tzinfo is not None
    assert one.version is not None or one.updated_at is not None
    assert json.loads(json.dumps(one.answer)) == one.answer
