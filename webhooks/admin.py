"""The back office of the inbox."""
