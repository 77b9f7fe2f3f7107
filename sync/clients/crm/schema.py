"""What a backend asks for when somebody connects it: the form in the back office is made of this list.

The names are those of the connection's `settings`, and of its `credentials` where they are secret.
"""

from dataclasses import dataclass

from webhooks.configs import POLL_LEAST
from webhooks.signatures import SCHEMES


@dataclass(frozen=True, kw_only=True)
class SettingField:
    """One value, as a person is asked for it."""

    name: str
    label: str
    help: str
    "What it is and where it is found, in one or two sentences."
    secret: bool = False
    "Stored encrypted and never shown again."
    required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    "The only values that it may have."
    least: int | None = None
    "It is a whole number, and at least this."

    @property
    def variable(self) -> str:
        """What gives it to the connection of the environment."""
        return f"CRM_{self.name.upper()}"


URL = SettingField(
    name="url", label="Address", help="The base address of the CRM's API, as in https://crm.example/api/v1"
)
TOKEN = SettingField(name="token", label="Token", help="The key that the CRM gives for its API", secret=True)
OF_EACH = (
    SettingField(
        name="poll_seconds",
        label="Ask what changed every … seconds",
        help=f"For a CRM that sends no webhooks: {POLL_LEAST} or more. Empty: it is asked every few minutes "
        "(RECONCILE_MINUTES)",
        required=False,
        least=POLL_LEAST,
    ),
)
"""Of every connection to a CRM, whatever its backend asks for."""
WEBHOOK_SECRETS = SettingField(
    name="webhook_secrets",
    label="Webhook secrets",
    help="With which the CRM signs its webhooks; several are separated by commas, and all are accepted. Empty: the "
    "CRM is asked every few minutes what changed",
    secret=True,
    required=False,
)
"""Of a CRM that sends webhooks."""
MAKE_PRODUCTS = SettingField(
    name="make_products",
    label="Make products",
    help="yes: a product is made for each unknown SKU. no: such a line has its name and no product of its own",
    default="no",
    choices=("no", "yes"),
)
"""Of every backend that can make products. Without it none is made."""
WEBHOOKS = (
    WEBHOOK_SECRETS,
    SettingField(
        name="signature",
        label="Signature scheme",
        help="How the CRM signs its webhooks",
        default="standard-webhooks",
        choices=tuple(SCHEMES),
    ),
    SettingField(
        name="signature_header",
        label="Signature header",
        help="Only for the two plain HMAC schemes: the header that carries the signature",
        required=False,
        default="X-CRM-Signature",
    ),
)
"""Of a CRM that sends webhooks in the format of `rest`."""
