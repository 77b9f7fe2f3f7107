"""The page on which somebody says that this installation is the one that its database belongs to."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders.asking import ask_reason
from sync.clients import installation
from webhooks.wake import wake

PERMISSION = "sync.confirm_installation"


def installation_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    home = reverse("admin:index")
    words = installation.displaced()
    if not words:
        messages.info(request, "The database belongs to this installation. There is nothing to confirm.")
        return HttpResponseRedirect(home)

    def perform(said: dict[str, str]) -> str:
        installation.confirm(actor=said["by"], reason=said["reason"])
        wake()
        return f"The database belongs to {settings.PUBLIC_URL} now. What has waited is processed."

    return ask_reason(
        owner,
        request,
        title=f"Confirm that {settings.PUBLIC_URL} is the one",
        words=f"{words} Confirm only if the installation at the other address is switched off for good: if both go "
        "on, both write to the same orders. Everything that waits here is processed then, with the shop and the CRM "
        "that are set up here.",
        button="Confirm",
        back=home,
        perform=perform,
    )
