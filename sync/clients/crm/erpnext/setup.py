"""What a site of ERPNext has to have before the first order."""

from typing import Any

from sync.clients.crm.erpnext.records import ORDER, Records
from sync.clients.crm.erpnext.words import FIELD, MAKE_FIELD, NO_FIELD, NOTE, path_of
from sync.clients.errors import NotConfigured

CUSTOM = "Custom Field"
FIELDS: dict[str, dict[str, Any]] = {
    FIELD: {"label": "WooCommerce order", "fieldtype": "Data", "unique": 1, "read_only": 1},
    NOTE: {"label": "WooCommerce note", "fieldtype": "Small Text", "allow_on_submit": 1},
}


def lacks(records: Records) -> list[tuple[str, str]]:
    known, found = records.meta(), []
    if FIELD not in known:
        found.append((NO_FIELD, MAKE_FIELD))
    elif not known[FIELD].get("unique"):
        words = f"The field {FIELD} of ERPNext's Sales Order is not unique, so an order may be made twice."
        found.append((words, f"Tick Unique for it. {MAKE_FIELD}"))
    item = records.access["placeholder_item"]
    if not _has_item(records, item):
        words = f"ERPNext has no item {item}, which stands for products without a SKU."
        advice = "Make it: `python manage.py doctor --fix` does. Or name another one (CRM_PLACEHOLDER_ITEM)."
        found.append((words, advice))
    for kind in ("tax", "shipping"):
        try:
            records.account(kind)
        except NotConfigured as error:
            found.append((error.message, error.advice))
    return found


def prepare(records: Records) -> list[str]:
    """Our two fields, and the item. The user of the key needs the roles System Manager and Item Manager for it."""
    records.ids.forget("meta")
    known, made = records.meta(), []
    for name, values in FIELDS.items():
        if name not in known:
            records.make(CUSTOM, {"dt": ORDER, "fieldname": name, "no_copy": 1, **values})
            made.append(f"The field {name} of ERPNext's Sales Order was made.")
    if FIELD in known and not known[FIELD].get("unique"):
        records.call("PUT", path_of(CUSTOM, f"{ORDER}-{FIELD}"), json={"unique": 1})
        made.append(f"The field {FIELD} of ERPNext's Sales Order was made unique.")
    item = records.access["placeholder_item"]
    if not _has_item(records, item):
        records.make_item(item, "WooCommerce product")
        made.append(f"The item {item} was made in ERPNext.")
    records.ids.forget("meta")
    return made


def _has_item(records: Records, code: str) -> bool:
    return bool(records.search("Item", [["name", "=", code]], ("name",), 1))
