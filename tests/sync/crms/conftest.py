"""What the tests of several CRMs share."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clients.crm import cache
from sync.clients.paging import batches


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Of a CRM that another test asked."""
    cache.forget_all()
    batches.forget()
    yield
    cache.forget_all()
    batches.forget()


def line(number: int, name: str, net: str, **more: Any) -> dict[str, Any]:
    """A line of the shop's order with 19 %."""
    tax = more.pop("tax", "0.00")
    taxes = [{"id": 1, "total": tax}] if tax != "0.00" else []
    return {"id": number, "name": name, "quantity": 1, "total": net, "total_tax": tax, "taxes": taxes, **more}


def order(**more: Any) -> dict[str, Any]:
    """As the shop shows it: a product that the CRM has, one that it does not have, shipping, a fee, a discount."""
    return {
        "id": 14,
        "number": "14",
        "status": "processing",
        "currency": "EUR",
        "total": "45.53",
        "date_created_gmt": "2026-11-27T10:00:00",
        "customer_note": "Bitte klingeln 🚪 <b>",
        "billing": {
            **{"first_name": "Jürgen", "last_name": "Müller", "email": "juergen@example.test"},
            **{"phone": "+49 30 123456", "address_1": "Straße des 17. Juni 135", "postcode": "10623"},
            **{"city": "Berlin", "country": "DE", "state": "DE-BE"},
        },
        "payment_method_title": "Karte",
        "transaction_id": "tx_1",
        "tax_lines": [{"rate_id": 1, "rate_percent": 19}],
        "line_items": [
            line(141, "Plain T-shirt", "24.00", tax="4.56", quantity=2, sku="LAB-2"),
            line(142, "Gift wrap", "9.50", tax="1.81", sku="GW-1"),
        ],
        "shipping_lines": [{**line(143, "", "4.90", tax="0.93"), "method_title": "Flat rate"}],
        "fee_lines": [line(144, "Express", "1.50", tax="0.29"), line(145, "Voucher", "-1.96")],
        **more,
    }
