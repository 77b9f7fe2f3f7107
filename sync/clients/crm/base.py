"""What a CRM must be able to do for us: six verbs, and two more that it may have."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from sync.clients.snapshots import CrmSnapshot


class Crm(Protocol):
    """A CRM backend. Every method may raise the errors of `sync.clients.errors`, and nothing else.

    `docs/adding-a-crm.md` shows how to write one; `tests/sync/crm_contract.py` proves it.
    """

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        """Create the order, or return the one that is there. True: it is new."""

    def get(self, crm_order_id: str) -> CrmSnapshot:
        """Read one order as it is now. Raises NotFound."""

    def find(self, external_id: str) -> CrmSnapshot | None:
        """The order that names this order of the shop, or None. A CRM may list new orders late."""

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        """Tell the CRM what the shop changed. Raises NotFound."""

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """Every order changed at or after `since`, oldest first, page by page. `drift` asks for all there are."""

    def ping(self) -> None:
        """A cheap read that proves address and token. Returns nothing; raises what is wrong."""


@runtime_checkable
class BatchReads(Protocol):
    """What a backend may offer besides: many orders by one call. `isinstance` tells whether it does.

    An order that the answer does not hold is read singly before anything is concluded. So an answer may leave out
    whatever is in doubt: what it lists late, what reads oddly, what it shows twice.
    """

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        """Those of these orders that can be read by one call, each as new as `get` would show it."""

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        """By external id, those of these orders that one call finds, each of them once. None where the answer shows no
        order of that name; that is believed if the same answer shows an order which is known to be there."""
