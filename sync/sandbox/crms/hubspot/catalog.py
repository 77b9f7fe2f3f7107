"""What an account of HubSpot has from the beginning: kinds of records, their properties, and pipelines."""

from typing import Any

KINDS = {"0-1": "contacts", "0-3": "deals", "0-7": "products", "0-8": "line_items", "0-123": "orders"}
"""By the number that HubSpot gives each."""
TEXTS = {
    "contacts": "firstname lastname phone mobilephone company address city state zip country hs_additional_emails",
    "deals": "dealname deal_currency_code description pipeline dealstage",
    "products": "name hs_sku",
    "line_items": "name hs_sku hs_line_item_currency_code hs_product_id",
    "orders": "hs_order_name hs_currency_code hs_order_note hs_external_order_id hs_pipeline hs_pipeline_stage "
    "hs_external_created_date hs_billing_address_email "
    + " ".join(
        f"hs_{kind}_address_{name}"
        for kind in ("billing", "shipping")
        for name in ("name", "street", "postal_code", "city", "state", "country")
    ),
}
NUMBERS = {
    "contacts": "",
    "deals": "amount",
    "products": "price",
    "line_items": "quantity price",
    "orders": "hs_total_price",
}
UNIQUE = {"contacts": "email"}
"""By nature: others are made."""
OF_ALL = ("hs_object_id", "hs_lastmodifieddate", "createdate", "hs_createdate")
"""Read-only."""
GROUPS = {"orders": "order_information", "deals": "dealinformation", "contacts": "contactinformation"}
PIPELINE = {"orders": "hs_pipeline", "deals": "pipeline"}
STAGE = {"orders": "hs_pipeline_stage", "deals": "dealstage"}
AT = "2026-01-01T00:00:00.000Z"


def properties(kind: str) -> dict[str, dict[str, Any]]:
    found = {name: definition(kind, name, "string") for name in TEXTS[kind].split()}
    found |= {name: definition(kind, name, "number") for name in NUMBERS[kind].split()}
    found |= {name: definition(kind, name, "datetime", read_only=True) for name in OF_ALL}
    if kind in UNIQUE:
        found[UNIQUE[kind]] = definition(kind, UNIQUE[kind], "string", unique=True)
    return found


def definition(kind: str, name: str, type_: str, *, unique: bool = False, read_only: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.removeprefix("hs_").replace("_", " ").capitalize(),
        "description": "",
        "groupName": GROUPS.get(kind, f"{kind}information"),
        "type": type_,
        "fieldType": "number" if type_ == "number" else "text",
        "options": [],
        "hasUniqueValue": unique,
        "hidden": False,
        "calculated": False,
        "modificationMetadata": {"archivable": True, "readOnlyDefinition": read_only, "readOnlyValue": read_only},
    }


def pipeline(pipeline_id: str, label: str, *stages: tuple[str, str], place: int = 0) -> dict[str, Any]:
    return {
        "id": pipeline_id,
        "label": label,
        "displayOrder": place,
        "archived": False,
        "createdAt": AT,
        "updatedAt": AT,
        "stages": [
            {
                "id": stage_id,
                "label": stage,
                "displayOrder": number,
                "archived": False,
                "createdAt": AT,
                "updatedAt": AT,
                "metadata": {},
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            }
            for number, (stage_id, stage) in enumerate(stages)
        ],
    }


def pipelines() -> dict[str, list[dict[str, Any]]]:
    """Ids of the orders' pipeline and of its stages have 36 characters each; those of deals are words or numbers."""
    orders = pipeline(
        "14a2e10e-5471-408a-906e-c51f3b04369e",
        "Order Pipeline",
        ("4b27b500-f031-4927-9811-68a0b525cbae", "Open"),
        ("937ea84d-0a4f-4dcf-9028-3f9c2aafbf03", "Processed"),
        ("aa99e8d0-c1d5-4071-b915-d240bbb1aed9", "Shipped"),
        ("3725360f-519b-4b18-a593-494d60a29c9f", "Delivered"),
        ("3c85a297-e9ce-400b-b42e-9f16853d69d6", "Cancelled"),
    )
    deals = pipeline(
        "default",
        "Sales Pipeline",
        ("appointmentscheduled", "Open"),
        ("contractsent", "Processed"),
        ("99001", "Shipped"),
        ("closedwon", "Delivered"),
        ("closedlost", "Cancelled"),
    )
    return {"orders": [orders], "deals": [deals]}


def rules() -> dict[str, str]:
    """What staff would map the stages of orders to. Of the pipeline's id our statuses show eight characters."""
    means = {"Open": "pending", "Processed": "processing", "Shipped": "completed", "Delivered": "completed"}
    means["Cancelled"] = "cancelled"
    [orders] = pipelines()["orders"]
    return {f"{orders['id'][:8]}/{stage['id']}": means[stage["label"]] for stage in orders["stages"]}
