"""Mutation testing of the rules: `make mutate` (docs/testing.md)."""
