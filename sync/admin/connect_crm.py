"""A CRM is connected: its kind, then what its backend asks for, which is tried before it is stored."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders import audit
from sync.admin.connection_forms import CrmForm, EditCrmForm
from sync.admin.connection_pages import CREDENTIALS, form_page, guarded, told
from sync.clients import crm as crm_backends
from sync.clients.errors import SideError
from sync.monitoring import connecting
from sync.sandbox import second
from webhooks import credentials
from webhooks.backoffice.pages import list_of, page, page_of
from webhooks.connections import Connection

WORDS = (
    "What you enter is tried with the CRM before it is stored. What is secret is stored encrypted, and not shown again."
)
SANDBOX = "The form names the second CRM of the sandbox, which is there to be tried."


@guarded(CREDENTIALS)
def choose_crm_view(owner: ModelAdmin, request: HttpRequest) -> HttpResponse:
    kinds = [
        (crm_backends.backend(kind).title, reverse("admin:webhooks_connection_add_crm", args=[kind]))
        for kind in crm_backends.BACKENDS
    ]
    return page(owner, request, "sync/connection/choose_crm.html", "Add a CRM", kinds=kinds, back=list_of(owner))


@guarded(CREDENTIALS)
def add_crm_view(owner: ModelAdmin, request: HttpRequest, kind: str) -> HttpResponse:
    if kind not in crm_backends.BACKENDS:
        raise Http404
    backend = crm_backends.backend(kind)
    offer = _sandbox(kind)
    form = CrmForm(backend.schema, request.POST or None, initial=offer)
    if offer:
        _fill_in(form, offer)
    if form.is_valid():
        name, values = form.cleaned_data["name"], form.values()
        try:
            lacks = connecting.try_crm(connecting.crm_at(kind, values, ""))
        except SideError as error:
            form.add_error(None, told(error))
        else:
            connection = connecting.store_crm(kind, name, values)
            by, fields = request.user.get_username(), sorted(values)
            audit.record(
                "connection: add", actor=by, result=f"{name}, {kind}", connection=connection.slug, fields=fields
            )
            messages.success(request, f"{name} is connected. It answers, and the keys are good.")
            if lacks:
                messages.warning(request, lacks)
            return HttpResponseRedirect(page_of(connection))
    return form_page(
        owner,
        request,
        title=f"Add a CRM: {backend.title}",
        words=WORDS,
        form=form,
        button="Try and connect",
        back=reverse("admin:webhooks_connection_choose_crm"),
        listed=[SANDBOX] if offer else [],
    )


def _sandbox(kind: str) -> dict[str, str]:
    url = second.crm_url()
    there = any(one.settings.get("url") == url for one in Connection.objects.all())
    return {**second.CRM, "url": url} if kind == "rest" and url and not there else {}


def _fill_in(form: CrmForm, offer: dict[str, str]) -> None:
    """The sandbox's secrets are none: everybody has them. So they alone stand in the page."""
    for name in offer.keys() & connecting.secret_names("rest"):
        form.fields[name].widget.render_value = True


def edit_crm(owner: ModelAdmin, request: HttpRequest, connection: Connection) -> HttpResponse:
    """Everything but its kind. Secrets that are left empty stay as they are."""
    backend = crm_backends.backend(connection.kind)
    form = EditCrmForm(backend.schema, request.POST or None, connection=connection)
    if form.is_valid():
        values = form.values()
        try:
            known = credentials.decrypt(connection.credentials)
            whole = {**connection.settings, **known, **values}
            connecting.try_crm(connecting.crm_at(connection.kind, whole, connection.slug))
            before = {**connection.settings, **known}
            connecting.keep(connection, values)
            connecting.ensure_names_apart(connection)
        except SideError as error:
            form.add_error(None, told(error))
        except ValidationError as error:
            form.add_error("url" if "url" in form.fields else None, error.messages)
        else:
            fields = sorted(name for name, value in values.items() if before.get(name, "") != value)
            connection.archived_at = None  # if it was removed, it is back
            connection.save(update_fields=["settings", "credentials", "archived_at"])
            by, reason = request.user.get_username(), form.cleaned_data["reason"]
            audit.record("connection: edit", actor=by, reason=reason, result=str(connection), fields=fields)
            messages.success(request, "Stored. The CRM answers, and the keys are good.")
            return HttpResponseRedirect(page_of(connection))
    return form_page(
        owner,
        request,
        title=f"Edit: {connection}",
        words=WORDS,
        form=form,
        button="Try and store",
        back=page_of(connection),
    )
