"""Histories by throwing dice: each has a seed of its own, and costs nothing but what happens in it."""

import ast
import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.model.machine import BEGINNINGS, STEPS, Choices, Step, Story

One = tuple[Step, dict[str, Any]]
BY_NAME = {step.name: step for step in STEPS}


@dataclass(frozen=True)
class History:
    """How it began, and what has happened since. Written down as the calls that it is made of."""

    beginning: dict[str, Any]
    told: list[One] = field(default_factory=list)

    def __str__(self) -> str:
        calls = [("begin", self.beginning), *((step.name, chosen) for step, chosen in self.told)]
        return "\n".join(
            f"{name}({', '.join(f'{key}={value!r}' for key, value in said.items())})" for name, said in calls
        )


def read(text: str) -> History:
    (_, beginning), *calls = _calls(text)
    return History(beginning, [(BY_NAME[name], chosen) for name, chosen in calls])


def _calls(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in ast.parse(textwrap.dedent(text)).body:
        assert isinstance(line, ast.Expr) and isinstance(line.value, ast.Call) and isinstance(line.value.func, ast.Name)
        yield line.value.func.id, {str(one.arg): ast.literal_eval(one.value) for one in line.value.keywords}


def walk(seed: str, length: int) -> tuple[History, Exception | None]:
    """A new history, and what it breaks. The same seed is the same history."""
    dice = random.Random(seed)
    # With few kinds of steps each of them comes often: what takes three of one kind is met sooner.
    share = dice.choice((0.3, 0.6, 1.0))
    likely = [step for step in STEPS if dice.random() < share] or STEPS
    history = History(_chosen(dice, BEGINNINGS))

    def throw(story: Story) -> One | None:
        possible = [step for step in likely if step.when(story)]
        if len(history.told) == length or not possible:
            return None
        step = dice.choice(possible)
        return step, _chosen(dice, step.choices)

    return history, _happen(history, throw)


def again(history: History) -> tuple[History, Exception | None]:
    """The same once more, but for steps that make no sense where they come now."""
    once, ahead = History(history.beginning), iter(history.told)
    return once, _happen(once, lambda story: next((one for one in ahead if one[0].when(story)), None))


def shortest(history: History, broken: Exception) -> tuple[History, Exception]:
    """Without what it does not take: the steps first, the last ones before the others, then how it began."""
    for place in reversed(range(len(history.told))):
        told = [*history.told[:place], *history.told[place + 1 :]]
        history, broken = _shorter(History(history.beginning, told), history, broken)
    for name in history.beginning:
        less = {key: value for key, value in history.beginning.items() if key != name}
        history, broken = _shorter(History(less, history.told), history, broken)
    return history, broken


def _shorter(less: History, history: History, broken: Exception) -> tuple[History, Exception]:
    shorter, also = again(less)
    return (shorter, also) if also is not None and type(also) is type(broken) else (history, broken)


def _happen(history: History, coming: Callable[[Story], One | None]) -> Exception | None:
    story = Story()
    try:
        story.begin(**history.beginning)
        while one := coming(story):
            history.told.append(one)
            step, chosen = one
            getattr(story, step.name)(**chosen)
            story.check()
        story.end()
    except Exception as broken:
        return broken
    finally:
        story.forget()
    return None


def _chosen(dice: random.Random, choices: Choices) -> dict[str, Any]:
    return {name: dice.choice(values) for name, values in choices.items()}
