"""Which bridge a command is about: `--bridge SLUG`, or the only one."""

from django.core.management.base import CommandError, CommandParser

from webhooks.connections import Bridge

WRONG_USE = 2


def add_bridge(parser: CommandParser) -> None:
    parser.add_argument("--bridge", metavar="SLUG", help="which bridge, by its short name (default: the only one)")


def chosen_bridge(slug: str | None) -> Bridge:
    """Raises CommandError, which says which there are."""
    bridges = list(Bridge.objects.with_connections().filter(archived_at=None))
    if slug:
        bridges = [bridge for bridge in bridges if bridge.slug == slug]
    elif len(bridges) > 1:  # that of the environment is there even if nobody uses it
        bridges = [bridge for bridge in bridges if bridge.is_set]
    if len(bridges) == 1:
        return bridges[0]
    there = ", ".join(Bridge.objects.filter(archived_at=None).order_by("pk").values_list("slug", flat=True))
    words = f"No bridge is called {slug!r}." if slug else "There are several bridges: say which with --bridge SLUG."
    raise CommandError(f"{words} There are: {there}.", returncode=WRONG_USE)
