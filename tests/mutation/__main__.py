"""`python -m tests.mutation [MODULE …]`: how many mutants of each rule the tests kill, and which they do not."""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mutation.mutants import Mutant, Mutated

HERE = Path(__file__).parent
WANTED = 0.95
"""Of the mutants that are not equivalent."""

TESTS = {
    "sync.pipeline.decide": ["sync/test_decide.py", "sync/test_decision_table.py"],
    "sync.pipeline.strangers": ["sync/test_decide.py", "sync/test_decision_table.py"],
    "orders.lifecycle": ["orders/test_lifecycle.py"],
    "webhooks.signatures": ["webhooks/test_signatures.py"],
    "webhooks.sources": ["webhooks/test_sources.py"],
    "sync.pipeline.leases": ["sync/test_worker_names.py", "sync/test_lease_rules.py", "sync/test_leases.py"],
    "sync.pipeline.retries": ["sync/test_retries.py"],
    "sync.pipeline.whose": ["sync/test_identity.py"],
    "sync.pipeline.evidence": ["sync/test_evidence.py"],
    "sync.clients.paging": ["sync/test_paging_in_memory.py", "sync/test_paging.py"],
    "sync.clients.paging.shop_orders": ["sync/test_paging_in_memory.py"],
    "sync.clients.crm.rest": ["sync/test_crm_rest_words.py", "sync/test_crm_rest.py"],
    "sync.clients.paging.batches": ["sync/test_paging_batches.py"],
    "sync.clients.paging.crm_changes": ["sync/test_paging_crm_changes.py"],
}
"""The rules, and the tests that have to notice when one is changed: fast ones, none that start processes."""


def main(asked: list[str]) -> int:
    modules = [module for module in TESTS if not asked or any(one in module for one in asked)]
    if not modules:
        sys.exit(f"MODULE is a part of one of these names: {', '.join(TESTS)}")
    codes = [subprocess.run([sys.executable, "-m", "tests.mutation", "--only", one]).returncode for one in modules]
    return max(codes)


def one(module: str) -> int:
    """In a process of its own: the mutated module is imported in place of the file."""
    import pytest
    from hypothesis import Phase, settings

    from tests.mutation.kill import Killer
    from tests.mutation.mutants import Finder, mutate

    began = time.monotonic()
    os.environ.pop("DATABASE_URL", None)  # each child has an SQLite file of its own
    mutated = mutate(module)
    sys.meta_path.insert(0, Finder(mutated))
    killer = Killer(mutated)
    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
    options = ["-o", "addopts=", "-qq", "--disable-warnings", "--tb=native", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = [str(HERE / "prepared.py"), *(str(HERE.parent / name) for name in TESTS[module])]
    code = pytest.main([*options, *tests], plugins=[killer])
    if killer.clean.failed or not killer.clean.seconds:
        sys.exit(f"{module}: its tests fail without any mutant: {killer.clean.failed or code}")
    return report(mutated, killer.survived, time.monotonic() - began)


def report(mutated: "Mutated", survived: "list[Mutant]", seconds: float) -> int:
    known = equivalent(mutated.module)
    left = [mutant for mutant in survived if (mutant.function, mutant.was, mutant.now) not in known]
    for mutant in sorted(left, key=lambda one: one.line):
        sys.stdout.write(f"{mutated.path.name}:{mutant.line} {mutant.function}\n")
        sys.stdout.writelines(f"    - {line}\n" for line in mutant.was.splitlines())
        sys.stdout.writelines(f"    + {line}\n" for line in mutant.now.splitlines())
    stale = known - {(mutant.function, mutant.was, mutant.now) for mutant in survived}
    sys.stdout.writelines(f"not equivalent (any more), or gone: {function}: {now}\n" for function, _, now in stale)
    same = len(survived) - len(left)
    counted = len(mutated.mutants) - same
    score = 1 - len(left) / counted
    sys.stdout.write(
        f"{mutated.module}: {len(mutated.mutants)} mutants, {same} equivalent, {len(left)} left: {score:.3f} "
        f"in {seconds:.0f} s\n"
    )
    return int(score < WANTED or bool(stale))


def equivalent(module: str) -> set[tuple[str, str, str]]:
    """Function, line as it is, line as it is changed: what no test could notice, each with the reason in the file."""
    entries = tomllib.loads((HERE / "equivalent.toml").read_text())["equivalent"]
    found = [(entry["in"].partition(":"), entry) for entry in entries]
    return {
        (function, entry["was"].strip(), now.strip())
        for (of, _, function), entry in found
        if of == module
        for now in entry["now"]
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(one(arguments[1]) if arguments[:1] == ["--only"] else main(arguments))
