"""The status map and the allowed moves that a fresh database starts with. Source: CONTRACT section 4."""

RULES: tuple[tuple[str, str, bool], ...] = (
    ("new", "pending", False),
    ("on_hold", "on-hold", False),
    ("paid", "processing", True),
    ("processing", "processing", False),
    ("shipped", "completed", True),
    ("completed", "completed", False),
    ("delivered", "completed", False),
    ("cancelled", "cancelled", True),
    ("refunded", "refunded", True),
    ("failed", "failed", False),
)

MOVES: dict[str, tuple[str, ...]] = {
    "pending": ("on-hold", "processing", "shipped", "completed", "cancelled", "failed"),
    "on-hold": ("processing", "shipped", "completed", "cancelled", "failed"),
    "failed": ("pending", "on-hold", "processing", "cancelled"),
    "processing": ("shipped", "completed", "cancelled", "refunded"),
    "shipped": ("completed", "refunded"),
    "completed": ("refunded",),
}

FIRST = "pending"
"""The status with which WooCommerce begins an order."""
FINAL = frozenset(new for news in MOVES.values() for new in news) - MOVES.keys()
"""Where an order ends: cancelled and refunded."""
NO_ORDER = frozenset({"trash", "auto-draft", "draft", "new", "checkout-draft"})
"""What the shop's list of statuses may name beside those of orders."""
LONGEST_STATUS = 17
"""Letters: WooCommerce stores `wc-` and the status in a column of 20, and cuts what is longer."""
