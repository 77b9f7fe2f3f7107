"""What may be written as an address: an e-mail address, or the URL of a service that apprise knows and we allow.

Whoever may edit recipients must not reach into the network that we stand in, nor read our files: a host that is not
public is refused unless ALLOW_PRIVATE_ADDRESSES is true, and so is every option that names a file.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from sync.clients.addresses import is_inside
from webhooks.masking import MASK, masked_text

SERVICES = {
    "Slack": "slack",
    "Microsoft Teams (a workflow)": "workflows workflow",
    "Telegram": "tgram",
    "ntfy": "ntfys ntfy",
    "Discord": "discord",
    "Google Chat": "gchat",
    "Matrix": "matrixs matrix",
    "Mattermost": "mmosts mmost",
    "Rocket.Chat": "rockets rocket",
    "Webex": "wxteams webex",
    "Zulip": "zulip",
    "Nextcloud Talk": "nctalks nctalk",
    "Synology Chat": "synologys synology",
    "Signal": "signals signal",
    "Gotify": "gotifys gotify",
    "Pushover": "pover",
    "Pushbullet": "pbul",
    "PagerDuty": "pagerduty",
    "Opsgenie": "opsgenie",
    "incident.io": "incidentio",
    "ilert": "ilert",
    "Better Stack": "betterstack",
    "Splunk On-Call": "splunk victorops",
    "Squadcast": "squadcast",
    "GoAlert": "goalerts goalert",
    "Amazon SNS": "sns",
    "Twilio": "twilio",
    "Home Assistant": "hassios hassio",
    "Apprise API": "apprises apprise",
    "any webhook, as JSON": "jsons json",
    "any webhook, as XML": "xmls xml",
    "any webhook, as a form": "forms form",
    "a mail server of its own": "mailtos mailto",
}
"""By name, the schemes of its URLs. All others of apprise are off: some write to this machine."""
SCHEMES = frozenset(" ".join(SERVICES.values()).split())
NAME_FILES = frozenset({"template", "pgp", "pgppub", "pgpprv", "pgpkey", "attach", "attachment", "keyfile", "subfile"})
"""Options of these services that have apprise open a file or an address."""
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/{0,2}", re.IGNORECASE)
ADVICE = "docs/notifications.md shows how to write each."
INSIDE = (
    "leads into this network, and not to the public internet. If messages are to go there, set "
    "ALLOW_PRIVATE_ADDRESSES=true and restart the web server and the worker."
)
PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


class Refused(Exception):
    """The address cannot be used. The message says why, and what to do."""


def check(address: str) -> None:
    """Raises Refused. Nobody is called, nor is DNS: a name that leads inside is found when it is sent to."""
    if "://" not in address and "@" in address:
        _check_mail(address)
        return
    scheme = scheme_of(address)
    if scheme not in SCHEMES and scheme != "https":
        raise Refused(_unknown(scheme))
    _check_options(address)
    if scheme != "https":
        _check_hosts(address)


def check_wholly(address: str) -> None:
    """Also whether apprise understands it, which takes a second and memory. Raises Refused."""
    check(address)
    if not is_mail(address) and service(address) is None:
        raise Refused(f"{shown(address)} lacks something: a token, a channel or a host. {ADVICE}")


def is_mail(address: str) -> bool:
    return "://" not in address and "@" in address


def scheme_of(address: str) -> str:
    found = SCHEME.match(address.strip())
    return found[1].lower() if found else ""


def shown(address: str) -> str:
    """For pages and logs: of a URL no more than its service, as anything behind it may be a secret."""
    if is_mail(address):
        return masked_text(address)
    scheme = scheme_of(address)
    return f"{scheme}://{MASK}" if scheme else MASK


def service(address: str) -> Any:
    """Apprise's own object; None: it does not understand the address, or it is for none of the services above."""
    import apprise  # only where it is needed: it takes a second, and 40 MB
    from apprise import plugins

    said: Any = plugins.url_to_dict(address, secure_logging=True)  # type: ignore[no-untyped-call]
    if not said or said.get("schema") not in SCHEMES:
        return None
    asset = apprise.AppriseAsset(
        app_id="Orderbridge",
        app_desc="Orderbridge",
        secure_logging=True,
        http_redirects=False,
        storage_mode="memory",
        # In the thread that asks: one of its own would keep the process from ending while it hangs.
        async_mode=False,
        service_timeout=0,
    )
    return apprise.Apprise.instantiate(address, asset=asset)


def is_private(host: str) -> bool:
    """As far as can be said without DNS. A name without a dot is one of this network."""
    bare = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        return is_inside(bare)
    except ValueError:
        return "." not in bare or bare.endswith(PRIVATE_NAMES) or bool(re.fullmatch(r"0x[0-9a-fx.]+|[0-9.]+", bare))


def _check_mail(address: str) -> None:
    try:
        validate_email(address)
    except ValidationError:
        raise Refused("This is no e-mail address. Write it as in ops@example.com.") from None
    if not settings.EMAIL_HOST and settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        raise Refused(
            "EMAIL_URL is not set, so no e-mail can be sent. Set it, as in smtp+tls://USER:PASSWORD@mail.example:587."
        )


def _check_options(address: str) -> None:
    for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True):
        if (bare := name.strip().lstrip("+-:").lower()) in NAME_FILES:
            raise Refused(f"The option {bare}= names a file or another address. Leave it out: messages are plain text.")
        if bare == "redirect":
            raise Refused("The option redirect= is not allowed: a redirect may lead into this network. Leave it out.")


def _check_hosts(address: str) -> None:
    for host in _hosts(address):
        if is_private(host) and not settings.ALLOW_PRIVATE_ADDRESSES:
            raise Refused(f"{host} {INSIDE}")


def _hosts(address: str) -> Iterator[str]:
    """Where the URL itself says to whom it goes. For most services the host's place holds a token or a channel."""
    parts = urlsplit(address)
    scheme = scheme_of(address)
    if scheme in OWN_HOST and parts.hostname and not (scheme in ("ntfy", "ntfys") and not parts.path.strip("/")):
        yield parts.hostname
    for name, value in parse_qsl(parts.query):
        if name.lower() in ("smtp", "host") and value:
            yield value.rpartition("@")[2].partition(":")[0]


OWN_HOSTED = (
    "ntfys ntfy matrixs matrix mmosts mmost rockets rocket nctalks nctalk synologys synology signals signal gotifys "
    "gotify goalerts goalert hassios hassio apprises apprise jsons json xmls xml forms form mailtos mailto"
)
OWN_HOST = frozenset(OWN_HOSTED.split())


def _unknown(scheme: str) -> str:
    known = ", ".join(f"{name} ({schemes.split()[0]}://)" for name, schemes in SERVICES.items())
    what = f"{scheme}:// is none of the services that are known" if scheme else "This is neither a URL nor an address"
    return f"{what}. Write an e-mail address, or the URL of one of: {known}. {ADVICE}"
