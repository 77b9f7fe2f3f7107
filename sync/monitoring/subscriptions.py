"""Our webhooks in CRMs where we may make them ourselves: watched and renewed, made and mended when a person says so."""

from datetime import timedelta
from http import HTTPStatus

from sync import alarms
from sync.clients import crm as crm_backends
from sync.clients.crm.base import Crm, Renews, Subscribes, Subscription
from sync.clients.errors import AuthFailed, SideError
from sync.models import SideState
from sync.monitoring.connecting import delivery_url
from webhooks import clock
from webhooks.connections import WOOCOMMERCE, Bridge, Connection
from webhooks.credentials import WrongKey
from webhooks.masking import masked_text

ALARM = "subscription:"
RENEWED, SOON = timedelta(days=1), timedelta(hours=12)
"""What is left when it is renewed; and when people hear that it was not."""


def look_at(crm: Crm, connection: Connection) -> Subscription | None:
    """None: there is none to look at, none is wanted without a secret, or our key may not see it."""
    if not isinstance(crm, Subscribes) or not _secret(connection):
        return None
    try:
        return crm.subscription(delivery_url(connection))
    except AuthFailed as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return None


def ensure(crm: Crm, connection: Connection) -> list[str]:
    """What was done; nothing, where `look_at` sees none. Raises SideError; done again, it does nothing."""
    if not isinstance(crm, Subscribes) or look_at(crm, connection) is None:
        return []
    return crm.ensure(delivery_url(connection), _secret(connection))


def _secret(connection: Connection) -> str:
    return next(iter(connection.crm_config.webhook_secrets), "")


def on_schedule() -> None:
    """Of each CRM that is used. One that is away is told of elsewhere."""
    used = {bridge.crm_id for bridge in Bridge.objects.on()}
    well = set(SideState.objects.filter(paused=False, opened_at=None).values_list("name", flat=True))
    for connection in Connection.objects.exclude(kind=WOOCOMMERCE).order_by("pk"):
        if connection.pk not in used:
            alarms.clear(f"{ALARM}{connection.slug}")
        elif connection.slug in well:
            _watch(connection)


def _watch(connection: Connection) -> None:
    try:
        crm = crm_backends.connect(config=connection.crm_config)
        state = look_at(crm, connection)
        if state and not state.trouble:
            state = _renewed(crm, delivery_url(connection), state)
    except (SideError, WrongKey):
        return
    key = f"{ALARM}{connection.slug}"
    if state and state.trouble:
        words = masked_text(f"{connection}: {state.trouble} Until then it is asked every few minutes what changed.")
        alarms.raise_alarm(key, words, state.advice)
    else:
        alarms.clear(key)


def _renewed(crm: Crm, address: str, state: Subscription) -> Subscription:
    if state.expires_at is None or state.expires_at - clock.now() >= RENEWED:
        return state
    why = "nobody renews it"
    if isinstance(crm, Renews):
        try:
            crm.renew(address)
            state, why = crm.subscription(address), "renewing it changed nothing"
        except SideError as error:
            why = f"it could not be renewed: {error}"
    if state.trouble or state.expires_at is None or state.expires_at - clock.now() >= SOON:
        return state
    words = f"our webhook ends on {state.expires_at:%Y-%m-%d %H:%M} UTC ({why})."
    return Subscription(trouble=words, advice="Renew it in the CRM, or see what the key may do.")
