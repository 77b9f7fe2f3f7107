"""What a person has to choose, because several customers of the CRM fit an order: asked, answered, remembered."""

from collections.abc import Mapping
from typing import Any

from sync.clients.crm import customers
from sync.clients.crm.customers import SeveralFit
from sync.clients.crm.draft import draft
from sync.models import OpenChoice, RememberedChoice
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim
from sync.pipeline.plan import CreateInCrm, Plan
from sync.pipeline.replays import Asked, ask_again
from webhooks import clock
from webhooks.customers import hashes_of
from webhooks.models import State, WebhookEvent


def recall(batch: Batch, plans: Mapping[Claim, Plan]) -> None:
    """What was chosen before, for those that are about to be created: whoever creates them cannot ask the database."""
    orders = [one.shop_order.order for one, plan in plans.items() if one.shop_order and _creates(plan)]
    customers.recalled(customers.recall(batch.bridge.slug_of("crm"), orders) if orders else {})


def _creates(plan: Plan) -> bool:
    return isinstance(plan.write, CreateInCrm)


def ask(claim: Claim, several: SeveralFit) -> None:
    """Keep what the CRM showed: it may be away when a person looks. Asked again, the newest counts."""
    bridge = claim.bridge
    if bridge.crm is None:
        return
    values = {
        "connection": bridge.crm,
        "what": several.what,
        "key": next(iter(hashes_of(several.key)), ""),
        "wanted": _wanted(claim.shop_order.order) if claim.shop_order else {},
        "candidates": [one.as_kept() for one in several.candidates],
        "may_create": several.may_create,
        "asked_at": clock.now(),
    }
    OpenChoice.objects.update_or_create(pk=claim.newest.pk, defaults=values)


def waiting(event: WebhookEvent) -> OpenChoice | None:
    """What a person has to choose for this event; None: nothing, or not any more."""
    if event.state != State.PARKED:
        return None
    return OpenChoice.objects.filter(pk=event.pk).select_related("connection").first()


def choose(asked: OpenChoice, crm_id: str, *, by: str) -> Asked:
    """Remember it, and process all orders that wait for the same answer."""
    about = {"connection": asked.connection, "what": asked.what, "key": asked.key}
    chosen = {"crm_id": crm_id, "chosen_by": by, "chosen_at": clock.now()}
    RememberedChoice.objects.update_or_create(
        **about, defaults=chosen, create_defaults={**chosen, "event_id": asked.pk}
    )
    alike = OpenChoice.objects.filter(**about)
    parked = list(alike.filter(event__state=State.PARKED).order_by("pk").values_list("pk", flat=True))
    alike.delete()
    return ask_again(parked, by=by)


def _wanted(order: Mapping[str, Any]) -> dict[str, Any]:
    """What the order itself says of its customer, as a candidate is kept."""
    told = draft(order)
    customer, at = told.customer, told.billing
    address = "\n".join(filter(None, (at.street, f"{at.postcode} {at.city}".strip(), at.country)))
    details = {
        "E-mail": customer.email,
        "Phone": customer.phone,
        "Company": customer.company,
        "VAT number": customer.vat_number,
        "Address": address,
    }
    named = customers.Candidate(id=told.number, name=customer.name or customer.company, details=details)
    return named.as_kept()
