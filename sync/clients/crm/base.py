"""What a CRM must be able to do for us, and what it says of itself: settings, traits, statuses, fields.

`docs/adding-a-crm.md` shows how to write a backend; `tests/sync/crm_contract.py` proves it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from sync.clients.crm.schema import SettingField
from sync.clients.errors import NotConfigured, Odd, Rejected
from sync.clients.http import CallRecord, JsonClient, ignore, nothing
from sync.clients.snapshots import Composer, CrmSnapshot
from webhooks.hooks import Hooks

ENVIRONMENT = "crm"
"""The slug of the connection that the environment defines (`CRM_URL` …)."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What leads to one CRM account: a value for each setting of its backend."""

    values: Mapping[str, str] = field(repr=False)
    slug: str = ENVIRONMENT
    "Of the connection. Tokens and caches are kept by it."
    public_only: bool = False
    "A person typed the address, who may not lead us into our own network."
    on_call: Callable[[CallRecord], None] = field(default=ignore, repr=False, compare=False)
    "Keeps each call."
    before_call: Callable[[], None] = field(default=nothing, repr=False, compare=False)
    "Renews the lease."

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def client(self, **more: Any) -> JsonClient:
        """Of its address; `headers`, `judge` and `auth` are the backend's."""
        ours: dict[str, Any] = {"on_call": self.on_call, "before_call": self.before_call}
        return JsonClient("crm", self["url"], public_only=self.public_only, **ours, **more)

    def ensure_whole(self, schema: Sequence[SettingField]) -> None:
        """Raises NotConfigured, and names the first that is missing and the place where it belongs."""
        for one in schema:
            if one.required and not (self[one.name] or one.default):
                if self.slug == ENVIRONMENT:
                    raise NotConfigured(f"{one.variable} is not set. Put it into .env.", side="crm")
                words = f"The connection {self.slug} has no {one.label}. Enter it on the connection's page."
                raise NotConfigured(words, side="crm")


def access(
    schema: Sequence[SettingField], values: Mapping[str, str], slug: str = ENVIRONMENT, *, public_only: bool = False
) -> Access:
    """Of these values those that the backend knows, defaults where there is none."""
    known = {one.name: str(values.get(one.name) or one.default) for one in schema}
    if "url" in known:
        known["url"] = known["url"].rstrip("/")
    return Access(values=known, slug=slug, public_only=public_only)


MARK = "woo-"
"""Stands before the order's name in a CRM that does not speak `rest`: there, other things have numbers, too."""


def marked(external_id: str) -> str:
    return f"{MARK}{external_id}"


def unmarked(seen: Any) -> str | None:
    """The order's name, of what stands in the CRM; None: nothing does. Somebody else's words name none of ours."""
    if not isinstance(seen, str) or not seen:
        return None
    return seen.removeprefix(MARK) if seen.startswith(MARK) else f"reference {seen}"


def only(external_id: str, listed: Iterable[CrmSnapshot], advice: str = "Merge them there.") -> CrmSnapshot | None:
    """The one order of this name in an answer, whatever else is in it; None: there is none. Several need a person."""
    found = {one.crm_order_id: one for one in listed if one.external_id == external_id}
    if len(found) > 1:
        words = f"The CRM has order {external_id} {len(found)} times: {', '.join(found)}."
        raise Rejected(words, advice=advice, side="crm", about_order=True)
    return next(iter(found.values()), None)


def same(found: CrmSnapshot, crm_order_id: str) -> CrmSnapshot:
    """The order that was asked for. Raises Odd where it is another."""
    if found.crm_order_id != crm_order_id:
        raise Odd(f"The CRM answered with order {found.crm_order_id}, not {crm_order_id}.", side="crm")
    return found


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How a CRM behaves, where that makes a difference to the decision. The defaults are the careful ones."""

    unique: Literal["enforced", "search_only"] = "search_only"
    "enforced: the CRM refuses a second order of the same name. search_only: it makes one, so we look and wait first."
    updated_at: Literal["microseconds", "seconds"] = "microseconds"
    "How finely it says when an order was changed. An event's own time is compared no more finely than that."
    hooks: Literal["signed", "hints", "none"] = "signed"
    "Whether its webhooks can be trusted. Hints only lead to a read. Without hooks the CRM is asked what changed."
    hook_before_commit: bool = False
    "A webhook is sent while the change is not stored yet, so that a read at once shows the old state."
    ids_reused: bool = False
    "The id of a deleted order may be given to another one."

    @property
    def speaks_truly(self) -> bool:
        """Whether an event may be believed unread (VERIFY=critical)."""
        return self.hooks == "signed" and not self.hook_before_commit and not self.ids_reused


@dataclass(frozen=True, kw_only=True)
class Status:
    """One that a person can move an order to there. `name` is what a snapshot shows, perhaps `pipeline/stage`."""

    name: str
    label: str
    shop_status: str = ""
    "What it means in the shop unless staff say otherwise; empty: staff have to say."


Kind = Literal["text", "number", "date", "choice", "yes_no", "reference"]
"""What a field takes."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One that an order has there, as the CRM lists it."""

    name: str
    label: str
    kind: Kind = "text"
    required: bool = False
    writable: bool = True
    choices: tuple[str, ...] = ()
    longest: int | None = None


