"""A link with which the first administrator chooses name and password, so that no installation has a known one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from integration_site.setup_link import HOURS, is_needed, new_link


class Command(BaseCommand):
    help = "Print the link with which the first administrator chooses name and password. It works once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py setup_link"

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_needed():
            self.stdout.write(
                "There is an administrator. For another password: python manage.py changepassword NAME; for another "
                "administrator: python manage.py createsuperuser"
            )
            return
        self.stdout.write(
            f"Nobody can sign in yet. Open this within {HOURS} hours and choose a name and a password; it works once:\n"
            f"\n    {new_link()}\n"
        )
