"""Where there are several bridges, a list says of which each row is, and can be narrowed to one."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest, QueryDict
from unfold.contrib.filters.admin import DropdownFilter

from webhooks.connections import Bridge, bridge_names

if TYPE_CHECKING:
    from unfold.admin import ModelAdmin
else:
    ModelAdmin = object


def are_several() -> bool:
    return len(bridge_names()) > 1


def chosen_bridge(request: HttpRequest) -> Bridge:
    """Of a page that is about one: that which the address names, or the list from which somebody comes; or the first
    that is set up."""
    known: Bridge | None = getattr(request, "chosen_bridge", None)
    if known is not None:
        return known
    bridges = list(Bridge.objects.with_connections().filter(archived_at=None))
    wanted = request.GET.get("bridge") or QueryDict(request.GET.get("_changelist_filters", "")).get("bridge")
    named = (bridge for bridge in bridges if str(bridge.pk) == wanted)
    chosen = next(named, None) or next((bridge for bridge in bridges if bridge.is_set), bridges[0])
    request.chosen_bridge = chosen  # type: ignore[attr-defined]  # asked for once by a page
    return chosen


def choice_of(bridge: Bridge | None) -> list[tuple[str, int, bool]]:
    """For `bridge_choice.html`: name and number of each, and whether it is this one. Empty: there is only one."""
    chosen = bridge.pk if bridge else 0
    return [(name, pk, pk == chosen) for pk, name in bridge_names().items()] if are_several() else []


class BridgeFilter(DropdownFilter):
    """Django leaves out a filter that offers nothing."""

    title = "bridge"
    parameter_name = "bridge"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        self.path: str = getattr(model_admin, "bridge_path", "bridge")
        return [(str(pk), name) for pk, name in bridge_names().items()] if are_several() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.path: int(self.value())}) if self.value() in self._offered else queryset

    @property
    def _offered(self) -> dict[str, str]:
        return dict(self.lookup_choices)


class ByBridge(ModelAdmin):
    """For lists of what hangs on a bridge."""

    bridge_path = "bridge"
    "How a row leads to it."

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = super().get_list_display(request)
        return [*columns, "of_bridge"] if are_several() else columns

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [BridgeFilter, *super().get_list_filter(request)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_fields(request, obj)
        return [*shown, "of_bridge"] if obj is not None and are_several() else shown

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """With the bridge of what the row hangs on, so that no row asks for it."""
        rows = super().get_queryset(request)
        is_far = "__" in self.bridge_path and are_several()
        return rows.annotate(bridge_far=F(f"{self.bridge_path}_id")) if is_far else rows

    @admin.display(description="Bridge")
    def of_bridge(self, row: Any) -> str:
        return name_of(row.bridge_far if "__" in self.bridge_path else row.bridge_id)


def name_of(bridge: int | None) -> str:
    return bridge_names().get(bridge, f"archived ({bridge})") if bridge else "–"
