"""Sign-in by the company's own directory (OpenID Connect): its groups say which roles somebody has here."""

import logging
from typing import Any

import jwt
import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect import views
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import get_random_string

from integration_site.accounts import refused
from sync.clients.http import trusted

log = logging.getLogger("orderbridge.sign_in")
SUPERUSER = "superuser"
NONCE = "nonce"
"""Goes with the request, and comes back in the token: it was issued for this very sign-in. Of the rest, state, issuer,
audience and age, allauth sees to it; the PKCE proof is the directory's to check."""
NOT_OPENID = (
    "Its answer has no ID token. Ask the person who runs the directory to allow the scope openid for this client: "
    "without it this is no OpenID Connect."
)


class _Trusting(requests.adapters.HTTPAdapter):
    """Of a private CA, as for the sides."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        if (context := trusted()) is not None:
            options["ssl_context"] = context
        super().init_poolmanager(*args, **options)


class CompanyProvider(OpenIDConnectProvider):
    def redirect(self, request: HttpRequest, process: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """The nonce is remembered with the state, in the session of who asked."""
        nonce = get_random_string(32)
        kwargs["auth_params"] = {**(kwargs.get("auth_params") or self.get_auth_params()), NONCE: nonce}
        answer: HttpResponse = super().redirect(request, process, *args, **kwargs, **{NONCE: nonce})
        return answer


class DirectoryAdapter(views.OpenIDConnectOAuth2Adapter):
    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        """Signed with a key of the directory. allauth leaves that out, as the token came over TLS: a proxy may end it,
        and in a network of one's own there may be none. A directory with one key need not name it."""
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        name = jwt.get_unverified_header(id_token).get("kid")
        why: Exception | None = None
        for key in jwt.PyJWKSet.from_dict(answer.json()).keys:
            if name is not None and key.key_id not in (None, name):
                continue
            try:
                claims: dict[str, Any] = jwt.decode(
                    id_token, key, [key.algorithm_name], audience=app.client_id, issuer=self.openid_config["issuer"]
                )
            except jwt.PyJWTError as error:
                why = error
            else:
                jwtkit.verify_jti(claims)
                return claims
        raise OAuth2Error("The token is not of this directory, or not for us.") from why


class CompanyAdapter(DefaultSocialAccountAdapter):
    def get_requests_session(self) -> requests.Session:
        session: requests.Session = super().get_requests_session()
        session.mount("https://", _Trusting())
        session.trust_env = False
        session.max_redirects = 0  # a redirect would take our secret elsewhere
        return session

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True  # `pre_social_login` has seen to it

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        roles = roles_of(sociallogin)
        if page := why_not(request, sociallogin, roles):
            raise ImmediateHttpResponse(page)
        if sociallogin.is_existing and sociallogin.state.get("process") != AuthProcess.CONNECT:
            give(sociallogin.user, roles)

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        longest = User._meta.get_field("username").max_length
        user.username = (user.username or user.email or sociallogin.account.uid)[:longest]
        return user

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        sociallogin.user.is_staff = True
        user: User = super().save_user(request, sociallogin, form)
        give(user, roles_of(sociallogin))
        return user

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        log.warning("sign-in by the directory failed", extra={"error": str(error), "kind": type(exception).__name__})
        raise ImmediateHttpResponse(unreachable(request))


def claims(sociallogin: SocialLogin) -> list[dict[str, Any]]:
    """What the directory said: in the token, and when it was asked about the person."""
    said = sociallogin.account.extra_data
    return [one for one in (said.get("id_token"), said.get("userinfo")) if isinstance(one, dict)]


def groups_of(sociallogin: SocialLogin) -> list[str]:
    found: dict[str, None] = {}
    for one in claims(sociallogin):
        told = one.get(settings.OIDC_GROUPS_CLAIM, [])
        found |= dict.fromkeys(str(name) for name in (told if isinstance(told, list) else [told]))
    return list(found)


def roles_of(sociallogin: SocialLogin) -> set[str]:
    return {settings.OIDC_ROLES[name] for name in groups_of(sociallogin) if name in settings.OIDC_ROLES}


def why_not(request: HttpRequest, sociallogin: SocialLogin, roles: set[str]) -> HttpResponse | None:
    """None: the person may come in."""
    if len({one.get("sub") for one in claims(sociallogin)}) != 1:
        return refused(request, "The directory contradicts itself", "Its two answers name different people. Try again.")
    token = sociallogin.account.extra_data.get("id_token")
    if not token:
        return refused(request, "This is no answer of a directory", NOT_OPENID)
    if token.get(NONCE) != sociallogin.state.get(NONCE):
        log.warning("sign-in by the directory: the token was issued for another sign-in")
        return refused(request, "This answer is not for your sign-in", "It was issued for another one. Sign in again.")
    if not roles:
        named = ", ".join(groups_of(sociallogin)) or f"none (is there a claim {settings.OIDC_GROUPS_CLAIM}?)"
        log.warning("sign-in by the directory: no group has a role", extra={"groups": named})
        advice = (
            f"None of your groups in the directory has a role here: {named}. Ask the person who runs Orderbridge to "
            "add one of them to OIDC_ROLES, or the person who runs the directory to add you to another group."
        )
        return refused(request, "You have no role here", advice)
    if sociallogin.is_existing or request.user.is_authenticated:
        return None
    user = sociallogin.user
    same = Q(username__iexact=user.username) | (Q(email__iexact=user.email) if user.email else Q())
    if not User.objects.filter(same).exists():
        return None
    advice = (
        "Somebody with this name or e-mail address has an account here already. If it is yours, sign in with its "
        "password, open Second factor in the menu of your name, then Company account. If it is not, ask the person who "
        "manages users here."
    )
    return refused(request, "This name is taken", advice, status=409)


def give(user: User, roles: set[str]) -> None:
    """The roles that OIDC_ROLES gives are those of the directory, from one sign-in to the next; others stay."""
    if (user.is_staff, user.is_superuser) != (True, SUPERUSER in roles):
        user.is_staff, user.is_superuser = True, SUPERUSER in roles
        user.save(update_fields=["is_staff", "is_superuser"])
    others = user.groups.exclude(name__in=settings.OIDC_ROLES.values())
    user.groups.set([*others, *Group.objects.filter(name__in=roles)])


def unreachable(request: HttpRequest) -> HttpResponse:
    advice = (
        "The directory did not answer, or did not accept the sign-in. Try again. If it stays so, whoever runs "
        "Orderbridge looks at OIDC_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, and at the log. Whoever has a password "
        "can use that."
    )
    return refused(request, "Signing in by the directory failed", advice, status=503)


def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """To the directory by way of a page: our policy lets forms lead to ourselves only, redirects included."""
    if not settings.OIDC_URL:
        raise Http404
    try:
        answer: HttpResponse = views.login(request, provider_id)
    except (requests.RequestException, ValueError, KeyError) as error:
        log.warning("the directory cannot be asked", extra={"kind": type(error).__name__})
        return unreachable(request)
    if answer.status_code == 302:
        return render(request, "sign_in/leaving.html", {"address": answer.headers["Location"]})
    return answer


def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    if not settings.OIDC_URL:
        raise Http404
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(DirectoryAdapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    except (requests.RequestException, ValueError, KeyError, jwt.PyJWTError) as error:
        log.warning("the directory's answer cannot be read", extra={"kind": type(error).__name__})
        return unreachable(request)
    return answer
