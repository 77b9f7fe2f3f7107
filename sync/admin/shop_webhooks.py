"""Our webhooks in the shop: how each is doing, asked anew, and mended from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders import audit
from orders.asking import ReasonForm
from sync.admin.runs import begin
from sync.alarms import open_alarms
from sync.clients.bridged import shop_of
from sync.clients.errors import SideError
from sync.jobs import engine, reconciliation, shop_identity
from sync.models import Alarm
from sync.monitoring import shop_webhooks
from sync.monitoring.shop_webhooks import TOPICS, WebhookChange, WebhookVerdict
from webhooks.backoffice.bridges import are_several, choice_of, chosen_bridge
from webhooks.backoffice.pages import page
from webhooks.connections import Bridge
from webhooks.masking import masked_row, masked_text

CHECK = "orders.check_orderlink"
ACT = "sync.start_run"
ACTIONS = {
    "ensure": ("Create missing", "This creates the missing webhooks."),
    "repair": (
        "Repair",
        "This creates the missing webhooks and replaces the broken ones. Then a reconcile fetches what was missed.",
    ),
    "remove": (
        "Remove",
        "This deletes our webhooks in the shop. It reports nothing until they are created again.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class WebhookRow:
    """One of the four, as it was judged last."""

    topic: str
    well: bool
    words: str
    advice: str
    numbers: str = ""


def webhooks_view(owner: ModelAdmin, request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """A GET shows what the schedule's last look found; a POST asks the shop now."""
    if not owner.has_view_permission(request):
        raise PermissionDenied
    bridge = chosen_bridge(request)
    rows = [_remembered(topic, alarms) for alarms in [_alarms(bridge)] for topic in TOPICS]
    asked = False
    if request.method == "POST":
        if not request.user.has_perm(CHECK):
            raise PermissionDenied
        try:
            rows, asked = [_judged(one) for one in shop_webhooks.check_webhooks(bridge)], True
        except SideError as error:
            messages.error(
                request,
                f"{masked_text(str(error))} This page shows the last known state. Run `doctor` to see what to do.",
            )
    context = {"rows": rows, "asked": asked, "may_check": request.user.has_perm(CHECK)}
    context |= {"url": shop_webhooks.delivery_url(bridge), "bridges": choice_of(bridge), "bridge": bridge}
    if request.user.has_perm(ACT):
        context["actions"] = [(name, label) for name, (label, _) in ACTIONS.items()]
    return page(owner, request, "sync/health/webhooks.html", "Webhooks in the shop", opts=None, **context)


def act_view(owner: ModelAdmin, request: HttpRequest, action: str, **kwargs: Any) -> HttpResponse:
    """The first POST shows the steps, the second, with a reason, takes them. A GET asks the shop nothing."""
    if not (owner.has_view_permission(request) and request.user.has_perm(ACT)):
        raise PermissionDenied
    bridge = chosen_bridge(request)
    back = _page_of(bridge)
    if request.method != "POST" or action not in ACTIONS:
        return HttpResponseRedirect(back)
    form = ReasonForm(request.POST if "confirmed" in request.POST else None)
    try:
        shop_identity.check(shop_of(bridge), bridge)
        verdicts = shop_webhooks.look(bridge)
        steps = shop_webhooks.changes_for(action, verdicts)
        if form.is_valid():
            messages.success(request, _carry_out(request, bridge, action, steps, form.cleaned_data["reason"]))
            return HttpResponseRedirect(back)
    except shop_identity.AnotherShop as error:
        messages.error(request, masked_text(str(error)))
        return HttpResponseRedirect(back)
    except SideError as error:
        messages.error(
            request, f"{masked_text(str(error))} Fix that, then press the button again. It continues from there."
        )
        return HttpResponseRedirect(back)
    label, words = ACTIONS[action]
    rows = [_judged(one) for one in verdicts]
    return page(
        owner,
        request,
        "sync/health/webhooks_act.html",
        f"{label}: webhooks{f' of {bridge.shop}' if are_several() else ''}",
        opts=None,
        back=back,
        rows=rows,
        steps=steps,
        words=words,
        wide=True,
        hidden=[("confirmed", "yes")],
        **({"form": form, "button": label} if steps else {}),
    )


def _carry_out(request: HttpRequest, bridge: Bridge, action: str, steps: Sequence[WebhookChange], reason: str) -> str:
    """What was done, in words. Also what broke off half-way is in the audit."""
    who = request.user.get_username()
    said: dict[str, Any] = {"steps": [*map(str, steps)], "bridge": bridge.slug}
    try:
        shop_webhooks.make_changes(shop_of(bridge), steps, bridge)
    except SideError as error:
        audit.record(f"webhooks: {action}", actor=who, reason=reason, result=str(error), **said)
        raise
    verdicts = shop_webhooks.check_webhooks(bridge)
    left = ", ".join(f"{one.topic} {one.state}" for one in verdicts if one.state != "ok")
    told = f"{len(steps)} changes made."
    if action != "remove":
        told += f" Not working yet: {left}." if left else " All four are active."
    audit.record(f"webhooks: {action}", actor=who, reason=reason, result=told, **said)
    if action == "repair" and steps:
        told += f" {_fetch_what_was_missed(bridge, who, reason)}"
    return told


def _fetch_what_was_missed(bridge: Bridge, who: str, reason: str) -> str:
    try:
        run = begin(reconciliation.start, by=who, reason=reason, bridge=bridge.pk)
    except engine.AlreadyRunning:
        return "A reconcile is already running. It fetches what was missed."
    return f"{run} fetches what was missed."


def _alarms(bridge: Bridge) -> dict[str, Alarm]:
    of_it = open_alarms().filter(Q(bridge=bridge) | Q(bridge=None), key__startswith="webhook:")
    alarms = map(masked_row, of_it)
    return {alarm.key.partition(":")[2]: alarm for alarm in alarms}


def _remembered(topic: str, alarms: dict[str, Alarm]) -> WebhookRow:
    alarm = alarms.get(topic)
    if alarm is None:
        return WebhookRow(topic=topic, well=True, words="No problem is known.", advice="")
    words = alarm.words.removeprefix(f"Webhook {topic}: ")
    return WebhookRow(topic=topic, well=False, words=words, advice=_to_press(alarm.advice))


def _judged(one: WebhookVerdict) -> WebhookRow:
    numbers = ", ".join(map(str, one.numbers))
    return WebhookRow(
        topic=one.topic, well=one.state == "ok", words=one.words, advice=_to_press(one.advice), numbers=numbers
    )


def _to_press(advice: str) -> str:
    """What the commands do, the buttons below do, too."""
    for action, (label, _) in ACTIONS.items():
        advice = advice.replace(f"Run `shop_webhooks {action}`", f"Press {label}")
        advice = advice.replace(f"run `shop_webhooks {action}`", f"press {label}")
    return advice


def _page_of(bridge: Bridge) -> str:
    return f"{reverse('admin:sync_webhooks')}{f'?bridge={bridge.pk}' if are_several() else ''}"
