"""Planted bugs: each is one small change to the code, and the model has to find it. A test of the tests.

`python -m tests.model.bugs` plants one after the other and plays its history; then all of them without.
"""

import gc
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Bug:
    """Where `old` stands exactly once, inside a function, `new` is put in its place."""

    name: str
    file: str
    old: str
    new: str
    history: str
    "A short one in which it breaks a promise."

    def plant(self) -> list[tuple[FunctionType, CodeType]]:
        """In the code that is loaded: its functions stay what they are, and are given other bodies. Returns theirs."""
        file = ROOT / self.file
        text = file.read_text()
        assert text.count(self.old) == 1, f"{self.name}: {self.file} has {self.old!r} {text.count(self.old)} times"
        sound, faulty = (_bodies(compile(one, file, "exec")) for one in (text, text.replace(self.old, self.new)))
        bodies = {_place(sound[key]): faulty[key] for key in sound.keys() & faulty.keys()}
        there = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
        before = [(one, one.__code__) for one in there if one.__code__.co_filename == str(file)]
        assert before, f"{self.name}: nothing of {self.file} is loaded"
        for one, body in before:
            one.__code__ = bodies[_place(body)]
        return before

    @contextmanager
    def planted(self) -> Iterator[None]:
        before = self.plant()
        try:
            yield
        finally:
            for one, body in before:
                one.__code__ = body


def _place(body: CodeType) -> tuple[str, int]:
    return body.co_qualname, body.co_firstlineno


def _bodies(module: CodeType) -> dict[tuple[str, int], CodeType]:
    """Each piece of code in it, by its name and by how many of this name come before it."""
    found: dict[tuple[str, int], CodeType] = {}
    seen: Counter[str] = Counter()
    ahead = [module]
    while ahead:
        body = ahead.pop(0)
        found[body.co_qualname, seen[body.co_qualname]] = body
        seen[body.co_qualname] += 1
        ahead += [one for one in body.co_consts if isinstance(one, CodeType)]
    return found


