"""System checks of signing in."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from sync.clients.addresses import is_private
from sync.roles import ROLES

SUPERUSER = "superuser"


@register()
def roles_are_known(**kwargs: Any) -> list[CheckMessage]:
    """Groups of their own may be written, too, so it is no error."""
    known = {SUPERUSER, *ROLES}
    named = {"MFA_REQUIRED_ROLES": settings.MFA_REQUIRED_ROLES, "OIDC_ROLES": settings.OIDC_ROLES.values()}
    return [
        Warning(
            f"{setting} names {role!r}, which is no role of ours: it counts only if there is a group of that name.",
            hint=f"Ours are {', '.join(sorted(known))}.",
            id="orderbridge.W040",
        )
        for setting, roles in named.items()
        for role in sorted(set(roles) - known)
    ]


@register()
def the_directory_is_told_whole(**kwargs: Any) -> list[CheckMessage]:
    if not settings.OIDC_URL:
        return []
    found: list[CheckMessage] = []
    at = urlsplit(settings.OIDC_URL)
    if at.scheme != "https" and not is_private(at.hostname or ""):
        found.append(
            Error(
                f"OIDC_URL is {settings.OIDC_URL}: our secret and everybody's sign-in would go there unencrypted.",
                hint="Write its https address. http is for a directory in your own network.",
                id="orderbridge.E042",
            )
        )
    missing = [name for name in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_ROLES") if not getattr(settings, name)]
    return found + [
        Error(
            f"OIDC_URL is set and {name} is not: nobody could sign in by the directory.",
            hint=f"Set {name} in .env (docs/sign-in.md), or take OIDC_URL out.",
            id="orderbridge.E041",
        )
        for name in missing
    ]
