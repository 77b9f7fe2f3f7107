"""The status map and the moves, checked against what the shop knows at this moment."""

from django.contrib import admin
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from orders.admin import AllowedMoveAdmin, StatusRuleAdmin
from orders.forms import StatusRuleForm
from orders.models import AllowedMove, StatusRule
from sync.clients.bridged import shop_of
from sync.clients.errors import SideError
from webhooks.connections import Bridge

KEPT_SECONDS = 60


def cache_key(bridge: Bridge) -> str:
    return f"shop-statuses-{bridge.pk}"


def shop_statuses(bridge: Bridge) -> frozenset[str] | None:
    """What its shop knew within the last minute; None: it could not be asked."""
    known: frozenset[str] | None = cache.get_or_set(cache_key(bridge), lambda: _ask(bridge), KEPT_SECONDS)
    return known


def remembered_statuses(bridge: Bridge) -> frozenset[str] | None:
    """The same without asking."""
    known: frozenset[str] | None = cache.get(cache_key(bridge))
    return known


def _ask(bridge: Bridge) -> frozenset[str] | None:
    try:
        return shop_of(bridge).statuses()
    except SideError:
        return None


class CheckedRuleForm(StatusRuleForm):
    """A status that the shop does not know would park every order that gets there."""

    def clean_woo_status(self) -> str:
        """Only what was changed is checked: a row that was wrong before does not hinder the others of the page."""
        status = super().clean_woo_status()
        bridge = self.instance.bridge
        if not status or "woo_status" not in self.changed_data or status in (shop_statuses(bridge) or ()):
            return status
        cache.delete(cache_key(bridge))  # the status may be new in the shop
        known = shop_statuses(bridge)
        if known is not None and status not in known:
            names = ", ".join(sorted(known))
            raise ValidationError(f"The shop does not know the status {status!r}. It knows: {names}.")
        return status


class AskingTheShop:
    def known_to_the_shop(self, request: HttpRequest, bridge: Bridge) -> frozenset[str] | None:
        """A GET shows what was heard within the last minute; a POST asks now."""
        if request.method == "POST" and "_ask" in request.POST:
            if not request.user.has_perm("orders.check_orderlink"):
                raise PermissionDenied
            cache.delete(cache_key(bridge))
            return shop_statuses(bridge)
        return remembered_statuses(bridge)


@admin.register(StatusRule)
class RuleAdmin(AskingTheShop, StatusRuleAdmin):
    form = CheckedRuleForm


@admin.register(AllowedMove)
class MoveAdmin(AskingTheShop, AllowedMoveAdmin):
    pass
