"""Recorded deliveries of a real WooCommerce, as bytes and headers."""

import json
from pathlib import Path

RECORDED = Path(__file__).parent / "payloads" / "woocommerce"
NOT_OURS_TO_SEND = {"host", "connection", "content-length", "accept-encoding"}


def load(name: str) -> tuple[bytes, dict[str, str]]:
    """The exact body, and the headers that the shop chose."""
    capture = json.loads((RECORDED / name).read_text())
    headers = {key: value for key, value in capture["headers"] if key.lower() not in NOT_OURS_TO_SEND}
    return capture["body"].encode(), headers
