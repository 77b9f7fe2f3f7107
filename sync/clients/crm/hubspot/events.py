"""What the webhooks of a HubSpot app tell. They are optional: a service key has none, and HubSpot is asked anyway."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sync.clients.crm.hubspot.words import OBJECTS
from webhooks.hooks import Hooks, scheme
from webhooks.sources import reader

OURS = {words.type_id for words in OBJECTS.values()}
TOLD = ("propertyChange", "creation", "restore", "merge")


def read(event: Any) -> Mapping[str, Any] | None:
    """One of an array. Its `eventId` alone is not unique, says HubSpot. An older subscription names the kind of record
    in its type. None: it is about something else, or it is gone."""
    kind, _, what = str(event["subscriptionType"]).partition(".")
    type_id = str(event.get("objectTypeId") or (OBJECTS["deals"].type_id if kind == "deal" else ""))
    if type_id not in OURS or what not in TOLD:
        return None
    order, at = str(int(event["objectId"])), int(event["occurredAt"])
    parts = (event.get("subscriptionId"), event["eventId"], order, at, event.get("propertyName"))
    return {
        "event_id": "-".join(str(one) for one in parts if one is not None)[:128],
        "type": str(event["subscriptionType"]),
        "crm_order_id": order,
        "updated_at": datetime.fromtimestamp(at / 1000, UTC).isoformat(),
    }


HOOKS = Hooks(schema="hubspot/3", parse=reader(read), verify=scheme("hubspot-v3"))
