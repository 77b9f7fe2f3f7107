"""Stand-ins for real CRMs: `make run CRM=odoo`, `manage.py sandbox --crm odoo`.

One is a file or a folder here, named as its backend is, and a line of STAND_INS. Each behaves as the captures of the
real one show.
"""

from django.utils.module_loading import import_string

from sync.sandbox.crms.base import StandIn

STAND_INS = {
    "erpnext": "sync.sandbox.crms.erpnext.ErpnextStandIn",
    "hubspot": "sync.sandbox.crms.hubspot.HubspotStandIn",
    "odoo": "sync.sandbox.crms.odoo.OdooStandIn",
}
"""By the word that CRM_BACKEND names the backend with."""
CRMS = {**STAND_INS, "tryton": "sync.sandbox.crms.tryton.TrytonOfTheSandbox"}
"""With the real one that can be had without an account."""


def stand_in(name: str) -> type[StandIn]:
    found: type[StandIn] = import_string(CRMS[name])
    return found
