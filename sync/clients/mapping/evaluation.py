"""An expression, evaluated on one order with an end: JMESPath has no loops, but lists and texts that it makes of others
grow with each step, and 500 characters may ask for millions of steps."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from jmespath import Options
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

from sync.clients.mapping.transforms import LONGEST, TOO_LONG, WrongValue, joined
from sync.clients.mapping.veils import is_hidden

ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)
MOST_STEPS = 200_000
"""Fewer than half a second's. An order of a hundred lines takes some hundreds."""
TOO_SLOW = "the expression takes too many steps on this order"
CHARACTERS = 10
"""Of a text are read within one step."""
HANDS_ON = frozenset({"keys", "map", "merge", "not_null", "to_array", "type", "values"})
OF_LISTS = frozenset({"length", "reverse"})
"""Functions that hand on what is hidden, or look at no value in it. All others tell something of it."""


class Evaluation(TreeInterpreter):
    """One evaluation on one order, which `watches` whether the result depends on what is hidden. Raises WrongValue."""

    def __init__(self, *, watches: bool = False) -> None:
        super().__init__(Options(custom_functions=Bounded(self)))
        self.steps, self.watches, self.read_hidden = 0, watches, False
        self.COMPARATOR_FUNC = {name: self._watched(one) for name, one in TreeInterpreter.COMPARATOR_FUNC.items()}

    def of(self, expression: ParsedResult, known: Mapping[str, Any]) -> Any:
        found = self.visit(expression.parsed, known)
        self.watch(found)
        return found

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        self.spend(1 + (len(found) if isinstance(found, list) else 0))
        return found

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise WrongValue(TOO_SLOW)

    def watch(self, *values: Any) -> None:
        if self.watches and not self.read_hidden:
            self.read_hidden = any(map(is_hidden, values))

    def _watched(self, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
        def compared(one: Any, other: Any) -> bool:
            self.watch(one, other)
            return compare(one, other)

        return compared


class Bounded(Functions):
    """JMESPath's own functions. Raises WrongValue."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def call_function(self, name: str, args: list[Any]) -> Any:
        for one in args:
            size = len(one) if isinstance(one, str | list | dict) else 0
            self.evaluation.spend(size // CHARACTERS if isinstance(one, str) else size)
        if name not in HANDS_ON and not (name in OF_LISTS and all(isinstance(one, list | dict) for one in args)):
            self.evaluation.watch(*args)
        return super().call_function(name, args)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        text = joined(separator, array)
        self.evaluation.spend(len(text) // CHARACTERS)
        return text

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        if isinstance(arg, str):
            return arg
        parts, length = list[str](), 0
        for part in ENCODER.iterencode(arg):
            parts.append(part)
            length += len(part)
            if length > LONGEST:
                raise WrongValue(TOO_LONG)
        self.evaluation.spend(length // CHARACTERS)
        return "".join(parts)
