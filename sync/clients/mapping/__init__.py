"""Which fields of the CRM's order get what of the shop's order, as staff have mapped them for a bridge. Pure."""
