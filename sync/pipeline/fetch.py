"""Answer what the orders of a batch have to know (`read`): each kind of question for all that ask it at once."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import Q

from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.clients.answers import KEPT_CHARACTERS
from sync.clients.bridged import crm_of, shop_of
from sync.clients.crm.base import BatchReads
from sync.clients.errors import SideError
from sync.clients.http import CallRecord
from sync.clients.redaction import clean
from sync.models import Intent
from sync.pipeline.batch import Batch, NotBegun
from sync.pipeline.claim import Claim, lease_key
from sync.pipeline.leases import Busy
from sync.pipeline.plan import Decision
from sync.pipeline.read import (
    CrmOrder,
    CrmOrderNamed,
    IntentOf,
    LeaseOn,
    LifecycleNow,
    LinkOf,
    OptionsNow,
    Question,
    Reading,
    ShopOrder,
    decide,
)
from webhooks import clock
from webhooks.connections import Bridge

Answers = dict[Claim, Any]
"""An exception stands for an answer that could not be had."""


def decide_all(batch: Batch, claims: Sequence[Claim]) -> dict[Claim, Decision | Exception]:
    """What is to be done for each, or why that could not be told."""
    readings: dict[Claim, Reading] = {claim: decide(claim) for claim in claims}
    decided: dict[Claim, Decision | Exception] = {}
    asked: dict[Claim, Question] = {}

    def go_on(claim: Claim, answer: Any) -> None:
        reading = readings[claim]
        try:
            asked[claim] = reading.throw(answer) if isinstance(answer, Exception) else reading.send(answer)
        except StopIteration as end:
            decided[claim] = end.value
        except Exception as error:
            decided[claim] = error

    for claim in claims:
        go_on(claim, None)
    while asked:
        batch.keep_leases()
        kind = type(next(iter(asked.values())))
        alike = {claim: asked.pop(claim) for claim, question in list(asked.items()) if type(question) is kind}
        try:
            answers = ANSWERED_BY[kind](batch, alike)
        except Exception as error:  # a bug, or the database: each order records that it failed
            answers = dict.fromkeys(alike, error)
        for claim, answer in answers.items():
            go_on(claim, answer)
    return {claim: decided[claim] for claim in claims}


# --- what we know ourselves ----------------------------------------------------------------------------------------


def _lifecycle(batch: Batch, asked: Mapping[Claim, LifecycleNow]) -> Answers:
    return dict.fromkeys(asked, current_lifecycle(batch.bridge.pk))


def _options(batch: Batch, asked: Mapping[Claim, OptionsNow]) -> Answers:
    return dict.fromkeys(asked, batch.bridge.options)


def _links(batch: Batch, asked: Mapping[Claim, LinkOf]) -> Answers:
    by_shop = [one.woo_id for one in asked.values() if one.woo_id is not None]
    by_crm = [one.crm_order_id for one in asked.values() if one.woo_id is None]
    wanted = [Q(woo_id__in=by_shop)] * bool(by_shop) + [Q(crm_order_id__in=by_crm)] * bool(by_crm)
    found = [link for some in wanted for link in OrderLink.objects.filter(some, bridge=batch.bridge)]
    links: dict[Any, OrderLink] = {key: link for link in found for key in (link.woo_id, link.crm_order_id)}
    return {claim: links.get(one.crm_order_id if one.woo_id is None else one.woo_id) for claim, one in asked.items()}


def _intents(batch: Batch, asked: Mapping[Claim, IntentOf]) -> Answers:
    rows = Intent.objects.filter(bridge=batch.bridge, woo_id__in=[one.woo_id for one in asked.values()])
    intents = {IntentOf(row.woo_id, Intent.Kind(row.kind)): row for row in rows}
    return {claim: intents.get(one) for claim, one in asked.items()}


def _leases(batch: Batch, asked: Mapping[Claim, LeaseOn]) -> Answers:
    """Once the pair is known, the order is known by its shop id."""
    answers: Answers = {}
    for claim, one in asked.items():
        key = lease_key(batch.bridge.pk, one.woo_id)
        answers[claim] = key not in claim.lease.keys
        if answers[claim]:
            try:
                claim.lease.take(key)
            except Busy as busy:
                answers[claim] = busy
    return answers


# --- what the two sides say ----------------------------------------------------------------------------------------


def _shop_orders(batch: Batch, asked: Mapping[Claim, ShopOrder]) -> Answers:
    """One list shows them all; whoever is not in it is asked for alone before anything is concluded."""
    return _read(
        batch,
        {claim: one.woo_id for claim, one in asked.items()},
        many=lambda calls, ids: shop_of(batch.bridge, calls.append, batch.keep_leases).get_many(ids),
        one=lambda claim, woo_id: claim.shop().get(woo_id),
    )


def _crm_orders(batch: Batch, asked: Mapping[Claim, CrmOrder]) -> Answers:
    return _read(
        batch,
        {claim: one.crm_order_id for claim, one in asked.items()},
        many=_many_of_crm(batch, "get_many"),
        one=lambda claim, crm_order_id: claim.crm().get(crm_order_id),
    )


def _crm_orders_named(batch: Batch, asked: Mapping[Claim, CrmOrderNamed]) -> Answers:
    """An answer that shows an order which is known to be there is believed of those that it does not show."""

    def many(calls: list[CallRecord], names: list[str]) -> Mapping[str, Any]:
        there = _one_in_crm(batch.bridge)
        found = _many_of_crm(batch, "find_many")(calls, [*names, *there])
        is_proved = len(calls) == 1 and any(found.get(name) for name in there)
        return {name: order for name, order in found.items() if order or is_proved}

    return _read(
        batch,
        {claim: one.external_id for claim, one in asked.items()},
        many=many,
        one=lambda claim, external_id: claim.crm().find(external_id),
    )


def _one_in_crm(bridge: Bridge) -> list[str]:
    """The name of the order that was linked last, if the CRM has had the time to list it."""
    listed = clock.now() - timedelta(seconds=2 * bridge.crm_config.list_lag)
    named = OrderLink.objects.filter(bridge=bridge, created_at__lt=listed).exclude(external_id="")
    return list(named.order_by("-pk").values_list("external_id", flat=True)[:1])


Many = Callable[[list[CallRecord], list[Any]], Mapping[Any, Any]]


def _many_of_crm(batch: Batch, verb: str) -> Many:
    """Not every backend reads many at once."""

    def read(calls: list[CallRecord], ids: list[Any]) -> Mapping[Any, Any]:
        crm = crm_of(batch.bridge, calls.append, batch.keep_leases)
        return getattr(crm, verb)(ids) if isinstance(crm, BatchReads) else {}

    return read


def _read(
    batch: Batch,
    ids: Mapping[Claim, Any],
    *,
    many: Many,
    one: Callable[[Claim, Any], Any],
) -> Answers:
    """All at once, and what that does not show one by one, several at a time."""
    answers: Answers = {}
    began = time.monotonic()

    def timed(claim: Claim) -> Any:
        claim.read_at = claim.read_at or time.monotonic()
        return one(claim, ids[claim])

    if len(ids) > 1:
        calls: list[CallRecord] = []
        try:
            found = many(calls, sorted(set(ids.values())))
        except SideError as error:
            batch.note(error)
            found = {}
            if batch.trouble:
                answers[next(iter(ids))] = error
        answers |= {claim: found[name] for claim, name in ids.items() if name in found}
        _share(calls, ids, answers)
    alone = [claim for claim in ids if claim not in answers]
    for claim in answers:
        claim.read_at = claim.read_at or began
    for some in batch.each(timed, alone):
        answers |= dict(some)
    return {claim: answers[claim] if claim in answers else NotBegun() for claim in ids}


def _share(calls: Sequence[CallRecord], claims: Iterable[Claim], answers: Answers) -> None:
    """The calls count with the first order. Each order keeps what they said of it, and of no other."""
    for place, claim in enumerate(claims):
        said = getattr(answers.get(claim), "order", None) or getattr(answers.get(claim), "answer", None)
        body = clean(json.dumps(said, ensure_ascii=False, default=str))[:KEPT_CHARACTERS] if said else ""
        for call in calls if place == 0 else calls[-1:]:
            is_good = call.status is not None and call.status < 400
            told = body if is_good else call.response_body
            claim.calls.append(replace(call, response_body=told, is_shared=place > 0))


ANSWERED_BY: dict[type, Callable[[Batch, Mapping[Claim, Any]], Answers]] = {
    LifecycleNow: _lifecycle,
    OptionsNow: _options,
    LinkOf: _links,
    IntentOf: _intents,
    LeaseOn: _leases,
    ShopOrder: _shop_orders,
    CrmOrder: _crm_orders,
    CrmOrderNamed: _crm_orders_named,
}
