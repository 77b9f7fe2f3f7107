"""The site: settings, addresses, health and metrics. It is also the one place that names the version."""

__version__ = "0.3.0"
