"""What the account of a CRM has to have before its first order: named by the checks, and made when a person says so."""

from collections.abc import Iterator

from sync.clients.bridged import crm_of
from sync.clients.crm.base import AdvisesHooks, Crm, Prepares
from sync.clients.errors import SideError
from sync.monitoring import subscriptions
from sync.monitoring.connecting import delivery_url
from sync.monitoring.findings import Finding, good, warning
from webhooks.connections import Bridge, Connection


def lacking(crm: Crm) -> list[tuple[str, str]]:
    """In words, and what to do."""
    return crm.lacks() if isinstance(crm, Prepares) else []


def of_webhooks(crm: Crm, connection: Connection) -> Iterator[Finding]:
    """How ours there is doing; and, unless it is well, how people make it themselves. Changes come without it, too."""
    state = subscriptions.look_at(crm, connection)
    if state and not state.trouble:
        yield good("webhooks", "Our webhook in the CRM is as it should be.")
        return
    if state:
        yield warning("webhooks", state.trouble, state.advice)
    if isinstance(crm, AdvisesHooks):
        words = "Its webhooks are made there by hand. Without one it is asked every few minutes what changed."
        advice, paste = crm.hook_advice(delivery_url(connection))
        yield Finding(check="crm", level="ok", words=words, advice=advice, paste=paste)


def prepare(crm: Crm, connection: Connection) -> Iterator[str]:
    """What was made. Raises SideError half-way; done again, it goes on."""
    if isinstance(crm, Prepares):
        yield from crm.prepare()
    yield from subscriptions.ensure(crm, connection)


def prepare_all(only: Bridge | None = None) -> Iterator[str]:
    """Of every bridge that is used, or being set up, or of that one."""
    for bridge in Bridge.objects.with_connections().filter(archived_at=None):
        if bridge.crm is not None and (only is None or bridge.pk == only.pk):
            more = ""
            try:
                for words in prepare(crm_of(bridge), bridge.crm):
                    more = "more "
                    yield words
            except SideError as error:
                yield f"{bridge}: nothing {more}could be made there. {error}"
