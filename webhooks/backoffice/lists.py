"""The bases of our list pages: filtered by what they declare only, masked, and read-only where nothing is edited."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import FieldDoesNotExist
from django.db.models import BooleanField, CharField, JSONField, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from webhooks.masking import masked_row

FILTER_ENDINGS = (
    *("", "__exact", "__id__exact", "__isnull", "__isempty", "__gte", "__lt", "__year", "__month", "__day"),
    *(f"_{end}{part}" for end in ("from", "to") for part in ("", "_0", "_1")),
)


def may(permission: str) -> Callable[..., bool]:
    """`has_…_permission` of an admin: who may see its list and has this permission, sees and presses the button.

    Unfold would take the permission's own name as well, and look for it in the database before the first `migrate`.
    """

    def has_it(self: ModelAdmin, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm(permission) and self.has_view_permission(request)

    return has_it


class DeclaredFilters(ChangeList):
    """A list that is filtered and ordered by what its admin declares, and by nothing else that Django would take from
    an address: whoever sees a value masked could ask for it letter by letter. The list itself, its export, a bulk
    replay and the actions on all that match read their rows through this."""

    def get_filters(self, request: HttpRequest) -> Any:
        # PostgreSQL refuses it as soon as rows are read, which is too late for Django's own check of filters.
        if any("\0" in one for values in self.get_filters_params().values() for one in values):
            raise DisallowedModelAdminLookup("NUL is in no value")
        found = super().get_filters(request)
        dates = {f"{self.date_hierarchy}__{end}" for end in ("gte", "lt")}
        if undeclared := found[2].keys() - dates - self.model_admin.exact_filters():
            raise DisallowedModelAdminLookup(f"no filters of this list: {', '.join(sorted(undeclared))}")
        return found

    def get_ordering_field(self, field_name: Any) -> Any:
        """Of a column that is no column to sort by: none, also if the address asks for it."""
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None


class ForgivingList(ModelAdmin):
    """A list whose address may ask for nonsense: then it says so and shows everything. The base of all our lists."""

    linked_by: Sequence[str] = ()
    """Fields by which other pages link to a part of the list; only their exact values."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeclaredFilters

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The names that the declared filters may have; which they have indeed, DeclaredFilters tells."""
        filters = self.get_list_filter(request)
        declared = [
            getattr(one, "parameter_name", None) or (one[0] if isinstance(one, tuple | list) else one)
            for one in filters
        ]
        known = {f"{name}{ending}" for name in [*declared, self.date_hierarchy] if name for ending in FILTER_ENDINGS}
        return lookup in known or lookup in self.exact_filters()

    def exact_filters(self) -> set[str]:
        """Fields that may be asked for without a filter of their own, by whole values: the choices, and `linked_by`."""
        chosen = {field.name for field in self.opts.concrete_fields if field.choices or isinstance(field, BooleanField)}
        return {f"{name}{ending}" for name in chosen.union(self.linked_by) for ending in ("", "__exact")}

    def get_sortable_by(self, request: HttpRequest) -> list[Any] | tuple[Any, ...]:
        """Numbers, times and choices, unless the list says more: the order of words tells what is in them."""
        if self.sortable_by is not None:
            return list(self.sortable_by)
        return [column for column in self.get_list_display(request) if self._sorts_by_no_words(column)]

    def _sorts_by_no_words(self, column: Any) -> bool:
        shown = getattr(self, column, None) if isinstance(column, str) else column
        try:
            field = self.opts.get_field(getattr(shown, "admin_order_field", None) or column)
        except FieldDoesNotExist:
            return False
        return bool(field.primary_key or field.choices) or not isinstance(field, CharField | TextField | JSONField)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            answer: HttpResponse = super().changelist_view(request, extra_context)
        except DisallowedModelAdminLookup:
            return self._start_anew(request)
        # Django tells of it with ?e=1, and of a second mistake with a page about broken databases.
        broken = getattr(answer, "template_name", "") == "admin/invalid_setup.html"
        flagged = isinstance(answer, HttpResponseRedirect) and answer.url == f"{request.path}?{ERROR_FLAG}=1"
        return self._start_anew(request) if broken or flagged else answer

    def _start_anew(self, request: HttpRequest) -> HttpResponse:
        words = "The address names a filter or a page that does not exist. This list shows everything."
        self.message_user(request, words, messages.WARNING)
        return HttpResponseRedirect(request.path)


class MaskedRows(DeclaredFilters):
    """What a column shows raw is masked as well as what a method makes of it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = [masked_row(row) for row in self.result_list]  # type: ignore[has-type]


class ReadOnlyAdmin(ForgivingList):
    """Looking only, for superusers too: what happened is not edited. Rows are masked as they are read."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MaskedRows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        return masked_row(row) if row is not None else None

    list_per_page = 25
    show_full_result_count = False
    ordering = ("-pk",)
    list_filter_submit = True

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What a row's own page shows besides its fields."""
        return {}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Nothing here is edited, so there is no history of edits to lead to."""
        row = self.get_object(request, object_id)
        shown = self.page_context(request, row) if row and self.has_view_permission(request, row) else {}
        return super().change_view(
            request, object_id, form_url, {"show_history": False, **(extra_context or {}), **shown}
        )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
