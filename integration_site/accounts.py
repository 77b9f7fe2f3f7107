"""How allauth works here: nobody signs up, only staff get in, a second factor counts like a password, and the audit
tells who came (docs/sign-in.md)."""

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import user_logged_in
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from integration_site.sign_in import client_address, knocks_too_often
from orders import audit, edits
from webhooks import credentials

PAGES = "/admin/account/"
LONGEST = 200
"""Characters of a browser's name."""
SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def refused(request: HttpRequest, problem: str, advice: str, status: int = 403) -> HttpResponse:
    return render(request, "sign_in/refused.html", {"problem": problem, "advice": advice}, status=status)


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or "::"  # behind a Unix socket there is none

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Whichever way somebody comes; the form of the login asks that, too."""
        if user.is_active and user.is_staff:
            return super().pre_login(request, user, **kwargs)
        advice = "Your account is shut, or is not one of staff. Ask the person who manages users here."
        return refused(request, "You cannot sign in here", advice)


class MfaAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps and recovery codes are encrypted like the credentials of connections."""

    def encrypt(self, text: str) -> str:
        return credentials.encrypt({"secret": text})

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return credentials.decrypt(encrypted_text)["secret"]
        except credentials.WrongKey as error:
            advice = (
                f"It was encrypted with a key that is not in {credentials.setting()}. Put that key into "
                "CREDENTIAL_KEYS, as NEW,OLD. If it is lost: python manage.py reset_second_factor NAME, then set up "
                "another one."
            )
            page = refused(context.request, "The stored second factor cannot be read", advice, status=503)
            raise ImmediateHttpResponse(page) from error


def counted(user: User, clean: Callable[[], str]) -> str:
    """A wrong code is counted like a wrong password, and after as many the door is shut."""
    request, who = context.request, {"username": user.get_username()}
    if not AxesProxyHandler.is_allowed(request, who) or knocks_too_often(request):
        request.axes_locked_out = True
        raise ValidationError("Try again later.")
    try:
        return clean()
    except ValidationError:
        user_login_failed.send(sender=__name__, credentials=who, request=request)
        raise


class SecondFactorForm(AuthenticateForm):
    def clean_code(self) -> str:
        return counted(self.user, super().clean_code)


class SecondFactorAgainForm(ReauthenticateForm):
    def clean_code(self) -> str:
        return counted(self.user, super().clean_code)


# --- roles that need a second factor -------------------------------------------------------------------------------


def lacks_second_factor(request: HttpRequest) -> bool:
    """Somebody of MFA_REQUIRED_ROLES who has none. Whoever comes by way of the directory is its business."""
    user, wanted = request.user, settings.MFA_REQUIRED_ROLES
    if not wanted or not user.is_authenticated or is_mfa_enabled(user, SECOND_FACTORS):
        return False
    if any(one["method"] == "socialaccount" for one in get_authentication_records(request, user)):
        return False
    return (user.is_superuser and "superuser" in wanted) or user.groups.filter(name__in=wanted).exists()


def second_factor_first(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: until then no page opens but those where it is set up, and nothing that is sent is done."""
    open_pages = (PAGES, reverse("admin:login"), reverse("admin:logout"), reverse("admin:jsi18n"))

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.startswith("/admin/") or path.startswith(open_pages) or not lacks_second_factor(request):
            return get_response(request)
        messages.warning(request, "Your role needs a second factor. Set one up here; then everything else opens.")
        return HttpResponseRedirect(reverse("mfa_index"))

    return middleware


# --- pages and audit -----------------------------------------------------------------------------------------------


def back_office(request: HttpRequest) -> dict[str, Any]:
    """Context processor: allauth's pages have the frame of the back office."""
    if not request.path_info.startswith(PAGES):
        return {}
    return {**admin.site.each_context(request), "title": "Your account", "with_directory": bool(settings.OIDC_URL)}


@receiver(user_logged_in)
def record_sign_in(request: HttpRequest, user: User, **kwargs: Any) -> None:
    records = get_authentication_records(request, user)
    ways = dict.fromkeys(one.get("type") or one.get("provider") or one["method"] for one in records)
    result = f"With {' and '.join(ways) or 'the set-up link'}."
    where: dict[str, Any] = {
        "from": client_address(request) or "",
        "browser": request.headers.get("User-Agent", "")[:LONGEST],
    }
    audit.record("sign in", actor=user.get_username(), result=result, **where)


@receiver([post_save, post_delete], sender=Authenticator)
def record_second_factor(instance: Authenticator, created: bool | None = None, **kwargs: Any) -> None:
    """In the transaction that does it. `created` is False when it was used, and None when it is gone."""
    by = edits.actor()
    if created is not False and by:
        what, label = "add" if created else "remove", Authenticator.Type(instance.type).label
        audit.record(f"second factor: {what}", actor=by, result=f"{instance.user.get_username()}: {label}.")
