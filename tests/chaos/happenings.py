"""What goes wrong, one thing after the other, in an order that the seed decides."""

import itertools
import random
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from sync.sandbox.crms.base import StandIn
from sync.sandbox.faults import Fault
from sync.sandbox.outbox import Network
from sync.sandbox.server import Answer, LoopbackServer, Request
from sync.sandbox.shop import SandboxShop
from tests.benchmarks.running import say
from tests.chaos.pairs import Pair, crms, path, shops
from tests.chaos.service import AHEAD, Service, wait_for
from tests.chaos.stores import Stores

Happening = Callable[[], None]
WRITES = ("POST", "PUT", "PATCH")
OWN_JUMP = 20
"""Seconds, forwards or back: less than a lease lasts."""
LISTED_BY = 2.0
"""Seconds after which the CRM's lists show all that it has: a restore takes longer than they lag."""
WRITES_BEFORE_DEATH, PATIENCE = 4, 40
"""Of these one is the last, by lot; and seconds for which it is waited for: a cluster may be starting just then."""
MAINTENANCE = 600
"""Seconds for which WordPress asks to be left alone, whenever it puts an update in place."""


def plan(seed: int, names: Iterable[str]) -> Iterator[tuple[float, str]]:
    """Without end: how many seconds nothing happens, and what does then. Each once before any comes again."""
    rng = random.Random(seed)
    known = sorted(names)
    while known:
        for name in rng.sample(known, len(known)):
            yield rng.uniform(0.5, 3), name


