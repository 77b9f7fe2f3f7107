"""Alarms, silence, the doctor, the webhooks of the shop, counters."""
