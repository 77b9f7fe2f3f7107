"""Orders live their lives while nearly everything between the two sides goes wrong; then reconcile has its say."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from orders.models import Decision, OrderLink, StatusTransition
from orders.rules import current_lifecycle
from sync.clients.crm.base import MARK
from sync.clients.snapshots import document
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.crms.base import Shown
from sync.sandbox.outbox import Network
from sync.sandbox.shop import SandboxShop
from tests.chaos.pairs import Pair
from webhooks.connections import Bridge
from webhooks.models import Outcome, State, WebhookEvent

NEXT = {"new": ("on_hold", "paid", "cancelled"), "on_hold": ("paid", "cancelled"), "paid": ("processing", "shipped")}
NEXT |= {"processing": ("shipped", "refunded"), "shipped": ("completed", "refunded")}
BACKWARDS = ("new", "paid", "processing")
FAULTS = {"429": 0.01, "502": 0.02, "captcha-202": 0.01, "html": 0.01, "truncated": 0.01}
ORDERS = "/wp-json/wc/v3/orders"


class Story:
    """The same seed lives the same lives."""

    def __init__(self, shop: SandboxShop, crm: SandboxCrm, seed: int, pair: Pair | None = None) -> None:
        """`pair`: where there are several."""
        self.pair = pair or Pair(shop=shop, crm=crm)
        self.shop = shop
        self.crm = crm
        self.rng = random.Random(seed)
        self.happened: Counter[str] = Counter()

    def turn_bad(self) -> None:
        """Deliveries get lost, doubled and overtaken, calls fail, pages shift, the CRM's lists lag."""
        for server in (self.shop, self.crm):
            server.faults.rng.seed(self.rng.random())
            for name, share in FAULTS.items():
                server.faults.add(name, share=share, after=0.1)
            server.network = Network(lose=0.3, double=0.2, delay=0.3, longest=0.5, rng=random.Random(self.rng.random()))
        self.crm.faults.add("timeout-after-effect", share=0.01, method="POST", seconds=0.0)
        self.shop.faults.add("shifting-pages", share=0.3, path=ORDERS)
        self.crm.list_lag = 1.0

    def mend_the_road(self) -> None:
        """What was lost stays lost; what settling it causes is told. Calls go on failing."""
        for server in (self.shop, self.crm):
            server.network = Network()

    def order(self, count: int) -> None:
        for _ in range(count):
            self.happened["ordered"] += 1
            key = f"{self.pair.mark}{self.happened['ordered']}"
            via = self.rng.choice(("checkout", "admin"))
            self.shop.create_order(created_via=via, status="pending", order_key=key, **self._customer())

    def _customer(self) -> dict[str, Any]:
        """Always the same one."""
        return {}

    def live(self, count: int) -> None:
        """So many happenings: in the CRM orders move, in the shop they are edited, trashed, restored and deleted."""
        for _ in range(count):
            if self.rng.random() < 0.65:
                self._in_the_crm()
            else:
                self._in_the_shop()

    def _in_the_crm(self) -> None:
        with self.crm.lock:
            known = sorted(pk for pk, one in self.crm.orders.items() if self.pair.woo_id(one["external_id"]))
        if not known:
            return
        crm_id = self.rng.choice(known)
        status = self.crm.orders[crm_id]["status"]
        if self.rng.random() < 0.05:
            self.happened["moved against the lifecycle"] += 1
            self.crm.set_status(crm_id, self.rng.choice(BACKWARDS))
        elif status in NEXT:
            self.happened["moved"] += 1
            self.crm.set_status(crm_id, self.rng.choice(NEXT[status]))

    def _in_the_shop(self) -> None:
        woo_id = self.rng.choice(sorted(self.shop.orders))
        trashed = self.shop.orders[woo_id]["status"] == "trash"
        dice = self.rng.random()
        if trashed:
            self.happened["restored"] += 1
            self.shop.restore(woo_id)
        elif dice < 0.05:
            self.happened["trashed"] += 1
            self.shop.trash(woo_id)
        elif dice < 0.08:
            self.happened["deleted for good"] += 1
            self.shop.delete(woo_id)
        else:
            self.happened["edited"] += 1
            self.shop.edit(woo_id, customer_note=f"note {self.rng.randrange(10**6)}")

    def restore_all(self) -> None:
        """An order in the trash has no status to compare."""
        for woo_id, order in sorted(self.shop.orders.items()):
            if order["status"] == "trash":
                self.shop.restore(woo_id)

    def give_way_in_the_crm(self) -> None:
        """Where a move was refused, people in the CRM set what the shop shows."""
        lifecycle = current_lifecycle(self.bridge)
        for crm_id, order in sorted(self.crm.orders.items()):
            shown = self.shop.orders.get(self.pair.woo_id(order["external_id"]) or 0)
            if shown and shown["status"] != lifecycle.status_map[order["status"]]:
                self.happened["given way"] += 1
                self.crm.set_status(crm_id, lifecycle.meaning(shown["status"])[0])

    # --- what is true in the end -----------------------------------------------------------------------------------

    def in_the_crm(self) -> dict[int, list[Shown]]:
        """What it has of each order of the shop."""
        found = defaultdict(list)
        for one in self.crm.shown():
            if woo_id := self.pair.woo_id(one.external_id.removeprefix(MARK)):
                found[woo_id].append(one)
        return found

    def _told_otherwise(self, shown: Shown, order: dict[str, Any]) -> Iterator[str]:
        told = self.crm.orders[shown.crm_order_id]["order"]
        for name, value in document(order).items():
            if name not in ("status", "refunds") and told.get(name) != value:
                yield f"{order['id']}: the CRM has another {name}"

    def differences(self, *, restored: bool = False) -> Iterator[str]:
        """Nothing, if every order is linked once and equal on both sides, and nothing moved backwards. `restored`: that
        the CRM took a move back may have been refused, and forgotten with the database."""
        lifecycle = current_lifecycle(self.bridge)
        links = {link.woo_id: link for link in OrderLink.objects.filter(bridge=self.bridge)}
        refused, shown = _last_refusals(self.bridge), self.in_the_crm()
        for woo_id, order in sorted(self.shop.orders.items()):
            twins = shown[woo_id]
            if len(twins) != 1 or woo_id not in links or links[woo_id].crm_order_id != twins[0].crm_order_id:
                yield f"{woo_id}: {len(twins)} times in the CRM, link {links.get(woo_id)}"
                continue
            yield from self._told_otherwise(twins[0], order)
            target = lifecycle.status_map[twins[0].status]
            if restored and lifecycle.is_ahead(order["status"], of=target):
                continue
            if order["status"] != target and refused.get(woo_id) != target:
                yield f"{woo_id}: {twins[0].status} in the CRM, {order['status']} in the shop"
        for woo_id, link in links.items():
            if woo_id not in self.shop.orders and link.woo_status != "trash":
                yield f"{woo_id}: deleted in the shop, and the CRM was not told"
        for write in self.shop.status_writes:
            if write.old not in (write.new, "trash") and not lifecycle.allows(write.old, write.new):
                yield f"{write.woo_id}: moved backwards, {write.old} → {write.new}"
        for event in WebhookEvent.objects.filter(bridge=self.bridge, state__in=(State.DEAD, *_unfinished())):
            yield f"{event}: {event.state}, {event.reason}"

    def crossed(self) -> Iterator[str]:
        """Orders of another shop that are in this one's place, wherever: in the CRM, in a link, in the shop."""
        mine = {crm_id: one for crm_id, one in self.crm.orders.items() if self.pair.woo_id(one["external_id"])}
        for crm_id, order in mine.items():
            key = order["order"].get("order_key", self.pair.mark)
            if not key.startswith(self.pair.mark):
                yield f"{self.pair.bridge}: {crm_id} is named {order['external_id']}, and holds {key}"
        for link in OrderLink.objects.filter(bridge=self.bridge):
            if link.crm_order_id not in mine:
                yield f"{self.pair.bridge}: {link} leads to an order that is not of this shop"
        for woo_id, order in self.shop.orders.items():
            if not order["order_key"].startswith(self.pair.mark):
                yield f"{self.pair.bridge}: {woo_id} in the shop has the key {order['order_key']}"
        for event in WebhookEvent.objects.filter(bridge=self.bridge, source="woocommerce").exclude(body=b""):
            told = json.loads(bytes(event.body))
            key = told.get("order_key", self.pair.mark) if isinstance(told, dict) else self.pair.mark
            if not key.startswith(self.pair.mark):
                yield f"{self.pair.bridge}: {event} brings {key}"

    @property
    def bridge(self) -> int:
        return Bridge.objects.get(slug=self.pair.bridge).pk


def _last_refusals(bridge: int) -> dict[int, str]:
    """Where the last word about an order was that its move is not allowed: there the two may differ."""
    last: dict[int, str] = {}
    for link in OrderLink.objects.filter(bridge=bridge).prefetch_related("transitions"):
        newest = link.transitions.order_by("-sequence").first()
        if newest and newest.decision == "refused":
            last[link.woo_id] = newest.to_status
    return last


def _unfinished() -> tuple[str, ...]:
    return (State.PENDING, State.PROCESSING, State.RETRYING)


def figures(seconds: float) -> dict[str, Any]:
    swept = WebhookEvent.objects.filter(source="sweep")
    return {
        "seconds": round(seconds, 1),
        "linked": OrderLink.objects.count(),
        "events": WebhookEvent.objects.count(),
        "found by sweep": swept.count(),
        "found in vain": swept.filter(outcome__in=(Outcome.NO_CHANGE, Outcome.STALE)).count(),
        "refused moves": StatusTransition.objects.filter(decision=Decision.REFUSED).count(),
    }
