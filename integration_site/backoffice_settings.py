"""How the back office looks, and the sidebar with who sees what of it. `settings.py` takes it over as it is."""

import re
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static


def _page(title: str, icon: str, path: str, permission: str, **more: Any) -> dict[str, Any]:
    """A line of the sidebar, for people who have the permission."""
    return {
        "title": title,
        "icon": icon,
        "link": f"/admin/{path}/",
        "permission": lambda request: request.user.has_perm(permission),
        **more,
    }


def _is_sides(request: HttpRequest) -> bool:
    """Two pages below the one of the sides have lines of their own."""
    return bool(re.match(r"/admin/sync/sidestate/(?!webhooks/|doctor/)", request.path))


# A blue that is read on white and, one step lighter, on the dark theme: both above 4.5 to 1.
PRIMARY = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(65.5% .19 257.5)",
    "600": "oklch(54.6% .245 262.881)",
    "700": "oklch(48.8% .243 264.376)",
    "800": "oklch(42.4% .199 265.638)",
    "900": "oklch(37.9% .146 265.522)",
    "950": "oklch(28.2% .091 267.935)",
}

SIDEBAR: dict[str, list[dict[str, Any]]] = {
    "Traffic": [
        _page("To do", "checklist", "sync/todoitem", "sync.view_todoitem"),
        _page("Events", "inbox", "webhooks/webhookevent", "webhooks.view_webhookevent"),
        _page("Refused deliveries", "block", "webhooks/refuseddelivery", "webhooks.view_refuseddelivery"),
        _page("Attempts", "history", "sync/attempt", "sync.view_attempt"),
        _page("Hourly figures", "bar_chart", "sync/hourlyfigure", "sync.view_hourlyfigure"),
    ],
    "Orders": [
        _page("Orders", "shopping_cart", "orders/orderlink", "orders.view_orderlink"),
        _page("Customers chosen", "group", "sync/rememberedchoice", "sync.view_rememberedchoice"),
        _page("Status transitions", "swap_horiz", "orders/statustransition", "orders.view_statustransition"),
        _page("Staff actions", "badge", "orders/staffaction", "orders.view_staffaction"),
    ],
    "Lifecycle": [
        _page("Status rules", "rule", "orders/statusrule", "orders.view_statusrule"),
        _page("Allowed moves", "route", "orders/allowedmove", "orders.view_allowedmove"),
    ],
    "Connections": [
        _page("Bridges", "sync_alt", "webhooks/bridge", "webhooks.view_bridge"),
        _page("Shops and CRMs", "cable", "webhooks/connection", "webhooks.view_connection"),
    ],
    "Health": [
        _page("Sides", "cable", "sync/sidestate", "sync.view_sidestate", active=_is_sides),
        _page("Alarms", "notifications", "sync/alarm", "sync.view_alarm"),
        _page("Recipients", "contact_mail", "sync/recipient", "sync.view_recipient"),
        _page("Notifications", "outgoing_mail", "sync/notification", "sync.view_notification"),
        _page("Drift", "compare_arrows", "sync/driftfinding", "sync.view_driftfinding"),
        _page("Runs", "directions_run", "sync/run", "sync.view_run"),
        _page("Webhooks in the shop", "webhook", "sync/sidestate/webhooks", "sync.view_sidestate"),
        _page("Doctor", "stethoscope", "sync/sidestate/doctor", "sync.view_sidestate"),
        _page("Workers", "monitor_heart", "sync/heartbeat", "sync.view_heartbeat"),
    ],
    "People": [
        _page("Users", "person", "auth/user", "auth.view_user"),
        _page("Groups", "group", "auth/group", "auth.view_group"),
        _page("Sessions", "devices", "usersessions/usersession", "usersessions.view_usersession"),
    ],
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Orderbridge",
    "SITE_HEADER": "Orderbridge",
    "SITE_URL": None,
    "SITE_SYMBOL": "sync_alt",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("sync/icon.svg")}],
    "STYLES": [lambda request: static("sync/admin.css")],
    "SCRIPTS": [lambda request: static("sync/access.js")],
    "COLORS": {"primary": PRIMARY},
    "SHOW_HISTORY": True,
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": "/admin/password_change/"},
            {"title": "Second factor", "link": "/admin/account/2fa/"},
            {"title": "Sessions", "link": "/admin/account/sessions/"},
        ]
    },
    "DASHBOARD_CALLBACK": "sync.admin.home.dashboard",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [{"title": title, "items": items} for title, items in SIDEBAR.items()],
    },
}
