"""The story of tests/journeys/test_reconciliation.py at length: `python -m tests.chaos.reconcile --orders 2000`."""

import argparse
import os
import random
import sys

import pytest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    os.environ.update(CHAOS_ORDERS=str(chosen.orders), CHAOS_SEED=str(chosen.seed), LOG_LEVEL="CRITICAL")
    sys.stdout.write(f"seed {chosen.seed}\n")
    return int(pytest.main(["-n", "0", "-q", "-s", "tests/journeys/test_reconciliation.py"]))


if __name__ == "__main__":
    sys.exit(main())