class Crm(Protocol):
    """A CRM backend. Every method may raise the errors of `sync.clients.errors`, and nothing else."""

    title: ClassVar[str]
    "For people who choose one."
    schema: ClassVar[tuple[SettingField, ...]]
    traits: ClassVar[Traits]
    default_statuses: ClassVar[tuple[Status, ...]]
    "The map that a new bridge begins with; none: staff begin with an empty one, or with that of `rest`."

    def __init__(self, access: Access) -> None:
        """Makes no call. `access` holds every required setting."""

    @classmethod
    def composer(cls, access: Access) -> Composer:
        """What makes the document of an order, without a call. Its hash is the fingerprint."""

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        """Create the order of this document, or return the one that is there. True: it is new."""

    def get(self, crm_order_id: str) -> CrmSnapshot:
        """Read one order as it is now. Raises NotFound."""

    def find(self, external_id: str) -> CrmSnapshot | None:
        """The order that names this order of the shop, or None. A CRM may list new orders late."""

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        """Tell the CRM the order's document as it is now. Raises NotFound."""

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """Every order changed at or after `since`, oldest first, page by page. `drift` asks for all there are."""

    def statuses(self) -> list[Status]:
        """Those that an order can have there; empty: the CRM does not tell."""

    def fields(self) -> list[Field]:
        """Those that an order has there; empty: the CRM does not tell."""

    def ping(self) -> None:
        """A cheap read that proves address and token. Returns nothing; raises what is wrong."""


@runtime_checkable
class BatchReads(Protocol):
    """What a backend may offer besides: many orders by one call. `isinstance` tells whether it does.

    An order that the answer does not hold is read singly before anything is concluded. So an answer may leave out
    whatever is in doubt: what it lists late, what reads oddly, what it shows twice.
    """

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        """Those of these orders that can be read by one call, each as new as `get` would show it."""

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        """By external id, those of these orders that one call finds, each of them once. None where the answer shows no
        order of that name; that is believed if the same answer shows an order which is known to be there."""


@runtime_checkable
class TellsByHooks(Protocol):
    """Of its class: how its webhooks are verified, read and answered, where that is not as in `rest`."""

    hooks: Hooks


@runtime_checkable
class AdvisesHooks(Protocol):
    """And where its people have to make the webhook themselves: what they enter there."""

    def hook_advice(self, address: str) -> tuple[str, str]:
        """For webhooks that come to this address: in words, and what they paste. Without a call."""


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """Our webhook in the CRM, as it shows it."""

    trouble: str = ""
    "What is amiss, in words; empty: nothing."
    advice: str = ""
    expires_at: datetime | None = None
    "When it ends by itself; None: never."


@runtime_checkable
class Subscribes(Protocol):
    """And where we may make our webhook ourselves. It is watched as well."""

    def subscription(self, address: str) -> Subscription:
        """Of the webhook that delivers to this address. Nothing is written. Raises AuthFailed (403) where our key may
        not see it: then it is left to people."""

    def ensure(self, address: str, secret: str) -> list[str]:
        """Make it, or mend what is amiss, and say what was done. Done again, it does nothing."""


@runtime_checkable
class Renews(Subscribes, Protocol):
    """And where that ends by itself."""

    def renew(self, address: str) -> None:
        """Let it last as long as it can from now on. Called when less than a day is left."""


@runtime_checkable
class Links(Protocol):
    """And where a person sees an order in the CRM."""

    def url_of(self, crm_order_id: str) -> str:
        """The address of the order's page, without a call."""


@runtime_checkable
class Prepares(Protocol):
    """And what its account has to have before the first order, such as a field of ours that is unique."""

    def lacks(self) -> list[tuple[str, str]]:
        """What is missing there, in words, each with what to do about it. Nothing is written."""

    def prepare(self) -> list[str]:
        """Make what we may make there, and say what was made. Done again, it makes nothing."""


@runtime_checkable
class MakesOthers(Protocol):
    """And what it makes besides an order, if the CRM does not have it. Of two orders of one customer (or with one
    product) that come at once, the second then waits for the first."""

    def makes(self) -> Collection[Literal["customer", "product"]]:
        """Of a customer, her contacts and addresses as well. Without a call."""


@runtime_checkable
class Expires(Protocol):
    """And what ends there by itself, unless somebody renews it, such as a key."""

    def expires_at(self) -> Mapping[str, datetime]:
        """When, by what people call it, as in `the application key`. Without what never ends."""
