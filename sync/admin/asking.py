"""Where the pages of sync ask for a reason: as those of orders do."""

from orders.asking import NotDone, ReasonForm, UntilForm, ask_reason

__all__ = ["NotDone", "ReasonForm", "UntilForm", "ask_reason"]
