"""Run histories: `python -m tests.model`. MODEL_EXAMPLES, MODEL_STEPS and MODEL_SEED say how many and which ones."""

import os
import sys
import time

os.environ["DATABASE_URL"] = "sqlite://:memory:"
os.environ["LOG_LEVEL"] = "CRITICAL"
os.environ["LOOP_MAX_CHANGES"] = "1000000"  # the loop breaker asks for a person; its own tests show that
os.environ["RETRY_MAX_SECONDS"] = "30"
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django
from django.core.management import call_command
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.model.sides import Clock


def main() -> int:
    clock = Clock()
    timezone.now = clock  # before the models are loaded, which take it for their defaults
    django.setup()
    call_command("migrate", verbosity=0)
    from tests.model import world
    from tests.model.machine import Histories

    Histories.clock = clock
    world.plug(lambda: Histories.current)
    chosen = int(os.environ.get("MODEL_SEED") or time.time())
    histories = get_state_machine_test(
        Histories,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "1000")),
            stateful_step_count=int(os.environ.get("MODEL_STEPS", "25")),
            phases=(Phase.generate, Phase.shrink)
            if os.environ.get("MODEL_SHRINK", "yes") == "yes"
            else (Phase.generate,),
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    started = time.perf_counter()
    try:
        seed(chosen)(histories)()
    finally:
        seconds, counts = time.perf_counter() - started, Histories.count
        sys.stdout.write(
            f"seed {chosen}: {counts['histories']} histories, {counts['steps']} steps in {seconds:.1f} s, "
            f"{counts['steps'] / seconds:.0f} steps/s\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
