"""Does the time of a check tell where the first wrong byte is? `python -m tests.benchmarks.signatures`."""

import base64
import hashlib
import hmac
import statistics
import time

from tests.benchmarks.running import say
from webhooks.signatures import Delivery, verify

ROUNDS, CHECKS = 400, 50
BODY = b'{"id": 14, "status": "processing"}' * 100
PLACES = (0, 1, 10, 21, 40, None)


def wrong_at(place: int | None) -> str:
    right = base64.b64encode(hmac.new(b"secret", BODY, hashlib.sha256).digest()).decode()
    return right if place is None else f"{right[:place]}{'A' if right[place] != 'A' else 'B'}{right[place + 1 :]}"


def seconds(signature: str) -> float:
    delivery = Delivery(body=BODY, headers={"X-WC-Webhook-Signature": signature})
    started = time.perf_counter()
    for _ in range(CHECKS):
        verify("woocommerce", ["secret"], delivery, now=0)
    return (time.perf_counter() - started) / CHECKS


def main() -> None:
    """In turns, so that what else the machine does hits all alike."""
    took: dict[int | None, list[float]] = {place: [] for place in PLACES}
    for _ in range(ROUNDS):
        for place in PLACES:
            took[place].append(seconds(wrong_at(place)))
    say(f"median of {ROUNDS} × {CHECKS} checks; spread: between the quarters")
    for place, values in took.items():
        low, middle, high = statistics.quantiles(values, n=4)
        where = "none" if place is None else str(place)
        say(f"  first wrong character {where:>4}   {middle * 1e6:7.2f} µs   spread {(high - low) * 1e6:5.2f} µs")


if __name__ == "__main__":
    main()
