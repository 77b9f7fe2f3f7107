"""Which statuses exist and which moves between them are legal. Pure: no database."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from orders.defaults import FINAL, FIRST, LONGEST_STATUS, MOVES, NO_ORDER


class Unmapped(Exception):
    """A status of the CRM has no rule. There is no default: a wrong guess would reach the customer by mail."""


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """The status map and the steps that staff allow."""

    status_map: Mapping[str, str]
    left_alone: frozenset[str] = frozenset()
    "Statuses of the CRM that are known and not applied: the shop keeps what it has."
    critical: frozenset[str]
    moves: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, rules: Iterable[tuple[str, str, bool]], moves: Iterable[tuple[str, str]]) -> "Lifecycle":
        """From rows of (CRM status, shop status or nothing, critical) and of (from, to)."""
        rows = list(rules)
        steps: dict[str, set[str]] = {}
        for old, new in moves:
            steps.setdefault(old, set()).add(new)
        return cls(
            status_map={crm: woo for crm, woo, _ in rows if woo},
            left_alone=frozenset(crm for crm, woo, _ in rows if not woo),
            critical=frozenset(crm for crm, _, critical in rows if critical),
            moves={old: frozenset(news) for old, news in steps.items()},
        )

    def shop_status(self, crm_status: str) -> str:
        """Empty: it is not applied."""
        if crm_status in self.left_alone:
            return ""
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
        """Whether the allowed steps lead from `of` to this status, and not back.

        Every other status is ahead of where all orders begin, although a payment may begin anew (failed → pending).
        """
        return self.allows(of, status) and (of == FIRST or not self.allows(status, of))

    @property
    def statuses(self) -> frozenset[str]:
        """The shop's statuses that the map or the moves name."""
        return frozenset(self.status_map.values()).union(self.moves, *self.moves.values())

    def meaning(self, status: str) -> tuple[str, ...]:
        """The CRM's statuses that show as this one in the shop."""
        return tuple(crm for crm, shop in self.status_map.items() if shop == status)

    def paths(self, here: str, known: frozenset[str] | None = None) -> list["StatusPath"]:
        """From this status to each other one, those that are open first. `known`: the shop's statuses, if it told."""
        statuses = self.statuses if known is None else known - NO_ORDER
        paths = (StatusPath(to=to, chain=self.chain(here, to), told_by=self.meaning(to)) for to in statuses - {here})
        return sorted(paths, key=lambda path: (path.chain is None, path.to))


@dataclass(frozen=True, kw_only=True)
class StatusPath:
    """How an order gets to a status: by this chain of allowed steps once the CRM says so, or only by force."""

    to: str
    chain: tuple[str, ...] | None
    told_by: tuple[str, ...]

    @property
    def words(self) -> str:
        if self.chain is None:
            return "not allowed; it can only be forced"
        steps = f" through {', '.join(self.chain[1:-1])}" if len(self.chain) > 2 else ""
        if not self.told_by:
            return f"allowed{steps}, but no CRM status is mapped to it"
        return f"allowed{steps}; the worker makes the move when the CRM says {' or '.join(self.told_by)}"


@dataclass(frozen=True, kw_only=True)
class LintWarning:
    """Something in the lifecycle that will cause trouble. `harmful`: orders will get stuck because of it."""

    words: str
    harmful: bool = False


def lint_warnings(lifecycle: Lifecycle, known: frozenset[str] | None = None) -> list[LintWarning]:
    """All of them, the harmful ones first. `known` are the shop's statuses at this moment; None: it could not say."""
    harmful = _refused_by_the_shop(lifecycle, known) if known is not None else ()
    return [
        *(LintWarning(words=words, harmful=True) for words in harmful),
        *(LintWarning(words=words) for words in _misspelt_moves(lifecycle, known)),
        *shop_lint_warnings(lifecycle, known or frozenset()),
        *(LintWarning(words=words) for find in (_beyond_an_end, _unreachable, _idle) for words in find(lifecycle)),
    ]


def _refused_by_the_shop(lifecycle: Lifecycle, known: frozenset[str]) -> Iterator[str]:
    for crm, woo in sorted(lifecycle.status_map.items()):
        if woo not in known:
            yield f"{crm} is mapped to {woo}, which the shop does not know. The shop will refuse the change."


def _misspelt_moves(lifecycle: Lifecycle, known: frozenset[str] | None) -> Iterator[str]:
    if known is not None:
        for status in sorted(lifecycle.statuses - known - set(lifecycle.status_map.values()) - MOVES.keys() - FINAL):
            yield f"A move names {status}, which the shop does not know."


def shop_lint_warnings(lifecycle: Lifecycle, known: frozenset[str]) -> list[LintWarning]:
    """Statuses that WooCommerce cuts, and those of the shop's plugins that nobody has told us of."""
    long = [status for status in sorted(lifecycle.statuses | known) if len(status) > LONGEST_STATUS]
    stuck = sorted(known - lifecycle.statuses - FINAL - NO_ORDER - set(long))
    return [
        *(LintWarning(words=f"{one} has more than {LONGEST_STATUS} letters. WooCommerce cuts it off.") for one in long),
        *(
            LintWarning(words=f"The shop has the status {one}, but no move leads out of it. Such orders stay there.")
            for one in stuck
        ),
    ]


def _beyond_an_end(lifecycle: Lifecycle) -> Iterator[str]:
    for status in sorted(FINAL & lifecycle.moves.keys()):
        if news := lifecycle.moves[status]:
            yield f"{status} is final, but a move leads from it to {', '.join(sorted(news))}."


def _unreachable(lifecycle: Lifecycle) -> Iterator[str]:
    for status in sorted(lifecycle.statuses - {FIRST}):
        if not lifecycle.allows(FIRST, status):
            yield f"No chain of moves leads from {FIRST}, where orders begin, to {status}."


def _idle(lifecycle: Lifecycle) -> Iterator[str]:
    """The worker only ever goes to a status that some status of the CRM is mapped to."""
    mapped = set(lifecycle.status_map.values())
    for old, news in sorted(lifecycle.moves.items()):
        for new in sorted(news):
            if old not in mapped and new not in mapped:
                yield f"{old} → {new}: no CRM status is mapped to either of them."
