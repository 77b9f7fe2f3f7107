"""A door that shuts after wrong passwords."""

import ipaddress
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from unfold.forms import AuthenticationForm


class SignInForm(AuthenticationForm):
    def clean_username(self) -> str:
        """Django only asks the browser to keep names short, and wrong ones are remembered."""
        name: str = self.cleaned_data["username"]
        if len(name) > (User._meta.get_field("username").max_length or 0):
            raise ValidationError("Nobody's name is that long. Enter yours.")
        return name


def client_address(request: HttpRequest) -> str | None:
    """Who asks. X-Forwarded-For is anybody's to write: only what our own TRUSTED_PROXIES have added to it counts."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    if proxies := settings.TRUSTED_PROXIES:
        said = request.headers.get("X-Forwarded-For", "").split(",")
        address = said[-proxies] if len(said) >= proxies else address
    try:
        return str(ipaddress.ip_address(address.strip()))
    except ValueError:  # a Unix socket has none
        return None


def locked_out(request: HttpRequest, answer: HttpResponse | None, credentials: dict[str, Any]) -> HttpResponse:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    context = {**admin.site.each_context(request), "title": "Locked", "minutes": minutes}
    return render(request, "sync/locked_out.html", context, status=429)
