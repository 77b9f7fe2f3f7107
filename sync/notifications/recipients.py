"""The recipients of NOTIFY_URLS are rows like any other, but for their address, which stays in the environment."""

from collections.abc import Mapping

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac

from sync.models import Recipient
from sync.notifications.addresses import is_mail, scheme_of
from webhooks.credentials import WrongKey


def keep_in_step() -> None:
    """Make a row for each new entry. That of one that is gone stays: with the entry its rules are back."""
    known = set(Recipient.objects.exclude(environment="").values_list("environment", flat=True))
    for key, address in by_key().items():
        if key not in known:
            Recipient.objects.get_or_create(environment=key, defaults={"name": _name(address)})


def told() -> QuerySet[Recipient]:
    """Who hears of alarms: those that are switched on, and of NOTIFY_URLS those whose entry stands there."""
    return Recipient.objects.filter(Q(environment="") | Q(environment__in=by_key()), enabled=True)


def by_key() -> Mapping[str, str]:
    """The entries of NOTIFY_URLS by what their rows keep of them: nobody finds a token from that."""
    return {salted_hmac("orderbridge.recipients", one).hexdigest(): one for one in settings.NOTIFY_URLS}


def address_of(recipient: Recipient) -> str:
    """Empty: its entry is gone, or cannot be decrypted any more."""
    if recipient.environment:
        return by_key().get(recipient.environment, "")
    try:
        return recipient.stored_address()
    except WrongKey:
        return ""


def _name(address: str) -> str:
    kind = "E-mail" if is_mail(address) else scheme_of(address) or "unknown"
    taken = set(Recipient.objects.values_list("name", flat=True))
    names = (f"{kind}, from the environment{f' ({number})' if number > 1 else ''}" for number in range(1, 1000))
    return next(name for name in names if name not in taken)
