"""A shop is connected: its address, then WooCommerce's own page of approval, or a pair of keys that is typed."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders import audit
from sync.admin.connection_forms import NewKeysForm, OtherAddressesForm, ShopAddressForm, ShopKeysForm
from sync.admin.connection_pages import CREDENTIALS, form_page, guarded, told
from sync.clients.addresses import is_private
from sync.clients.errors import SideError
from sync.clients.shop_address import NoShop, ensure_shop
from sync.monitoring import connecting
from sync.sandbox import second
from webhooks import approvals, credentials
from webhooks.approvals import ShopApproval
from webhooks.backoffice.pages import list_of, page, page_of
from webhooks.connections import WOOCOMMERCE, Connection

WORDS = "Orderbridge asks the address whether a shop is there. No key is needed for that."
KEYS_WORDS = "The keys are tried with the shop before they are stored. They are stored encrypted, and not shown again."
OFFER = "The form names the second shop of the sandbox, which is there to be tried."
GONE = "This approval was used already, or took longer than 15 minutes. If the shop is not in this list, add it again."
NO_HTTPS = (
    "WooCommerce hands keys over to an https address only, and PUBLIC_URL is {url}. Set PUBLIC_URL to the https "
    "address of this service, or type a pair of keys."
)


@guarded(CREDENTIALS)
def add_shop_view(owner: ModelAdmin, request: HttpRequest) -> HttpResponse:
    form = ShopAddressForm(request.POST or None, initial=_sandbox())
    if form.is_valid():
        name, url = form.cleaned_data["name"], form.cleaned_data["url"]
        try:
            ensure_shop(url)
        except NoShop as error:
            form.add_error("url", str(error))
        else:
            return _ask_the_shop(owner, request, name=name, url=url)
    links = [("Type keys instead", reverse("admin:webhooks_connection_type_keys"))]
    return form_page(
        owner,
        request,
        title="Add a shop",
        words=WORDS,
        form=form,
        button="Continue",
        links=links,
        listed=[OFFER] if _sandbox() else [],
    )


def _sandbox() -> dict[str, str]:
    """What the form is filled in with where a sandbox runs whose second shop nobody has connected."""
    url = second.shop_url()
    return {**second.SHOP, "url": url} if url and not connecting.known_shop(url) else {}


def _ask_the_shop(
    owner: ModelAdmin, request: HttpRequest, *, name: str, url: str, connection: Connection | None = None
) -> HttpResponse:
    """The page with the way to WooCommerce's own. The link holds the token, which is stored nowhere."""
    context = {"name": name, "url": url, "back": list_of(owner)}
    context["keys"] = page_of(connection) if connection else reverse("admin:webhooks_connection_type_keys")
    if _may_hand_over(url):
        approval, token = approvals.ask(request.user, name=name, url=url, connection=connection)
        back = request.build_absolute_uri(reverse("admin:webhooks_connection_approval", args=[approval.pk]))
        context["link"] = approvals.page_of_the_shop(approval, token, back)
        audit.record("connection: ask for approval", actor=request.user.get_username(), result=f"{name}, {url}")
    else:
        context["why_not"] = NO_HTTPS.format(url=settings.PUBLIC_URL)
    return page(owner, request, "sync/connection/approve.html", f"Approve in the shop: {name}", **context)


def _may_hand_over(url: str) -> bool:
    """The sandbox makes an exception for loopback."""
    ours, shop = urlsplit(settings.PUBLIC_URL), urlsplit(url)
    on_this_machine = is_private(ours.hostname or "") and shop.hostname in ("127.0.0.1", "localhost")
    return ours.scheme == "https" or on_this_machine


@guarded(CREDENTIALS)
def approval_view(owner: ModelAdmin, request: HttpRequest, number: int) -> HttpResponse:
    """Where the shop leads back to. A GET tells how it stands; the POST tries the keys, and nothing else does: while it
    handed them over, a shop with one PHP process could not have answered."""
    approval = ShopApproval.objects.filter(pk=number).first()
    if approval is None:
        messages.error(request, GONE)
        return HttpResponseRedirect(list_of(owner))
    if approval.asked_by_id != request.user.pk:
        raise PermissionDenied("Somebody else asked for this approval.")
    problem = _problem(request, approval)
    if request.method == "POST" and approval.credentials and not problem:
        try:
            return _connect(request, approval)
        except SideError as error:
            problem = told(error)
    context = {
        "approval": approval,
        "problem": problem,
        "back": list_of(owner),
        "again": _start_again(approval),
        "keys": reverse("admin:webhooks_connection_type_keys"),
    }
    return page(owner, request, "sync/connection/approval.html", f"Approved in the shop? {approval.name}", **context)


def _start_again(approval: ShopApproval) -> str:
    if approval.connection is not None:
        return reverse("admin:webhooks_connection_keys", args=[approval.connection.pk])
    return reverse("admin:webhooks_connection_add_shop")


