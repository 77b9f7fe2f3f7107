"""Measure: `python -m tests.benchmarks [PART …]`. docs/performance.md says how to read what is printed."""

import argparse
import signal
import sys
import time
from collections.abc import Callable

from tests import servers
from tests.benchmarks import backends, backoffice, drain, flow, growth, ingest, runs, sizes
from tests.benchmarks.running import Options, say

DATABASES = ("sqlite", "postgres")
PARTS: dict[str, Callable[[Options], None]] = {
    "ingest": ingest.ingest,
    "servers": ingest.compare_servers,
    "drain": drain.drain,
    "latency": flow.latency,
    "recovery": flow.recovery,
    "growth": growth.growth,
    "backoffice": backoffice.backoffice,
    "runs": runs.runs,
    "runs-many": runs.many,
    "sizes": sizes.sizes,
    "backends": backends.backends,
}

ON_REQUEST = ("runs-many", "sizes", "backends")
"""Too long for every time."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; nearly all by default")
    parser.add_argument("--database", choices=DATABASES, action="append", help="both by default")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of the work, for a quick look")
    parser.add_argument("--crm", choices=backends.KNOWN, help="for the part backends; all that there are by default")
    chosen = parser.parse_args()
    if unknown := [part for part in chosen.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    # So that what was started is ended, too, when we are told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for part in chosen.parts or [name for name in PARTS if name not in ON_REQUEST]:
        for kind in chosen.database or DATABASES:
            started = time.monotonic()
            try:
                PARTS[part](Options(kind=kind, scale=chosen.scale, crm=chosen.crm or ""))
                say(f"  ({part} on {kind} took {time.monotonic() - started:.0f} s)")
            except servers.NotInstalled as error:
                say(f"{part} on {kind} is skipped: {error}")


if __name__ == "__main__":
    main()
