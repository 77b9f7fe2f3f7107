"""Believable traffic for the sandbox: people order, edit and cancel, and the CRM moves orders along."""

import random
import threading
from typing import Any

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop

NEXT = {"new": "paid", "on_hold": "paid", "paid": "processing", "processing": "shipped", "shipped": "completed"}
PEOPLE = [
    ("Zoë", "Østergård", "Berlin"),
    ("王", "小明", "Hamburg"),
    ("Anna", "Schäfer", "Köln"),
    ("Liam", "O’Brien", "Dublin"),
    ("Chloé", "Lefèvre", "Lyon"),
    ("Mário", "Gonçalves", "Porto"),
]
PRODUCTS = [
    {"name": "Käse-Fondue „Größe XL“", "product_id": 10, "sku": "LAB-1", "price": "19.90"},
    {"name": "Plain T-shirt", "product_id": 11, "sku": "LAB-2", "price": "12.00"},
    {"name": "Tea, 250 g", "product_id": 12, "sku": "LAB-3", "price": "8.50"},
]
NOTES = ["Please ring twice.", "Leave it with the neighbour.", "It is a present: no invoice in the box."]


class Traffic:
    """One happening per step; `rate` steps a second; at most `limit` new orders. The same seed, the same plan."""

    def __init__(
        self, shop: SandboxShop, crm: SandboxCrm, seed: int | None = None, rate: float = 1.0, limit: int | None = None
    ) -> None:
        self.shop = shop
        self.crm = crm
        self.rate = rate
        self.limit = limit
        self.ordered = 0
        self._random = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop` is set."""
        while not stop.wait(self._random.expovariate(self.rate)):
            self.step()

    def step(self) -> None:
        """One happening, chosen at random among those that are possible now."""
        may_order = self.limit is None or self.ordered < self.limit
        dice = self._random.random()
        if may_order and (dice < 0.25 or not self.shop.orders):
            self.order()
        elif dice < 0.37:
            self._in_the_shop()
        elif dice < 0.42:
            self._oddity()
        else:
            self._in_the_crm()

    def order(self) -> None:
        self.ordered += 1
        first, last, city = self._random.choice(PEOPLE)
        lines = [
            {**product, "quantity": self._random.randint(1, 3)}
            for product in self._random.sample(PRODUCTS, self._random.randint(1, 3))
        ]
        self.shop.create_order(
            created_via=self._random.choice(["checkout", "checkout", "admin"]),
            status="pending",
            billing={"first_name": first, "last_name": last, "city": city},
            line_items=lines,
        )

    def _in_the_shop(self) -> None:
        with self.shop.lock:
            open_orders = [one for one, order in self.shop.orders.items() if order["status"] in ("pending", "on-hold")]
        if not open_orders:
            return
        woo_id = self._random.choice(open_orders[-30:])
        match self._random.randrange(3):
            case 0:
                self.shop.edit(woo_id, customer_note=self._random.choice(NOTES))
            case 1:
                street = f"Hauptstraße {self._random.randint(1, 99)}"
                self.shop.edit(woo_id, shipping={"address_1": street})
            case _:
                self.shop.note(woo_id, "The customer rang and asked when it comes.")

    def _in_the_crm(self) -> None:
        order = self._crm_order(set(NEXT))
        if order is None:
            return
        dice, status = self._random.random(), order["status"]
        if dice < 0.06 and status in ("new", "paid", "processing"):
            self.crm.set_status(order["id"], "cancelled")
        elif dice < 0.10 and status == "shipped":
            self.crm.set_status(order["id"], "refunded")
        elif dice < 0.14 and status == "new":
            self.crm.set_status(order["id"], "on_hold")
        else:
            self.crm.set_status(order["id"], NEXT[status])

    def _oddity(self) -> None:
        """A webhook that comes twice or never, one of the shop that repeats itself, or a status that goes backwards."""
        match self._random.randrange(4):
            case 0:
                self.crm.duplicate_next += 1
                self._in_the_crm()
            case 1:
                self.crm.drop_next += 1
                self._in_the_crm()
            case 2 if self.shop.orders:
                self.shop.resend("order.updated", self._random.choice(list(self.shop.orders)))
            case _:
                order = self._crm_order({"completed", "cancelled"})
                if order is not None:
                    self.crm.set_status(order["id"], "paid")

    def _crm_order(self, statuses: set[str]) -> dict[str, Any] | None:
        with self.crm.lock:
            found = [order for order in self.crm.orders.values() if order["status"] in statuses]
        return self._random.choice(found[-40:]) if found else None
