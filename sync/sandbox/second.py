"""A second shop and a second CRM, which nobody has connected yet: for whoever tries in the back office to add one.

They have no account to sign in to. Where SANDBOX_URLS names them, the forms are filled in with what stands here.
"""

from urllib.parse import urlsplit

from django.conf import settings

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop

SHOP = {"name": "Second sandbox shop"}
CRM = {
    "name": "Second sandbox CRM",
    "token": "second-sandbox-crm-token",
    "webhook_secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # the published test vector
}
CRM_SLUG = "second-sandbox-crm"
"""What its name makes of it: the CRM sends its webhooks there from the beginning, and repeats what is not taken."""
FIRST_ID = 501
ORDERS = 12
"""That are there when it is connected, for a dry run to look at."""


def shop_url() -> str:
    return settings.SANDBOX_URLS[0] if len(settings.SANDBOX_URLS) == 2 else ""


def crm_url() -> str:
    return settings.SANDBOX_URLS[1] if len(settings.SANDBOX_URLS) == 2 else ""


def servers() -> tuple[SandboxShop, SandboxCrm]:
    """Where SANDBOX_URLS says, not yet started."""
    shop = SandboxShop(urlsplit(shop_url()).port or 0, first_id=FIRST_ID)
    hooks = f"{settings.PUBLIC_URL}/webhooks/crm/{CRM_SLUG}/"
    crm = SandboxCrm(urlsplit(crm_url()).port or 0, CRM["token"], hooks, CRM["webhook_secrets"])
    return shop, crm
