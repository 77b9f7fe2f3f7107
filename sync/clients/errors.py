"""What can go wrong with a side. Each class answers one question: try again, or not?"""

from datetime import UTC, datetime
from typing import Any

from webhooks.texts import fit

GATEWAYS = frozenset({502, 504, 520, 524})
"""What proxies answer when what is behind them has not."""


class SideError(Exception):
    """Something went wrong while talking to the shop or the CRM."""

    again = True
    "Whether the same attempt may succeed later."
    outage = False
    "Whether it says something about the whole side, so that it counts for the circuit breaker."
    may_have_got_through = False
    "Whether a write may have taken effect although no good answer came."
    tries: int | None = None
    "After so many of them it needs a person, where repeating it for longer helps nobody."

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        side: str = "",
        after: float | None = None,
        status: int | None = None,
        code: str = "",
        about_order: bool | None = None,
    ) -> None:
        message, advice = fit(message), fit(advice)  # which may quote what a side said
        super().__init__(f"{message} {advice}" if advice else message)
        self.message = message
        self.advice = advice
        "What to do about it, where that is known better than by the class."
        self.side = side
        self.after = after
        "Seconds that the side asked us to wait, if it did."
        self.status = status
        "The HTTP status of the answer, if one came."
        self.code = code
        "The side's own word for what is wrong, as WooCommerce gives one in `code`."
        self.about_order = about_order
        "Whether it is this order or the whole side, where a backend can tell; None: a cheap read tells (`ping`)."

    @property
    def may_come_later(self) -> bool:
        """Whether the side may still be at it: nobody answered, or a gateway did that would not wait any longer."""
        return isinstance(self, Ambiguous) or (self.may_have_got_through and self.status in GATEWAYS)


class Unreachable(SideError):
    """No connection: refused, no such host, TLS. Nothing was sent."""

    outage = True


class Ambiguous(SideError):
    """A write was sent and no answer, or a broken one, came back. Read before repeating."""

    outage = True
    may_have_got_through = True


class ServerTrouble(SideError):
    """5xx: the side is there but does not work at the moment."""

    outage = True
    may_have_got_through = True


class Maintenance(ServerTrouble):
    """A page that says "come back later" stands in the place of the whole side. WordPress shows one for some seconds at
    each update and asks for ten minutes, so its Retry-After says nothing: the way is probed."""


class RateLimited(SideError):
    """429, or 503 with Retry-After from an API: we were asked to slow down."""

    may_have_got_through = True


class LimitReached(RateLimited):
    """The plan's limit is used up, until a time that the side names: nothing is asked before, were it a day."""

    def __init__(self, message: str, *, until: datetime, **more: Any) -> None:
        after = max((until - datetime.now(UTC)).total_seconds(), 1.0)
        super().__init__(f"{message} It lets nothing through until {until:%Y-%m-%d %H:%M} UTC.", after=after, **more)
        self.until = until


class Blocked(SideError):
    """HTML, a captcha or anything else that is not JSON where JSON was due: something stands in between."""

    outage = True
    may_have_got_through = True


class TooLarge(Blocked):
    """The answer is longer than we read. A list may be asked for in smaller pages."""


class Odd(Blocked):
    """JSON, but not an order as it should be: no id, a version that is no number. Of a list, such a one is left out."""


class AnsweredForAnother(Blocked):
    """The answer to a creation names another order. Tried again, it would be made and answered so again."""

    again = False


class Endless(Blocked):
    """A list that comes in pages and does not end: a page of it comes again, or there are more than can be."""


class Unreadable(SideError):
    """The answer for one order fails again and again, while the side answers well: it is that order, not the side."""

    again = False


class GivenUp(SideError):
    """Nobody waits for the answer any more, so that nothing further is asked."""

    again = False


class Unconfirmed(SideError):
    """The side answered well, but nothing of what we wrote is to be seen in its answer."""

    may_have_got_through = True
    tries = 3


class Unkept(SideError):
    """A write was made, and what came of it cannot be recorded. Tried again, it would be made again."""

    again = False


class NotFound(SideError):
    """404, or WooCommerce's 400 for an order that is not there."""

    again = False


class AuthFailed(SideError):
    """401 or 403: the keys are wrong or may not do this. Waiting may help: a person can mend the keys meanwhile."""

    outage = True


class Hidden(SideError):
    """403 for one order, read or written, while the key may read others. It is that order, not the side."""

    again = False


class Rejected(SideError):
    """Any other 4xx: the side understood and said no. Repeating the same would get the same."""

    again = False


class NotConfigured(SideError):
    """A setting is missing, so this side cannot be called at all."""

    outage = True


class Unprepared(NotConfigured):
    """The keys are good, and the account lacks what has to be made there before the first order (`Prepares`)."""
