"""What the pages of all three apps are made of: lists, their pages and filters, and how a value is shown."""
