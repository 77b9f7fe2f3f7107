"""Who may sign in, and what for."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from webhooks.admin import ForgivingList

admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ForgivingList):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    sortable_by = ("username", "email", "first_name", "last_name", "is_staff")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ForgivingList):
    sortable_by = ("__str__",)
