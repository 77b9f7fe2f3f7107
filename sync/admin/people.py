"""Who may sign in, and what for. Whoever is no superuser grants nothing (docs/decisions/0046)."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from webhooks.backoffice.lists import ForgivingList

admin.site.unregister([User, Group])
# One's own password, too: with its line in the audit, or not at all.
admin.site.password_change = transaction.atomic(admin.site.password_change)  # type: ignore[method-assign]

GRANTING_FIELDS = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ForgivingList):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    sortable_by = ("username", "email", "first_name", "last_name", "is_staff")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *GRANTING_FIELDS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and is_within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and is_within_reach(request, obj)

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """With its line in the audit, or not at all."""
        return super().user_change_password(request, id, form_url)


def is_within_reach(request: HttpRequest, person: User | None) -> bool:
    """Whoever may do less than somebody sets no password of theirs, which would be to become them, and does not throw
    them out. What an account that is shut could do is not known."""
    if person is None or request.user.is_superuser:
        return True
    return person.is_active and person.get_all_permissions() <= request.user.get_all_permissions()


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ForgivingList):
    sortable_by = ("__str__",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and request.user.is_superuser
