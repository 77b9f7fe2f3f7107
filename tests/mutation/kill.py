"""Runs the tests of a module against each of its mutants, each in a fork of one warm process.

pytest collects once, in this process; the database is made once. A child takes a copy of its file (SQLite only).
"""

import gc
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

from tests.mutation.mutants import Mutant, Mutated

PROCESSES = os.cpu_count() or 1
SLOW = 2.0
"""Seconds: a test that takes longer is no test of a rule, and would be run hundreds of times."""
HANGS = 5.0
"""Seconds of processor time beyond those that a test takes: a loop without an end is killed, too. A child that waits
for ever is killed by the clock, later, as the machine may be busy."""

MEMORY = 4 * 2**30
"""Bytes: such a loop may also fill it."""


@dataclass
class Clean:
    """The tests without a mutant: which functions each one calls, and how long it takes."""

    tests_of: dict[str, list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Killer:
    """A plugin of pytest that has another idea of running the tests. `survived` is what it is for."""

    def __init__(self, mutated: Mutated, chosen: Callable[[Mutant], bool] = lambda mutant: True) -> None:
        self.mutants = [mutant for mutant in mutated.mutants if chosen(mutant)]
        self.survived: list[Mutant] = []
        self.killed_by: Counter[int] = Counter()
        self.clean = Clean()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        from django.db import connections

        self.prepared, self.items = session.items[0], session.items[1:]
        runtestprotocol(self.prepared, log=False, nextitem=self.items[0])
        connections.close_all()
        gc.freeze()  # else each child copies what it only looks at
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        try:
            self.clean = Clean(**json.loads(self._forked(self._run_clean)))
            if not self.clean.failed:
                self._kill_all()
        finally:
            shutil.rmtree(self.folder)
        return True

    # --- in the parent ---------------------------------------------------------------------------------------------

    def _kill_all(self) -> None:
        waiting, running = list(reversed(self.mutants)), dict[int, tuple[Mutant, Path, float]]()
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                mutant = waiting.pop()
                if not (tests := self._tests(mutant)):
                    self.survived.append(mutant)
                    continue
                answer = self.folder / mutant.name
                running[self._fork(lambda to: self._try(mutant, tests, to), answer)] = mutant, answer, time.monotonic()  # noqa: B023
            if running:
                self._wait(running)

    def _wait(self, running: dict[int, tuple[Mutant, Path, float]]) -> None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            for child, (_, _, began) in running.items():
                if time.monotonic() - began > 12 * HANGS + 3 * sum(self.clean.seconds):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        elif pid in running:
            mutant, answer, _ = running.pop(pid)
            said = answer.read_text() if answer.exists() else "stopped" if os.WIFSIGNALED(status) else "not tried"
            for used in (answer, *self.folder.glob(f"{pid}.*")):
                used.unlink(missing_ok=True)
            if said.isdecimal():
                self.killed_by[int(said)] += 1
            elif said != "stopped":
                self.survived.append(mutant)

    def _tests(self, mutant: Mutant) -> list[int]:
        """Those that killed others first, then the fast ones."""
        found = self.clean.tests_of.get(mutant.of, [])
        return sorted(found, key=lambda one: (-self.killed_by[one], self.clean.seconds[one]))

    def _fork(self, work: Callable[[Path], None], answer: Path) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            work(answer)
        finally:  # no clean-up of what is the parent's
            os._exit(0)

    def _forked(self, work: Callable[[Path], None]) -> str:
        answer = self.folder / "clean"
        os.waitpid(self._fork(work, answer), 0)
        return answer.read_text()

    # --- in a child ------------------------------------------------------------------------------------------------

    def _run_clean(self, answer: Path) -> None:
        self._own_database()
        clean = Clean()
        set_mutant_under_test("stats")
        for index, item in enumerate(self.items):
            state()._stats.clear()
            began = time.perf_counter()
            passed = self._passes(item)
            clean.seconds.append(time.perf_counter() - began)
            if not passed:
                clean.failed.append(f"{item.nodeid}: {self.why.strip().splitlines()[-1]}")
            if clean.seconds[-1] < SLOW:
                for function in state()._stats:
                    clean.tests_of.setdefault(function, []).append(index)
        answer.write_text(json.dumps(vars(clean)))

    def _try(self, mutant: Mutant, tests: Sequence[int], answer: Path) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        self._own_database()
        set_mutant_under_test(f"{mutant.module}.{mutant.name}")
        for one in tests:
            limit = time.process_time() + HANGS + 2 * self.clean.seconds[one]
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), resource.RLIM_INFINITY))
            if not self._passes(self.items[one]):
                answer.write_text(str(one))
                return
        answer.write_text("survived")

    def _own_database(self) -> None:
        from django.db import connection

        mine = self.folder / f"{os.getpid()}.sqlite3"
        shutil.copyfile(connection.settings_dict["NAME"], mine)
        connection.settings_dict["NAME"] = str(mine)

    def _passes(self, item: pytest.Item) -> bool:
        reports: list[Any] = runtestprotocol(item, log=False, nextitem=self.prepared)
        self.why = "".join(report.longreprtext for report in reports if report.failed)
        return not self.why
