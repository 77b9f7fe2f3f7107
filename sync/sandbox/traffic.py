"""Believable traffic for the sandbox: people order, edit and cancel, and the CRM moves orders along."""

import random
import threading
from collections.abc import Collection
from contextlib import suppress

from sync.sandbox.crms.base import Shown, StandIn
from sync.sandbox.shop import SandboxShop

PEOPLE = [
    ("Zoë", "Østergård", "Berlin", "zoe@example.test"),
    ("王", "小明", "Hamburg", "xiaoming@example.test"),
    ("Anna", "Schäfer", "Köln", "anna@example.test"),
    ("Liam", "O’Brien", "Dublin", "liam@example.test"),
    ("Chloé", "Lefèvre", "Lyon", "chloe@example.test"),
    ("Mário", "Gonçalves", "Porto", "mario@example.test"),
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
        self, shop: SandboxShop, crm: StandIn, seed: int | None = None, rate: float = 1.0, limit: int | None = None
    ) -> None:
        self.shop = shop
        self.crm = crm
        self.rate = rate
        self.limit = limit
        self.ordered = 0
        self._random = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop` is set. A real CRM may refuse what its people want, and says so itself."""
        while not stop.wait(self._random.expovariate(self.rate)):
            with suppress(ValueError):
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
        person = self._random.choice(PEOPLE)
        first, last, city, email = person
        phone = f"+49 30 {100000 + PEOPLE.index(person)}"  # where all have one, a CRM takes them for one customer
        lines = [
            {**product, "quantity": self._random.randint(1, 3)}
            for product in self._random.sample(PRODUCTS, self._random.randint(1, 3))
        ]
        self.shop.create_order(
            created_via=self._random.choice(["checkout", "checkout", "admin"]),
            status="pending",
            billing={"first_name": first, "last_name": last, "city": city, "email": email, "phone": phone},
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
        habits = self.crm.habits
        order = self._crm_order(habits.usual.keys())
        if order is None:
            return
        dice = self._random.random()
        for below, statuses, to in habits.detours:
            if dice < below and order.status in statuses:
                self.crm.set_status(order.crm_order_id, to)
                return
        self.crm.set_status(order.crm_order_id, habits.usual[order.status])

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
                statuses, to = self.crm.habits.backwards
                order = self._crm_order(statuses)
                if order is not None:
                    self.crm.set_status(order.crm_order_id, to)

    def _crm_order(self, statuses: Collection[str]) -> Shown | None:
        found = [order for order in self.crm.shown() if order.status in statuses]
        return self._random.choice(found[-40:]) if found else None
