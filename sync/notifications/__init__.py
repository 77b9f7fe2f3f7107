"""Alarms and the daily summary, sent by e-mail and by apprise: outside the pipeline, by a process of their own."""
