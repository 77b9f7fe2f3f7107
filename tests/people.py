"""Staff of each role, at their browser."""

from django.contrib.auth.models import Group, User
from django.test import Client


def signed_in(role: str) -> Client:
    user, new = User.objects.get_or_create(username=role, defaults={"is_staff": True})
    if new:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client
