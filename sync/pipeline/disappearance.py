"""Many orders that the shop does not know any more, at once: its fault, or a great clean-up? A person says which."""

from collections.abc import Iterable
from datetime import timedelta

from orders.models import OrderLink
from sync import alarms
from sync.models import Severity
from sync.pipeline.plan import Decision, Park, Reason
from webhooks import clock
from webhooks.models import Outcome, Side, WebhookEvent

FEW = 5
MOST = 500
ONE_IN = 10
WITHIN = timedelta(minutes=10)
LOOKED_AT = 2_000
"""The newest updates, among which those of the last minutes are looked for."""
ALARM = "gone"
GONE = Reason("shop_404", "The shop does not know this order any more (404), which counts as its trash.")
HELD = "many_gone"
ADVICE = (
    "Is it the shop: a backup that was brought up, a table that is gone, a plugin? Mend it; nothing else is to be "
    "done, as the next deep reconcile finds the orders there. If they are really gone, replay what is parked and run "
    "`reconcile --confirm-deleted`, or start it under Runs with the box They are really gone."
)


def too_many(gone: int, of: int) -> bool:
    """More than a few, if they are more than a tenth of those looked at, or very many (docs/decisions/0054)."""
    return gone > FEW and (gone * ONE_IN > of or gone > MOST)


def must_be_confirmed(gone: int, of: int, bridge: int) -> bool:
    """Of a sweep's finds. While the alarm is open, part of them may have been told already."""
    return too_many(gone, of) or (gone > 0 and _is_open(bridge))


def held(woo_id: int, bridge: int) -> Park | None:
    """Whether the CRM must not hear yet that this order is gone."""
    told = _told_lately(bridge) - {str(woo_id)}
    links = OrderLink.objects.filter(bridge=bridge)
    if not _is_open(bridge) and not too_many(len(told) + 1, links.count()):
        return None
    words = "Many orders are gone at once: the CRM is not told before a person says that it is so. A replay says it."
    return Park(reasons=(GONE, Reason(HELD, words)))


def _is_open(bridge: int) -> bool:
    return alarms.the_open_one(ALARM, bridge).exists()


def _told_lately(bridge: int) -> set[str]:
    since = clock.now() - WITHIN
    newest = WebhookEvent.objects.filter(bridge=bridge, side=Side.SHOP, outcome=Outcome.UPDATED).order_by("-id")
    rows = newest.values_list("order_ref", "reason", "finished_at")[:LOOKED_AT]
    return {order for order, reason, at in rows if at and at >= since and GONE.words in reason}


def see(decision: Decision, bridge: int) -> None:
    """Raise the alarm where the decision holds one back."""
    if isinstance(decision, Park) and any(reason.code == HELD for reason in decision.reasons):
        words = (
            f"The shop answers 404 for more than {FEW} linked orders within {WITHIN // timedelta(minutes=1)} minutes."
        )
        words = f"{words} Of the rest the CRM was not told."
        alarms.raise_alarm(ALARM, words, ADVICE, Severity.CRITICAL, bridge=bridge)


def found(gone: Iterable[int], of: int, bridge: int, *, quietly: bool) -> str:
    """What a sweep says that found too many, and the alarm, unless it was to write nothing."""
    some = sorted(gone)
    first = ", ".join(map(str, some[:FEW]))
    words = (
        f"{len(some)} of {of} linked orders are gone from the shop at once, among them {first}. The CRM was not told."
    )
    if not quietly:
        alarms.raise_alarm(ALARM, words, ADVICE, Severity.CRITICAL, bridge=bridge)
    return f"{words} {ADVICE}"
