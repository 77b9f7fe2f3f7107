"""HTTP, the shop, the CRMs: every call to the outside."""
