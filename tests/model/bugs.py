"""Planted bugs: each is one small change to the code, and the model has to find it. A test of the tests."""

import shutil
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("integration_site", "orders", "sync", "webhooks")


@dataclass(frozen=True, kw_only=True)
class Bug:
    """Where `old` stands exactly once, `new` is put in its place."""

    name: str
    file: str
    old: str
    new: str

    def plant(self, source: Path, target: Path) -> None:
        """A copy of the code with this bug in it, next to the model that is to find it."""
        for package in (*PACKAGES, "tests/model"):
            shutil.copytree(source / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("__init__.py", "settings.py"):
            shutil.copy(source / "tests" / name, target / "tests" / name)
        text = (target / self.file).read_text()
        assert text.count(self.old) == 1, f"{self.name}: {self.file} has {self.old!r} {text.count(self.old)} times"
        (target / self.file).write_text(text.replace(self.old, self.new))


BUGS = (
    Bug(
        name="an order is created without looking for it in the CRM",
        file="sync/worker.py",
        old="found = None if link else work.crm().find(str(woo_id))",
        new="found = None",
    ),
    Bug(
        name="a creation that is about to be sent is not remembered",
        file="sync/worker.py",
        old="            remember(work, int(external_id), Intent.Kind.CREATE)\n",
        new="",
    ),
    Bug(
        name="a creation in doubt is forgotten",
        file="sync/worker.py",
        old="            except Unreachable:",
        new="            except SideError:",
    ),
    Bug(
        name="versions are ignored",
        file="sync/decide.py",
        old="return read > known or (read == known and crm.status != link.crm_status)",
        new="return True",
    ),
    Bug(
        name="a CRM that lags behind its own event is believed",
        file="sync/decide.py",
        old="if _lags(event, crm) and event.waited < READ_AGAIN_FOR:",
        new="if False:",
    ),
    Bug(
        name="steps of the lifecycle go both ways",
        file="orders/lifecycle.py",
        old="sorted(self.moves.get(here, ()))",
        new="sorted({*self.moves.get(here, ()), *(one for one, news in self.moves.items() if here in news)})",
    ),
    Bug(
        name="a status without a rule has a default",
        file="orders/lifecycle.py",
        old="return self.status_map[crm_status]",
        new='return self.status_map.get(crm_status, "processing")',
    ),
    Bug(
        name="a worker goes on after its lease was lost",
        file="sync/leases.py",
        old=".update(expires_at=until) != len(self.keys)",
        new=".update(expires_at=until) < 0",
    ),
    Bug(
        name="a worker records after its lease was lost",
        file="sync/leases.py",
        old="if gone != len(self.keys):",
        new="if gone < 0:",
    ),
    Bug(
        name="an event is done before its effect",
        file="sync/worker.py",
        old="            applied = apply(work, decision)\n",
        new="            finish(work, State.DONE, decision.outcome)\n            applied = apply(work, decision)\n",
    ),
    Bug(
        name="two states of an order that share a delivery id are one",
        file="webhooks/sources.py",
        old="for part in (hook, topic)), body)",
        new="for part in [headers['X-WC-Webhook-Delivery-ID']]))",
    ),
    Bug(
        name="the echo of our own write is sent on",
        file="sync/decide.py",
        old="if shop.fingerprint == link.woo_fingerprint:",
        new="if False:",
    ),
    Bug(
        name="what arrives during the work counts as answered by it",
        file="sync/worker.py",
        old="[event.id for event in work.events[:-1]]",
        new="list(WebhookEvent.objects.filter(side=work.side, order_ref=work.order_ref).unfinished()"
        '.exclude(id=work.newest.id).values_list("id", flat=True))',
    ),
    Bug(
        name="the breaker never opens",
        file="sync/sides.py",
        old="failures__gte=settings.BREAKER_THRESHOLD",
        new="failures__gte=10**9",
    ),
    Bug(
        name="a write that was not recorded is never logged",
        file="sync/decide.py",
        old="if shop is None or pending is None or not shop.status == pending.to_status != pending.from_status:",
        new="if True:",
    ),
    Bug(
        name="a status in the CRM's answer to an update counts as applied",
        file="sync/worker.py",
        old="if answer is not None and (applied.created or answer.status == row.crm_status):",
        new="if answer is not None:",
    ),
)
