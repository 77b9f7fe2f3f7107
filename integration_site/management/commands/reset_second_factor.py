"""The way back for somebody who lost the second factor and the recovery codes."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orders import audit


class Command(BaseCommand):
    help = (
        "Remove somebody's authenticator app, passkeys and recovery codes, and end their sessions. The password alone "
        "opens then, until they set up another one. It is recorded in the audit."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py reset_second_factor ann"
        parser.add_argument("name", help="the name with which the person signs in")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")

    @transaction.atomic
    def handle(self, *args: Any, name: str, dry_run: bool, **options: Any) -> None:
        person = User.objects.filter(username=name).first()
        if person is None:
            raise CommandError(f"Nobody is called {name!r}. The names stand in /admin/auth/user/.")
        factors = Authenticator.objects.filter(user=person)
        kinds = sorted({str(Authenticator.Type(kind).label) for kind in factors.values_list("type", flat=True)})
        sessions = sessions_of(person)
        words = f"{', '.join(kinds) or 'no second factor'}; {len(sessions)} sessions"
        if dry_run:
            self.stdout.write(f"Would be removed of {name}: {words}")
            return
        factors.delete()
        UserSession.objects.filter(user=person).delete()
        Session.objects.filter(pk__in=sessions).delete()
        audit.record("reset second factor", actor="command", result=f"{name}: removed {words}.")
        self.stdout.write(f"Removed of {name}: {words}")


def sessions_of(person: User) -> list[str]:
    """Those from before sessions were listed included."""
    mine = str(person.pk)
    return [one.pk for one in Session.objects.all() if one.get_decoded().get("_auth_user_id") == mine]