BUGS = (
    Bug(
        name="an order is created without looking for it in the CRM",
        file="sync/pipeline/read.py",
        old="found = (yield CrmOrderNamed(name)) if link is None and (shop.is_known or tried) else None",
        new="found = None",
        history="""
            begin(honours_key=False)
            worker_dies(cause='order is edited', order=0, status='new', steps=14)
            delivery_is_lost(place=0)
        """,
    ),
    Bug(
        name="a creation that is about to be sent is not remembered",
        file="sync/pipeline/intents.py",
        old="return Intent(bridge=claim.bridge, woo_id=int(claim.order_ref), kind=Intent.Kind.CREATE, at=at)",
        new="return None",
        history="""
            begin(honours_key=False, list_lag=55.0)
            worker_dies(cause='order is edited', order=0, status='new', steps=17)
        """,
    ),
    Bug(
        name="a creation in doubt is forgotten",
        file="sync/pipeline/intents.py",
        old="in_doubt, nothing_sent = error.may_have_got_through, isinstance(error, Unreachable)",
        new="in_doubt, nothing_sent = False, True",
        history="""
            begin(honours_key=False, list_lag=8.0)
            write_fails(side='crm', trouble='lost to a 500', cause='order is edited', order=0, status='new')
            time_passes(seconds=5)
            workers_work()
        """,
    ),
    Bug(
        name="a number that the shop gave again is taken for the order before it",
        file="sync/pipeline/strangers.py",
        old="if is_same(link.identity, identity(shop.order)):",
        new="if True:",
        history="""
            begin(linked=True)
            shop_gives_a_number_again(order=0)
        """,
    ),
    Bug(
        name="an id that the CRM gave again is taken for the order before it",
        file="sync/pipeline/strangers.py",
        old="if link is None or crm is None or is_named(crm.external_id, link.woo_id, link.prefix, link.external_id):",
        new="if True:",
        history="""
            begin(linked=True)
            crm_gives_an_id_again(order=0)
        """,
    ),
    Bug(
        name="a copy's delivery and the shop's own are answered together",
        file="sync/pipeline/internal_events.py",
        old="return is_staff_action(event), unknown(event)",
        new="return is_staff_action(event), frozenset()",
        history="""
            begin(linked=True)
            order_is_edited(order=0)
            copy_of_the_shop_delivers(order=0, status='cancelled', is_known_here=True)
            all_deliveries_arrive()
        """,
    ),
    Bug(
        name="versions are ignored",
        file="sync/pipeline/decide.py",
        old="return read > known or (read == known and crm.status != link.crm_status)",
        new="return True",
        history="""
            begin(linked=True, read_lag=5.0)
            crm_moves(order=0, status='on_hold')
            everything_settles()
            time_passes(seconds=61)
            crm_moves(order=0, status='failed')
            everything_settles()
            staff_replay(place=3)
        """,
    ),
    Bug(
        name="a CRM that lags behind its own event is believed",
        file="sync/pipeline/decide.py",
        old="if lags is not None and lags < READ_AGAIN_FOR:",
        new="if False:",
        history="""
            begin(linked=True, read_lag=5.0)
            crm_moves(order=0, status='on_hold')
            everything_settles()
            crm_moves(order=0, status='failed')
        """,
    ),
    Bug(
        name="steps of the lifecycle go both ways",
        file="orders/lifecycle.py",
        old="sorted(self.moves.get(here, ()))",
        new="sorted({*self.moves.get(here, ()), *(one for one, news in self.moves.items() if here in news)})",
        history="""
            begin(linked=True)
            crm_moves(order=0, status='shipped')
            everything_settles()
            crm_moves(order=0, status='on_hold')
        """,
    ),
    Bug(
        name="a status without a rule has a default",
        file="orders/lifecycle.py",
        old="return self.status_map[crm_status]",
        new='return self.status_map.get(crm_status, "processing")',
        history="""
            begin(linked=True)
            crm_moves_to_a_status_without_a_rule(order=0)
        """,
    ),
    Bug(
        name="a worker goes on after its lease was lost",
        file="sync/pipeline/leases.py",
        old="if cursor.rowcount != len(keys):",
        new='if cursor.rowcount != len(keys) and "DELETE" in statement:',
        history="""
            begin(linked=True)
            worker_sleeps_while_others_work(cause='CRM moves', order=0, status='paid', steps=8)
        """,
    ),
    Bug(
        name="a worker records after its lease was lost",
        file="sync/pipeline/leases.py",
        old="if cursor.rowcount != len(keys):",
        new='if cursor.rowcount != len(keys) and "UPDATE" in statement:',
        history="""
            begin(linked=True)
            worker_sleeps_while_others_work(cause='CRM moves', order=0, status='on_hold', steps=12)
        """,
    ),
    Bug(
        name="an event is done before its effect",
        file="sync/pipeline/process.py",
        old="    plans, begun, old = dict(planned), set[Claim](), list[Claim]()\n",
        new="    plans, begun, old = dict(planned), set[Claim](), list[Claim]()\n"
        "    for one, plan in planned:\n"
        "        record._change(record._changes(one, plan, Applied()))\n",
        history="""
            begin()
            worker_dies(cause='order is edited', order=0, status='new', steps=16)
        """,
    ),
    Bug(
        name="two states of an order that share a delivery id are one",
        file="webhooks/sources.py",
        old='dedupe_key=f"hash:{_sha256(body)}",\n        by_hash=True,\n        topic',
        new="dedupe_key=headers['X-WC-Webhook-Delivery-ID'],\n        by_hash=False,\n        topic",
        history="""
            begin(linked=True)
            order_is_edited(order=0)
            all_deliveries_arrive()
            workers_work()
            order_is_edited(order=0)
        """,
    ),
    Bug(
        name="the echo of our own write is sent on",
        file="sync/pipeline/decide.py",
        old="if shop.is_known_as(link.woo_fingerprint):",
        new="if False:",
        history="""
            begin(linked=True)
            crm_moves(order=0, status='paid')
        """,
    ),
    Bug(
        name="what arrives during the work counts as answered by it",
        file="sync/pipeline/record.py",
        old="for event in claim.events[:-1]]",
        new="for event in WebhookEvent.objects.filter(side=claim.side, order_ref=claim.order_ref).unfinished()"
        ".exclude(id=claim.newest.id)]",
        history="""
            begin(linked=True)
            more_happens_meanwhile(
                cause='order is edited', meanwhile='order is edited', order=0, status='new', then='new', steps=6
            )
        """,
    ),
    Bug(
        name="the breaker never opens",
        file="sync/clients/breaker.py",
        old="failures__gte=enough",
        new="failures__gte=10**9",
        history="""
            begin(linked=True)
            order_is_edited(order=0)
            all_deliveries_arrive()
            long_outage(side='crm', trouble='500')
        """,
    ),
    Bug(
        name="a status is written without the CRM's id",
        file="sync/pipeline/decide.py",
        old="write=_set_status(shop, target, crm.crm_order_id),",
        new='write=_set_status(shop, target, ""),',
        history="""
            begin(linked=True)
            crm_moves(order=0, status='paid')
        """,
    ),
    Bug(
        name="a write that was not recorded is never logged",
        file="sync/pipeline/decide.py",
        old="if shop is None or pending is None or pending.from_status in (pending.to_status, shop.status):",
        new="if True:",
        history="""
            begin(linked=True)
            worker_dies(cause='CRM moves', order=0, status='paid', steps=18)
        """,
    ),
    Bug(
        name="a status in the CRM's answer to an update counts as applied",
        file="sync/pipeline/links.py",
        old="if answer is not None and (applied.created or answer.status == row.crm_status):",
        new="if answer is not None:",
        history="""
            begin(linked=True)
            crm_moves(order=0, status='paid')
            order_is_edited(order=0)
            delivery_arrives(place=1)
            workers_work()
        """,
    ),
    Bug(
        name="what no delivery told of the shop is not found",
        file="sync/jobs/missed.py",
        old="    if (order.is_unchanged_since if at_rest else order.is_known_as)(link.woo_fingerprint):",
        new="    if link:",
        history="""
            begin(linked=True)
            order_is_edited(order=0)
            delivery_is_lost(place=0)
            everything_settles_after_a_sweep()
        """,
    ),
    Bug(
        name="what no delivery told of the CRM is not found",
        file="sync/jobs/missed.py",
        old="    if crm.status == link.crm_status:",
        new="    if link:",
        history="""
            begin(linked=True)
            crm_moves(order=0, status='paid')
            delivery_is_lost(place=0)
            everything_settles_after_a_sweep()
        """,
    ),
)
BY_NAME = {bug.name: bug for bug in BUGS}


def main() -> None:
    """Writes what each bug's history breaks with it and without."""
    from tests.model.rounds import play_again, prepare

    prepare()
    gc.unfreeze()  # or their functions would not be found
    broken = {}
    for bug in BUGS:
        with bug.planted():
            broken[bug.name] = play_again(bug.history)
    without = {bug.name: play_again(bug.history) for bug in BUGS}
    json.dump({"with": broken, "without": without}, sys.stdout)


if __name__ == "__main__":
    main()
