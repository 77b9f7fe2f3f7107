"""The default CRM: a plain JSON API (CONTRACT section 3)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from typing import Any, get_args
from urllib.parse import quote

from sync.clients.crm.base import Access, Field, Kind, Status, Traits, only, same
from sync.clients.crm.schema import URL, WEBHOOKS, SettingField
from sync.clients.errors import (
    AnsweredForAnother,
    AuthFailed,
    Blocked,
    Hidden,
    NotFound,
    Odd,
    Rejected,
    SideError,
    TooLarge,
)
from sync.clients.http import Answer, readable
from sync.clients.paging import OF_A_PAGE, PageSize, batches, pages
from sync.clients.snapshots import AS_IT_IS, LARGEST_INTEGER, Composer, CrmSnapshot, is_word
from webhooks.moments import utc
from webhooks.texts import is_spoiled

WORDS = {
    "crm_order_id": "id",
    "external_id": "external_id",
    "status": "status",
    "version": "version",
    "updated_at": "updated_at",
}
"""Our word for each field of an order, and the CRM's."""

OF_THE_BATCH = frozenset({403, 413, 414, 431})
"""To a batch: the address is too long, or one of the orders may not be read. Fewer orders are asked for."""
OF_THE_SIDE = frozenset({401, 408, 425, 429})
"""To a batch: nothing about it."""
LOOK_PAGES, LOOK_SECONDS = 1000, 45.0
"""A look-up that reads the whole list, as of a CRM that ignores the filter, must end before the queue's own timeout."""


