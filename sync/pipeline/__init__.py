"""One order's way: claim, read, decide, apply, record."""
