"""A door that shuts after wrong passwords, and behind it the second factor."""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from unfold.forms import AuthenticationForm

from orders.keys import sign
from webhooks.masking import masked_text

NETWORK = 64
"""Bits of an IPv6 address that stand for one customer of a provider: all others are his to choose."""
ADDRESS_LIMIT = 30
"""Wrong passwords from one address, whatever the names, within the time of a lock."""
PROXY_LIMIT = 300
"""Of a proxy that is not among TRUSTED_PROXIES: everybody comes from its address."""
BUSY_SECONDS = 5

PLACES = 3
"""Of the first, the password is looked at, which costs a third of a second of a core: of one at a time in each process,
or the deliveries wait. More of those who wait would take the threads that deliveries need."""
_queue: dict[object, str] = {}
"""Where those come from who have a place, the first one first: never two from one address."""
_moved = threading.Condition()


class SignInForm(AuthenticationForm):
    def clean(self) -> dict[str, Any]:
        """Before a password is hashed, which is what costs."""
        with _turn(_place(self.request)) as free:
            if free and not knocks_too_often(self.request):
                return super().clean()
        # As axes does itself: its middleware then answers with `locked_out`.
        self.request.axes_locked_out, self.request.is_busy = True, not free
        raise ValidationError("Try again later.")

    def clean_username(self) -> str:
        """Django only asks the browser to keep names short, and wrong ones are remembered."""
        name: str = self.cleaned_data["username"]
        if len(name) > (User._meta.get_field("username").max_length or 0):
            raise ValidationError("Nobody's name is that long. Enter yours.")
        return name


class SignInView(LoginView):
    """At the address of Django's own. Whoever has a second factor is asked for it next."""

    template_name = "sign_in/login.html"
    authentication_form = SignInForm
    next_page = "admin:index"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if admin.site.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        return super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        directory = {"directory": settings.OIDC_NAME if settings.OIDC_URL else "", "title": "Log in", "subtitle": None}
        context = {**super().get_context_data(**kwargs), **admin.site.each_context(self.request), **directory}
        context |= {"app_path": self.request.get_full_path(), "username": self.request.user.get_username()}
        return context | {"redirect_to": self.get_redirect_url(), "redirect_field": REDIRECT_FIELD_NAME}

    def form_valid(self, form: Any) -> HttpResponse:
        login = Login(user=form.get_user(), redirect_url=self.get_success_url())
        return perform_password_login(self.request, {"username": form.get_user().get_username()}, login)


def client_address(request: HttpRequest) -> str | None:
    """Who asks. X-Forwarded-For is anybody's to write: only what our own TRUSTED_PROXIES have added to it counts."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    if proxies := settings.TRUSTED_PROXIES:
        said = request.headers.get("X-Forwarded-For", "").split(",")
        address = said[-proxies] if len(said) >= proxies else address
    try:
        known = ipaddress.ip_address(address.strip())
    except ValueError:  # a Unix socket has none
        return None
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped:
            return str(known.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(known), NETWORK), strict=False).network_address)
    return str(known)


def knocks_too_often(request: HttpRequest) -> bool:
    address = client_address(request)
    lately = AccessAttempt.objects.filter(
        ip_address=address, attempt_time__gte=timezone.now() - settings.AXES_COOLOFF_TIME
    )
    limit = PROXY_LIMIT if _is_unknown_proxy(request, address) else ADDRESS_LIMIT
    return (lately.aggregate(n=Sum("failures_since_start"))["n"] or 0) >= limit


def _is_unknown_proxy(request: HttpRequest, address: str | None) -> bool:
    if address is None:
        return True
    near = ipaddress.ip_address(address).is_private
    return near and not settings.TRUSTED_PROXIES and "X-Forwarded-For" in request.headers


def _place(request: HttpRequest) -> str:
    """Whom a place in the queue belongs to. Of an unknown proxy what it says is good enough for that."""
    address = client_address(request)
    said: str = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
    return said if address is None or _is_unknown_proxy(request, address) else address


@contextmanager
def _turn(place: str) -> Iterator[bool]:
    """True: nobody else's password is being looked at in this process."""
    me, free = object(), False
    with _moved:
        if len(_queue) < PLACES and place not in _queue.values():
            _queue[me] = place
            free = _moved.wait_for(lambda: next(iter(_queue)) is me, BUSY_SECONDS)
    try:
        yield free
    finally:
        with _moved:
            _queue.pop(me, None)
            _moved.notify_all()


def remembered_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """As a wrong login is counted and kept. An address may be that of a customer at the wrong door: of it only a keyed
    mark is kept, which counts as well."""
    name: str | None = credentials.get("username") if credentials else request.POST.get("username")
    return f"{masked_text(name)} {sign('login', name)[:12]}" if name and "@" in name else name


def locked_out(request: HttpRequest, answer: HttpResponse | None, credentials: dict[str, Any]) -> HttpResponse:
    seconds = BUSY_SECONDS if getattr(request, "is_busy", False) else int(settings.AXES_COOLOFF_TIME.total_seconds())
    context = {**admin.site.each_context(request), "title": "Locked", "minutes": seconds // 60}
    page = render(request, "sync/locked_out.html", context, status=429)
    page["Retry-After"] = str(seconds)
    return page