class RestCrm:
    """Speaks the `rest` format. Ids are strings, times RFC 3339 in UTC, versions integers that grow."""

    title = "JSON API in the format of Orderbridge (rest)"
    schema = (
        URL,
        SettingField(
            name="token",
            label="Token",
            help="The bearer token of the CRM's API, with the right to read and write orders",
            secret=True,
            required=False,
        ),
        SettingField(
            name="order_url",
            label="Page of an order",
            help="Where a person sees an order in the CRM, with {id} for its id: https://crm.example/orders/{id}. "
            "Our pages lead there",
            required=False,
        ),
        *WEBHOOKS,
    )
    traits = Traits()
    default_statuses = ()

    def __init__(self, access: Access) -> None:
        headers = {"Authorization": f"Bearer {access['token']}"} if access["token"] else {}
        self.client = access.client(headers=headers)
        self.size = PageSize()
        "Of a page of changes."
        self.order_url = access["order_url"]

    def url_of(self, crm_order_id: str) -> str:
        return self.order_url.replace("{id}", quote(crm_order_id, safe=""))

    @classmethod
    def composer(cls, access: Access) -> Composer:
        return AS_IT_IS

    def statuses(self) -> list[Status]:
        return [Status(name=name, label=_text(one, "label") or name) for name, one in self._told("statuses")]

    def fields(self) -> list[Field]:
        return [_field(name, one) for name, one in self._told("fields")]

    def _told(self, what: str) -> list[tuple[str, Mapping[str, Any]]]:
        """What a CRM may tell of itself, each by its name; none where it does not understand the question."""
        try:
            data = self.client.request("GET", f"/{what}").data
        except (NotFound, Rejected, Blocked):
            return []
        listed = data.get(what) if isinstance(data, dict) else None
        named = ((_id(one.get("name")), one) for one in listed or () if isinstance(one, dict))
        return [(name, one) for name, one in named if name]

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        answer = self._orders(
            "POST",
            json={"external_id": external_id, "order": dict(order)},
            headers={"Idempotency-Key": f"woo-{external_id}"},
        )
        made = snapshot(_without_spoiled_name(answer.data))  # else it would be made again at each try
        if made.external_id not in (None, external_id):
            words = f"The CRM answered with the order of {made.external_id}, not of {external_id}."
            raise AnsweredForAnother(words, side="crm")
        return made, answer.status == 201

    def get(self, crm_order_id: str) -> CrmSnapshot:
        with self._of_this_order(crm_order_id, ""):
            answer = self.client.request("GET", _path(crm_order_id))
        return same(snapshot(answer.data), crm_order_id)

    @contextmanager
    def _of_this_order(self, crm_order_id: str, action: str) -> Iterator[None]:
        """A right that the token lacks for one order says nothing about the CRM."""
        try:
            yield
        except AuthFailed as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            self.ping()  # raises where the token may read no order at all
            raise Hidden(
                f"The CRM's token may read orders, but not {action}{crm_order_id}.",
                advice=f"Give CRM_TOKEN the right to. ({error})",
                side="crm",
                status=error.status,
            ) from error

    def find(self, external_id: str) -> CrmSnapshot | None:
        # A CRM that ignores the filter must neither lend us the wrong order nor hide ours on a later page.
        def fetch(cursor: str) -> tuple[list[Any], str | None]:
            return self._page({"external_id": external_id}, cursor)

        listed = chain.from_iterable(
            pages(fetch, "", side="crm", what="orders", name=_known_by, most=LOOK_PAGES, longest=LOOK_SECONDS)
        )
        mine = (one for one in listed if _named(one) == external_id)
        return only(external_id, map(snapshot, mine))

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        with self._of_this_order(crm_order_id, "change "):
            answer = self.client.request("PATCH", _path(crm_order_id), json={"order": dict(order)})
        if answer.status == HTTPStatus.NO_CONTENT:  # nothing says that a PATCH is answered with the order
            return self.get(crm_order_id)
        try:
            return same(snapshot(answer.data), crm_order_id)
        except Odd:  # the order itself tells whether it can be read; a PATCH that is tried again is made again
            return self.get(crm_order_id)

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        return self._many("ids", crm_order_ids, lambda one: _id(one.get(WORDS["crm_order_id"])), [])[0]

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        unreadable: list[Any] = []
        found, named = self._many("external_ids", external_ids, _named, unreadable)
        # An answer without any of them may be that of a CRM which did not understand the question.
        absent = [one for one in _askable(external_ids) if one not in named] if named and not unreadable else []
        return dict.fromkeys(absent) | found

    def _many(
        self, question: str, ids: Sequence[str], name: Callable[[Any], str], unreadable: list[Any]
    ) -> tuple[dict[str, CrmSnapshot], Collection[str]]:
        """The orders of these names that the CRM shows once and well; then all names that it shows."""
        asked = _askable(ids)
        ways = batches.of(self.client.base_url, question)
        listed = ways.read(asked, lambda some: self._batch(question, some, name, unreadable), self.ping)
        times = Counter(map(name, listed))
        found: dict[str, CrmSnapshot] = {}
        for one in listed:
            if times[name(one)] == 1:
                with suppress(Odd):  # the single read tells what is wrong with it
                    found[name(one)] = snapshot(one)
        return found, times

    def _batch(self, question: str, ids: Sequence[str], name: Callable[[Any], str], unreadable: list[Any]) -> list[Any]:
        """What the CRM lists of these. One that ignores the question answers something else."""
        try:
            data = self.client.request("GET", "/orders", params={question: ",".join(ids)}).data
        except SideError as error:
            if error.status in OF_THE_BATCH:
                raise TooLarge(error.message, side="crm", status=error.status) from error
            is_refused = 400 <= (error.status or 0) < 500 and error.status not in OF_THE_SIDE
            if is_refused or error.status == HTTPStatus.NOT_IMPLEMENTED:
                raise batches.NotUnderstood from error
            raise
        if not isinstance(data, dict) or not isinstance(data.get("results"), list):
            raise batches.NotUnderstood
        if data.get("next_cursor"):
            raise TooLarge("The CRM answers a batch in pages.", side="crm")
        listed = [one for one in data["results"] if isinstance(one, dict) and _id(one.get(WORDS["crm_order_id"]))]
        unreadable += [one for one in data["results"] if one not in listed]
        if not {*map(name, listed)} <= {*ids}:
            raise batches.NotUnderstood
        return listed

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        moment = since.astimezone(UTC).isoformat().replace("+00:00", "Z")

        def fetch(cursor: str) -> tuple[list[CrmSnapshot], str | None]:
            while True:
                self.size.grow()
                size = self.size.now
                try:
                    listed, following = self._page({"updated_since": moment, "limit": str(size)}, cursor)
                    page = readable(listed, snapshot, side="crm")
                except OF_A_PAGE:
                    if not self.size.shrink(size):
                        raise
                else:
                    self.size.went_well()
                    return page, following

        for page in pages(fetch, "", side="crm", what="changes", name=_state):
            yield from page

    def ping(self) -> None:
        _page(self._orders("GET", params={"limit": "1"}).data)

    def _orders(self, method: str, **request: Any) -> Answer:
        """A call to the collection itself: there, a 404 is about the address and not about an order."""
        try:
            return self.client.request(method, "/orders", **request)
        except NotFound as error:
            raise Blocked(f"{error}. Is CRM_URL right?", side="crm", status=error.status, code=error.code) from error

    def _page(self, params: dict[str, str], cursor: str) -> tuple[list[Any], str | None]:
        """The results, and the cursor of the next page."""
        return _page(self._orders("GET", params={**params, "cursor": cursor} if cursor else params).data)