class Happenings:
    """`clock_file`: what our own processes believe to be the time, if they are deceived (deceived/).

    `only`: what has this in its name.
    """

    def __init__(
        self,
        seed: int,
        service: Service,
        stores: Stores,
        shop: SandboxShop,
        crm: StandIn,
        clock_file: Path | None,
        only: str = "",
        pairs: Sequence[Pair] = (),
    ) -> None:
        """`pairs`: where there are several, each with a shop; the first are those of the environment."""
        self.only, self.seed = only, seed
        self.rng = random.Random(seed)
        self.service, self.stores, self.shop, self.crm, self.clock_file = service, stores, shop, crm, clock_file
        self.pairs = pairs
        self.happened: Counter[str] = Counter()
        self.forgotten: set[str] = set()
        "Bodies that were answered after a backup, and before the database was put back from it."
        self.broke_off = ""
        "Why nothing went wrong any more, if so."
        self._pause = threading.Event()
        if not self.all():
            raise SystemExit(f"nothing that can go wrong here has {only!r} in its name")

    def all(self) -> dict[str, Happening]:
        known: dict[str, Happening] = {
            "kill -9 of a worker, monitor or pusher": lambda: self.service.kill_a_part(self.rng),
            "kill -9 of a whole cluster": lambda: self.service.kill_a_cluster(self.rng),
            "kill -9 of a web server": lambda: self.service.kill_a_web(self.rng),
            "full stop of everything": self._full_stop,
            "the database is put back from a backup": self._restore,
            "shop down": lambda: self._down(self.rng.choice(self.shops)),
            "CRM down": lambda: self._down(self.rng.choice(self.crms)),
            "slow answers": lambda: self._fault("slow", seconds=self.rng.uniform(0.2, 4)),
            "429": lambda: self._fault("429", after=1.0),
            "500": lambda: self._fault("500"),
            "HTML": lambda: self._fault(self.rng.choice(("html", "captcha-202", "502"))),
            "answers cut off": lambda: self._fault("truncated"),
            "answers lost after the effect": self._lost_answers,
            "kill -9 of a whole cluster as it writes to the CRM": self._killed_at_a_write,
            "the CRM does not know our key": self._wrong_key,
            "clock jump of a side": self._clock_jump,
            "WordPress in maintenance": self._maintenance,
            f"a host whose clock is {AHEAD} s ahead comes or goes": self._guest,
        }
        if self.stores.postgres:
            known["PostgreSQL killed and started"] = self._database_away
        if self.stores.postgres and self.stores.redis:
            known["PostgreSQL and Redis away at once"] = self._both_away
        if self.stores.redis:
            known["FLUSHALL"] = self.stores.flush
            known["Redis killed and started"] = self._broker_away
            known["Redis accepts and never answers"] = self._broker_hangs
        if self.stores.disk_is_own:
            known["disk full"] = self._disk_full
        if self.clock_file:
            known["our own clock jumps"] = self._own_clock_jump
        return {name: deed for name, deed in known.items() if self.only in name}

    def left_out(self) -> Iterator[str]:
        """What this run can not do, and why. A store that is not in use goes without saying."""
        if not self.stores.disk_is_own:
            yield "disk full: the database needs a small file system of its own, and only root may mount one"
        if not self.clock_file:
            yield "our own clock jumps: not together with a CRM that ignores the key, as this seed wants it"

        if not self.crm.has_versions:
            yield "the CRM's clock jumps: it has no versions, and orders are ordered by its times"

    def go_on(self, until: threading.Event) -> None:
        """By the plan of the seed. Details of each have a seed of their own, whatever the one before has drawn."""
        known, began = self.all(), time.monotonic()
        try:
            for number, (pause, name) in enumerate(plan(self.seed, known)):
                if until.wait(pause):
                    return
                say(f"  {time.monotonic() - began:4.0f} s  {name}")
                self.rng.seed(f"{self.seed} {number}")
                self.happened[name] += 1
                known[name]()
                for shop in self.shops:
                    shop.enable_webhooks()
        except Exception:
            self.broke_off = traceback.format_exc()
            say(self.broke_off)

    def tell_the_hosts(self) -> None:
        """Each topic of the shop goes to one of those that are there now; what the CRM says, to the last of them."""
        urls = [host.url for host in self.service.hosts]
        for pair in self.pairs or (Pair(shop=self.shop, crm=self.crm),):
            with pair.shop.lock:
                for number, hook in enumerate(pair.shop.webhooks.values()):
                    hook["delivery_url"] = f"{urls[number % len(urls)]}{path('woocommerce', pair.shop_slug)}"
            pair.crm.webhook_url = f"{urls[-1]}{path('crm', pair.crm_slug)}"

    @property
    def shops(self) -> list[SandboxShop]:
        return shops(self.pairs) or [self.shop]

    @property
    def crms(self) -> list[StandIn]:
        return crms(self.pairs) or [self.crm]

    @property
    def sides(self) -> list[LoopbackServer]:
        return [*self.shops, *self.crms]

    def bad_road(self) -> None:
        for server in self.sides:
            rng = random.Random(self.rng.random())
            server.network = Network(lose=0.1, double=0.2, delay=0.3, longest=2.0, rng=rng)

    def mend(self) -> None:
        """What was lost stays lost; from now on everything works."""
        self.stores.mend()
        for server in self.sides:
            server.faults.clear()
            server.network = Network()
            server.clock_is_ahead = timedelta()
        self._set_own_clock(0)
        if self.service.guest in self.service.hosts:
            self._guest()

    def _wait(self, shortest: float, longest: float) -> None:
        self._pause.wait(self.rng.uniform(shortest, longest))

    def _side(self) -> LoopbackServer:
        return self.rng.choice(self.sides)

    def _full_stop(self) -> None:
        self.service.stop_everything()
        self._wait(1, 4)
        self.service.start_everything()

    def _restore(self) -> None:
        """The backup is written under load. What comes after it is lost with the database, and asked for again."""
        with tempfile.TemporaryDirectory(prefix="orderbridge-chaos-") as folder:
            copy, sides = Path(folder, "copy"), self.sides
            before = [len(side.deliveries) for side in sides]
            self._manage("backup", "write", str(copy))
            self._manage("backup", "check", str(copy))
            self._wait(2, 8)
            self.service.stop_everything()
            self._wait(LISTED_BY, LISTED_BY + 2)
            for side, number in zip(sides, before, strict=True):
                self.forgotten |= {one.body_sha256 for one in side.deliveries[number:] if one.status == 200}
            self.stores.restore(copy)
        self.service.start_everything()

    def _manage(self, *command: str) -> None:
        done = self.service.manage(*command)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:2])}: {(done.stdout + done.stderr).strip()}")

    def _down(self, side: LoopbackServer) -> None:
        side.stop()
        self._wait(1, 6)
        side.start()

    def _fault(self, name: str, **more: float) -> None:
        side = self._side()
        side.faults.add(name, share=self.rng.choice((0.3, 1.0)), **more)
        self._wait(1, 6)
        side.faults.clear()

    def _lost_answers(self) -> None:
        for side in self.sides:
            for method in WRITES:
                side.faults.add("timeout-after-effect", share=0.5, method=method)
        self._wait(2, 6)
        for side in self.sides:
            side.faults.clear()

    def _killed_at_a_write(self) -> None:
        """Right before a write of it takes effect, or right after: what it wrote before stays, as a customer whose
        order is not there yet."""
        crm, dead = self.rng.choice(self.crms), threading.Event()
        as_ever, turn, after = crm.handle, itertools.count(), self.rng.random() < 0.5
        fatal = self.rng.randrange(WRITES_BEFORE_DEATH)

        def handle(request: Request, fault: Fault | None) -> Answer:
            is_fatal = request.method in WRITES and next(turn) == fatal
            answer = as_ever(request, fault) if after or not is_fatal else Answer(503)
            if is_fatal:
                for host in self.service.hosts:
                    host.cluster.kill()
                dead.set()
            return answer

        with patch.object(crm, "handle", handle):
            wait_for(dead.is_set, PATIENCE, "nothing was written to the CRM")

    def _wrong_key(self) -> None:
        """Somebody revoked it, and makes it valid again after some seconds."""
        crm = self.rng.choice(self.crms)
        as_ever, key = crm.handle, getattr(crm, "token", None) or crm.settings["token"]

        def handle(request: Request, fault: Fault | None) -> Answer:
            headers = {name: value.replace(key, "revoked") for name, value in request.headers.items()}
            body = request.body.replace(key.encode(), b"revoked")
            return as_ever(replace(request, headers=headers, body=body), fault)

        with patch.object(crm, "handle", handle):
            self._wait(2, 10)

    def _clock_jump(self) -> None:
        side = self._side() if self.crm.has_versions else self.shop
        side.clock_is_ahead = timedelta(seconds=self.rng.uniform(-7200, 7200))
        self._wait(2, 10)
        side.clock_is_ahead = timedelta()

    def _maintenance(self) -> None:
        """While its updater moves files: all that it is asked is answered by a page, for some seconds."""
        shop = self.rng.choice(self.shops)
        shop.faults.add("503-retry-after", after=MAINTENANCE)
        self._wait(2, 10)
        shop.faults.clear()

    def _guest(self) -> None:
        """It stays, whatever happens next, until its turn comes again: hosts whose clocks are apart work at once."""
        if self.service.guest in self.service.hosts:
            self.service.see_off()
        else:
            self.service.invite()
            wait_for(self.service.answers, 60, "the host whose clock is ahead does not answer")
        self.tell_the_hosts()

    def _own_clock_jump(self) -> None:
        self._set_own_clock(self.rng.randint(-OWN_JUMP, OWN_JUMP))
        self._wait(2, 10)
        self._set_own_clock(0)

    def _set_own_clock(self, seconds: int) -> None:
        if self.clock_file:
            self.clock_file.write_text(str(seconds))

    def _database_away(self) -> None:
        assert self.stores.postgres
        self.stores.postgres.stop()
        self._wait(0, 6)
        self.stores.postgres.start()

    def _broker_away(self) -> None:
        assert self.stores.redis
        self.stores.redis.stop()
        self._wait(0, 4)
        self.stores.redis.start()

    def _broker_hangs(self) -> None:
        assert self.stores.redis
        self.stores.redis.hang()
        self._wait(2, 12)
        self.stores.redis.answer()

    def _both_away(self) -> None:
        assert self.stores.postgres and self.stores.redis
        both = self.rng.sample((self.stores.postgres, self.stores.redis), 2)
        for one in both:
            one.stop()
        self._wait(0, 4)
        for one in both:
            one.start()

    def _disk_full(self) -> None:
        self.stores.fill_the_disk()
        self._wait(2, 6)
        self.stores.mend()
