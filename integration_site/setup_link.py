"""The first person of a new installation: whoever has the link from its own log chooses name and password."""

from typing import Any

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from unfold.forms import UserCreationForm

from orders import audit

HOURS = 24
SALT = "orderbridge.setup"


class SetUpForm(UserCreationForm):
    usable_password = None

    class Meta:
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs |= {"autocomplete": "username", "autofocus": True}


def is_needed() -> bool:
    """Nobody is there yet who could give anybody a role."""
    return not User.objects.filter(is_superuser=True).exists()


def new_link() -> str:
    """It holds until somebody has used it, or any of its kind."""
    token = signing.dumps("first administrator", salt=SALT)
    return settings.PUBLIC_URL + reverse("set_up", args=[token])


def _is_ours(token: str) -> bool:
    try:
        signing.loads(token, salt=SALT, max_age=HOURS * 3600)
    except signing.BadSignature:
        return False
    return True


@never_cache
def set_up(request: HttpRequest, token: str) -> HttpResponse:
    if not _is_ours(token) or not is_needed():
        return render(request, "sign_in/no_set_up.html", {"hours": HOURS}, status=410)
    form = SetUpForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        person = make_administrator(form)
        if person is None:
            return render(request, "sign_in/no_set_up.html", {"hours": HOURS}, status=410)
        return perform_login(request, Login(user=person, redirect_url=reverse("admin:index")))
    context = {**admin.site.each_context(request), "title": "Set up Orderbridge", "form": form}
    return render(request, "sign_in/set_up.html", context)


@transaction.atomic
def make_administrator(form: forms.ModelForm) -> User | None:
    """None: somebody else was faster, with the same link."""
    Group.objects.select_for_update().order_by("pk").first()  # one after the other; SQLite has one writer anyway
    if not is_needed():
        return None
    person: User = form.save(commit=False)
    person.is_staff = person.is_superuser = True
    person.save()
    audit.record("set up", actor=person.username, result="The first administrator chose name and password.")
    return person
