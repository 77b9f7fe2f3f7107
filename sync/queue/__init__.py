"""Our supervisor of django-q2's cluster."""