def _problem(request: HttpRequest, approval: ShopApproval) -> str:
    if approval.problem:
        return f"{approval.problem} Approve again with a user who may manage the shop."
    if approval.is_over:
        return "That took longer than 15 minutes. Start again."
    if request.GET.get("success") == "0":
        return "The shop says that it was not approved."
    known = connecting.known_shop(approval.url)
    if approval.connection is None and known:
        return f"This shop is there already: {known}."
    return ""


def _connect(request: HttpRequest, approval: ShopApproval) -> HttpResponse:
    """Raises SideError, and nothing is stored then."""
    keys, actor = credentials.decrypt(approval.credentials), request.user.get_username()
    connection = approval.connection
    connecting.try_shop(connecting.shop_at(approval.url, keys))
    if not ShopApproval.objects.filter(pk=approval.pk).delete()[0]:  # the button was pressed twice
        return HttpResponseRedirect(reverse("admin:webhooks_connection_changelist"))
    if connection is None:
        connection = _add(request, approval.name, approval.url, keys)
    else:
        connecting.use_keys(connection, keys)
        why, fields = "Approved in the shop", sorted(keys)
        audit.record("connection: keys", actor=actor, reason=why, result=str(connection), fields=fields)
        messages.success(request, "The new keys are in use.")
    return HttpResponseRedirect(page_of(connection))


def _add(request: HttpRequest, name: str, url: str, keys: dict[str, str]) -> Connection:
    connection = connecting.store_shop(name, url, keys)
    by = request.user.get_username()
    audit.record("connection: add", actor=by, result=f"{name}, {url}", connection=connection.slug, fields=sorted(keys))
    try:
        made = connecting.make_webhooks(connection)
    except SideError as error:
        messages.warning(request, f"The shop is connected, but its webhooks are not made yet: {told(error)}")
    else:
        audit.record("webhooks: ensure", actor=by, result=f"{made} made", connection=connection.slug)
        messages.success(request, f"{name} is connected. {made} webhooks were made in the shop.")
    return connection


@guarded(CREDENTIALS)
def type_keys_view(owner: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """For a shop whose page of approval is blocked, or cannot reach us."""
    form = ShopKeysForm(request.POST or None, initial=_sandbox())
    if form.is_valid():
        url, keys = form.cleaned_data["url"], form.keys()
        try:
            if "basic_auth" not in keys:  # a server in front of the shop would not let us look without it
                ensure_shop(url)
            connecting.try_shop(connecting.shop_at(url, keys))
        except NoShop as error:
            form.add_error("url", str(error))
        except SideError as error:
            form.add_error(None, told(error))
        else:
            return HttpResponseRedirect(page_of(_add(request, form.cleaned_data["name"], url, keys)))
    links = [("Approve in the shop instead", reverse("admin:webhooks_connection_add_shop"))]
    title = "Add a shop with typed keys"
    return form_page(owner, request, title=title, words=KEYS_WORDS, form=form, button="Connect", links=links)


def new_keys_of_shop(owner: ModelAdmin, request: HttpRequest, connection: Connection) -> HttpResponse:
    """Typed, or approved anew in the shop."""
    url = connection.shop_config.url
    if "approve" in request.POST:
        return _ask_the_shop(owner, request, name=connection.name, url=url, connection=connection)
    form = NewKeysForm(request.POST or None)
    if form.is_valid():
        keys = form.keys()
        try:
            connecting.try_shop(connecting.shop_at(url, keys))
        except SideError as error:
            form.add_error(None, told(error))
        else:
            connecting.use_keys(connection, {"basic_auth": "", **keys})
            by, reason = request.user.get_username(), form.cleaned_data["reason"]
            audit.record("connection: keys", actor=by, reason=reason, result=str(connection), fields=sorted(keys))
            messages.success(request, "The new keys are in use.")
            return HttpResponseRedirect(page_of(connection))
    return form_page(
        owner,
        request,
        title=f"New keys: {connection}",
        words=KEYS_WORDS,
        form=form,
        button="Use these keys",
        back=page_of(connection),
        extra_button=("approve", "Approve in the shop"),
    )


@guarded(CREDENTIALS)
def other_addresses_view(owner: ModelAdmin, request: HttpRequest, row: Connection) -> HttpResponse:
    known = row.shop_config.other_urls
    form = OtherAddressesForm(request.POST or None, initial={"other_urls": ", ".join(known)})
    if form.is_valid():
        said = form.cleaned_data
        row.settings = {**row.settings, "other_urls": said["other_urls"]}
        row.save(update_fields=["settings"])
        result = f"{row}: {', '.join(said['other_urls']) or 'no other addresses'}"
        by = request.user.get_username()
        audit.record("connection: addresses", actor=by, reason=said["reason"], result=result, connection=row.slug)
        messages.success(request, "Stored. Events that wait for it can be replayed.")
        return HttpResponseRedirect(page_of(row))
    words = f"It is asked at {row.shop_config.url}."
    title = f"Other addresses: {row}"
    return form_page(owner, request, title=title, words=words, form=form, button="Save", back=page_of(row))


def is_shop(connection: Connection) -> bool:
    return connection.kind == WOOCOMMERCE
