"""The same with the stand-in of a real CRM: orders move as its people move them, and customers are made once."""

from collections.abc import Iterator
from typing import Any

from sync.sandbox.crms.base import Shown, StandIn
from sync.sandbox.shop import SandboxShop
from tests.chaos.pairs import Pair
from tests.chaos.story import Story

CUSTOMERS = 40


class StandInStory(Story):
    """Of one shop: who is in whose place is asked where there are several."""

    def __init__(self, shop: SandboxShop, crm: StandIn, seed: int, pair: Pair) -> None:
        super().__init__(shop, crm, seed, pair)  # type: ignore[arg-type]
        self.crm: StandIn = crm  # type: ignore[assignment]

    def crossed(self) -> Iterator[str]:
        yield from ()

    def _customer(self) -> dict[str, Any]:
        number = self.rng.randrange(CUSTOMERS)
        return {"billing": {"email": f"customer-{number}@example.test", "phone": f"+49 30 {number:06}"}}

    def _any_order(self) -> Shown | None:
        return self.rng.choice(self.crm.shown())

    def _in_the_crm(self) -> None:
        order = self._any_order()
        if order is None:
            return
        habits, dice = self.crm.habits, self.rng.random()
        froms, to = habits.backwards
        detours = [end for _, begins, end in habits.detours if order.status in begins]
        if order.status in froms and dice < 0.5:
            self.happened["moved against the lifecycle"] += 1
            self.crm.set_status(order.crm_order_id, to)
        elif detours and dice < 0.1:
            self.happened["moved aside"] += 1
            self.crm.set_status(order.crm_order_id, self.rng.choice(detours))
        elif order.status in habits.usual:
            self.happened["moved"] += 1
            self.crm.set_status(order.crm_order_id, habits.usual[order.status])

    def _told_otherwise(self, shown: Shown, order: dict[str, Any]) -> Iterator[str]:
        if shown.total and shown.total != f"{order['total']} {order['currency']}":
            yield f"{order['id']}: {shown.total} in the CRM, {order['total']} in the shop"
        if shown.note and order["customer_note"] not in shown.note:
            yield f"{order['id']}: the CRM has another note"
