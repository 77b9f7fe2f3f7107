"""New histories: `python -m tests.model`; those that were written down: `python -m tests.model FILE …`."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from tests.model.rounds import Played, Round, play, play_again, prepare

ROUND = 250
"""Histories of one seed. Hypothesis remembers what it has tried, and gets slower by it: so it begins anew."""


def main(files: list[str]) -> int:
    return _those_in(files) if files else _new_ones()


def _those_in(files: list[str]) -> int:
    prepare()
    broken = [f"{file}:\n{what}" for file in files if (what := play_again(Path(file).read_text()))]
    sys.stdout.write(f"{len(files)} histories again, {len(broken)} of them break a promise\n")
    sys.stderr.write("\n".join(broken))
    return 1 if broken else 0


def _new_ones() -> int:
    chosen = int(os.environ.get("MODEL_SEED") or time.time())
    wanted = int(os.environ.get("MODEL_EXAMPLES") or 1000)
    rounds = [
        Round(
            seed=chosen + number,
            histories=min(ROUND, wanted - number * ROUND),
            length=int(os.environ.get("MODEL_STEPS") or 25),
            by=os.environ.get("MODEL_BY") or "hypothesis",
            shrink=os.environ.get("MODEL_SHRINK", "yes") == "yes",
        )
        for number in range(-(-wanted // ROUND))
    ]
    started, histories, steps, broken = time.perf_counter(), 0, 0, ""
    with suppress(KeyboardInterrupt):
        for played in _play(rounds, int(os.environ.get("MODEL_PROCESSES") or os.cpu_count() or 1)):
            histories, steps = histories + played.histories, steps + played.steps
            if played.broken:
                again = f"MODEL_SEED={played.round.seed} MODEL_EXAMPLES={played.round.histories}"
                broken = f"{played.broken}Once more: make model MODEL_BY={played.round.by} {again}\n"
                break
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"seed {chosen}: {histories} histories, {steps} steps in {seconds:.1f} s, "
        f"{histories / seconds:.1f} histories/s, {steps / seconds:.0f} steps/s\n"
    )
    sys.stderr.write(broken)
    return 1 if broken else 0


def _play(rounds: list[Round], processes: int) -> Iterator[Played]:
    if min(processes, len(rounds)) == 1:
        prepare()
        yield from map(play, rounds)
        return
    with ProcessPoolExecutor(processes, initializer=prepare) as pool:
        try:
            for done in as_completed([pool.submit(play, one) for one in rounds]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
