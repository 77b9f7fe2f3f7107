"""Long runs over many orders."""