def snapshot(data: Any) -> CrmSnapshot:
    """One order of the CRM's answer; anything that is not one is Odd, never guessed."""
    one = {ours: data.get(theirs) for ours, theirs in WORDS.items()} if isinstance(data, dict) else {}
    crm_order_id, status = _id(one.get("crm_order_id")), one.get("status")
    if not crm_order_id or not isinstance(status, str) or not _id(status):
        raise Odd("The CRM's answer is not an order: id or status is missing or none that can be.", side="crm")
    if _has_spoiled_name(data):
        words = f"The CRM's order {crm_order_id} has an external_id with characters that no text may have."
        raise Odd(words, side="crm")
    return CrmSnapshot(
        crm_order_id=crm_order_id,
        external_id=_id(one["external_id"]) or None,
        status=status,
        version=_version(one["version"]),
        updated_at=_time(one["updated_at"]),
        answer={theirs: data[theirs] for theirs in WORDS.values() if theirs in data},
        content=_content(data),
    )


def _has_spoiled_name(data: Any) -> bool:
    name = data.get(WORDS["external_id"]) if isinstance(data, dict) else None
    return isinstance(name, str) and is_spoiled(name)


def _without_spoiled_name(data: Any) -> Any:
    return {**data, WORDS["external_id"]: None} if _has_spoiled_name(data) else data


def _content(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing says that a CRM shows what it was sent. One that does shows it as it came, or beside its own fields."""
    if isinstance(data.get("order"), dict):
        order: dict[str, Any] = data["order"]
        return order
    return data if data.keys() & {"order_key", "date_created_gmt", "billing"} else {}


def _field(name: str, said: Mapping[str, Any]) -> Field:
    """What it does not say of a field is as with most."""
    kind: Any = said.get("type")
    longest, choices = said.get("longest"), said.get("choices")
    return Field(
        name=name,
        label=_text(said, "label") or name,
        kind=kind if kind in get_args(Kind) else "text",
        required=said.get("required") is True,
        writable=said.get("writable") is not False,
        choices=tuple(one for one in choices if isinstance(one, str)) if isinstance(choices, list) else (),
        longest=longest if type(longest) is int and longest > 0 else None,
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _path(crm_order_id: str) -> str:
    if crm_order_id in ("", ".", ".."):  # these would lead to another address
        raise NotFound(f"The CRM has no order {crm_order_id!r}.", side="crm")
    return f"/orders/{quote(crm_order_id, safe='', errors='replace')}"


def _page(data: Any) -> tuple[list[Any], str | None]:
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        raise Blocked("The CRM's answer is not a list of orders.", side="crm")
    return data["results"], str(data.get("next_cursor") or "") or None


def _known_by(data: Any) -> str:
    """An order of a list as it stands there: changed meanwhile, it is another."""
    named = (
        [data.get(WORDS[name]) for name in ("crm_order_id", "version", "updated_at")]
        if isinstance(data, dict)
        else data
    )
    return repr(named)


def _state(order: CrmSnapshot) -> tuple[Any, ...]:
    return order.crm_order_id, order.status, order.version, order.updated_at


def _askable(ids: Sequence[str]) -> list[str]:
    """Each once; commas stand between them."""
    return [one for one in dict.fromkeys(ids) if one and "," not in one]


def _named(data: Any) -> str:
    return _id(data.get(WORDS["external_id"])) if isinstance(data, dict) else ""


def _id(value: Any) -> str:
    """The id as text; empty if it is none: a boolean, too long, or with characters that a database refuses."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return text if is_word(text) else ""


def _version(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_INTEGER:
        raise Odd(f"The CRM's version is not an integer: {str(value)[:50]!r}.", side="crm")
    return value


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and not is_word(value):  # between date and time, Python takes any character
            raise ValueError
        return utc(value)
    except ValueError:
        raise Odd(f"The CRM's updated_at is not a time: {str(value)[:50]!r}.", side="crm") from None
