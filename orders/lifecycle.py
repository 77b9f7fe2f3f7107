"""Which statuses exist and which moves between them are legal. Pure: no database."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Unmapped(Exception):
    """A status of the CRM has no rule. There is no default: a wrong guess would reach the customer by mail."""


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """The status map and the steps that staff allow."""

    status_map: Mapping[str, str]
    critical: frozenset[str]
    moves: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, rules: Iterable[tuple[str, str, bool]], moves: Iterable[tuple[str, str]]) -> "Lifecycle":
        """From rows of (CRM status, shop status, critical) and of (from, to)."""
        rows = list(rules)
        steps: dict[str, set[str]] = {}
        for old, new in moves:
            steps.setdefault(old, set()).add(new)
        return cls(
            status_map={crm: woo for crm, woo, _ in rows},
            critical=frozenset(crm for crm, _, critical in rows if critical),
            moves={old: frozenset(news) for old, news in steps.items()},
        )

    def shop_status(self, crm_status: str) -> str:
        try:
            return self.status_map[crm_status]
        except KeyError:
            raise Unmapped(f"The CRM's status {crm_status!r} has no status rule. Add one, then replay.") from None

    def chain(self, old: str, new: str) -> tuple[str, ...] | None:
        """The shortest chain of allowed steps from old to new, both included; None if there is none.

        The steps between need not have been seen: only the latest state is ever read (CONTRACT section 4).
        """
        came_from: dict[str, str] = {}
        queue = deque([old])
        while queue:
            here = queue.popleft()
            for there in sorted(self.moves.get(here, ())):
                if there == old or there in came_from:
                    continue
                came_from[there] = here
                if there == new:
                    path = [new]
                    while path[-1] != old:
                        path.append(came_from[path[-1]])
                    return tuple(reversed(path))
                queue.append(there)
        return None

    def allows(self, old: str, new: str) -> bool:
        return self.chain(old, new) is not None

    def is_ahead(self, status: str, *, of: str) -> bool:
        """Whether the allowed steps lead from `of` to this status, and not back."""
        return self.allows(of, status) and not self.allows(status, of)
