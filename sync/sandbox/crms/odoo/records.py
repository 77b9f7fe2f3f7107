"""Odoo's records, as its RPC shows them: models, fields, domains, reads. What they mean stands in `sales`."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

Row = dict[str, Any]
ONE = "many2one:"
SALE, LINE, PARTNER = "sale.order", "sale.order.line", "res.partner"
MODELS: dict[str, dict[str, str]] = {
    "res.currency": {"name": "char"},
    "res.company": {"name": "char", "currency_id": f"{ONE}res.currency"},
    "res.country": {"name": "char", "code": "char"},
    "res.country.state": {"name": "char", "code": "char", "country_id": f"{ONE}res.country"},
    "res.users": {"name": "char", "login": "char"},
    "product.pricelist": {"name": "char", "currency_id": f"{ONE}res.currency"},
    "product.product": {"name": "char", "default_code": "char"},
    "account.tax": {
        **{"name": "char", "amount": "float", "amount_type": "char", "type_tax_use": "char", "sequence": "integer"},
        **{"price_include": "boolean", "company_id": f"{ONE}res.company"},
    },
    PARTNER: {
        **dict.fromkeys(("name", "email", "phone", "vat", "ref", "type", "street", "street2", "zip", "city"), "char"),
        **{"is_company": "boolean", "parent_id": f"{ONE}{PARTNER}"},
        **{"country_id": f"{ONE}res.country", "state_id": f"{ONE}res.country.state"},
    },
    SALE: {
        **dict.fromkeys(("name", "client_order_ref", "origin", "state", "invoice_status", "x_note"), "char"),
        **{"note": "html", "date_order": "datetime", "order_line": f"one2many:{LINE}"},
        **dict.fromkeys(("partner_id", "partner_invoice_id", "partner_shipping_id"), f"{ONE}{PARTNER}"),
        **{"company_id": f"{ONE}res.company", "pricelist_id": f"{ONE}product.pricelist"},
        **{"currency_id": f"{ONE}res.currency", "locked": "boolean"},
        **dict.fromkeys(("amount_untaxed", "amount_tax", "amount_total"), "monetary"),
    },
    LINE: {
        **{"name": "text", "display_type": "char", "order_id": f"{ONE}{SALE}", "product_id": f"{ONE}product.product"},
        **{"product_uom_qty": "float", "price_unit": "float", "tax_id": "many2many:account.tax"},
    },
}
OF_ALL = {"id": "integer", "create_date": "datetime", "write_date": "datetime", "create_uid": f"{ONE}res.users"}
COMPUTED = frozenset({"id", "create_date", "write_date", "create_uid", "amount_untaxed", "amount_tax", "amount_total"})
DEFAULT_ORDER = {SALE: "date_order desc, id desc"}


class OdooError(Exception):
    """An exception of Odoo, by its full name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


def missing(model: str, record: Any) -> OdooError:  # odoo16/023, 034, 037
    words = f"Record does not exist or has been deleted.\n(Record: {model}({record},), User: 6)"
    return OdooError("odoo.exceptions.MissingError", words)


class Records:
    """In memory. Times are stored with microseconds, and shown without them (odoo16/069)."""

    def __init__(self, now: Callable[[], datetime], version: int) -> None:
        self.now, self.version = now, version
        self.tables: dict[str, dict[int, Row]] = {model: {} for model in MODELS}
        self.last = dict.fromkeys(MODELS, 0)

    def fields(self, model: str) -> dict[str, str]:
        if model not in MODELS:
            raise OdooError("odoo.exceptions.UserError", f"Object {model} doesn't exist")
        known = MODELS[model] | OF_ALL
        if self.version < 17:
            known.pop("locked", None)
        if self.version >= 19 and "tax_id" in known:
            known["tax_ids"] = known.pop("tax_id")
        return known

    def check(self, model: str, values: Mapping[str, Any]) -> None:
        """Everything that is named has to be there, before anything is stored: Odoo's calls are transactions."""
        known = self.fields(model)
        for name, value in values.items():
            if name not in known:  # odoo16/036
                raise OdooError("builtins.ValueError", f"Invalid field {name!r} on model {model!r}")
            kind, _, other = known[name].partition(":")
            if kind == "many2one" and value and value not in self.tables[other]:
                raise missing(other, value)
            if kind == "many2many":
                for one in (one for command in value for one in command[2]):
                    if one not in self.tables[other]:
                        raise missing(other, one)
            if kind == "one2many":
                for number, record, inner in value:
                    if number in (1, 2) and record not in self.tables[other]:
                        raise missing(other, record)
                    if number in (0, 1):
                        self.check(other, inner)

    def insert(self, model: str, values: Mapping[str, Any], uid: int = 2) -> int:
        self.last[model] += 1
        number, at = self.last[model], self.stamp()
        empty: Row = {
            name: [] if ":" in kind and not kind.startswith(ONE) else False for name, kind in MODELS[model].items()
        }
        made = {"id": number, "create_date": at, "write_date": at, "create_uid": uid}
        self.tables[model][number] = {**empty, **self._plain(model, values), **made}
        return number

    def change(self, model: str, number: int, values: Mapping[str, Any]) -> None:
        self.tables[model][number] |= {**self._plain(model, values), "write_date": self.stamp()}

    def stamp(self) -> str:
        return f"{self.now():%Y-%m-%d %H:%M:%S.%f}"

    def _plain(self, model: str, values: Mapping[str, Any]) -> Row:
        lists = {name for name, kind in self.fields(model).items() if kind.startswith("many2many")}
        plain = {name: [*value[-1][2]] if name in lists and value else value for name, value in values.items()}
        if "tax_ids" in plain and model == LINE:
            plain["tax_id"] = plain.pop("tax_ids")
        return plain

    # --- reading ---------------------------------------------------------------------------------------------------

    def search(self, model: str, domain: Sequence[Any], order: str = "", limit: int | None = None) -> list[int]:
        for leaf in domain:
            if not isinstance(leaf, str) and leaf[0].partition(".")[0] not in self.fields(model):  # odoo16/020
                words = f"Invalid field {model}.{leaf[0]} in leaf {tuple(leaf)!r}"
                raise OdooError("builtins.ValueError", words)
        rows = [row for row in self.tables[model].values() if self._fulfils(model, row, domain)]
        for part in reversed((order or DEFAULT_ORDER.get(model, "id")).split(",")):
            name, _, direction = part.strip().partition(" ")
            rows.sort(key=partial(_place, name), reverse=direction == "desc")
        return [row["id"] for row in rows[: limit or None]]

    def read(self, model: str, numbers: Iterable[int], fields: Sequence[str] = ()) -> list[Row]:
        """Those that are there (odoo16/021)."""
        known = self.fields(model)
        for name in fields:
            if name not in known:
                raise OdooError("builtins.ValueError", f"Invalid field {name!r} on model {model!r}")
        found = [self.tables[model][one] for one in numbers if one in self.tables[model]]
        return [
            {"id": row["id"], **{name: self._shown(row, name, known[name]) for name in fields or known}}
            for row in found
        ]

    def _shown(self, row: Row, name: str, kind: str) -> Any:
        value = row["tax_id" if name == "tax_ids" else name]
        if kind == "datetime":
            return value[:19] if value else False
        if kind.startswith(ONE):
            other = self.tables[kind.removeprefix(ONE)].get(value) if value else None
            return [value, other["name"]] if other else False
        return json.loads(json.dumps(value))

    # --- domains ---------------------------------------------------------------------------------------------------

    def _fulfils(self, model: str, row: Row, domain: Sequence[Any]) -> bool:
        """In Polish notation; what stands side by side is all to be fulfilled."""
        rest = list(domain)
        results = []
        while rest:
            results.append(self._next(model, row, rest))
        return all(results)

    def _next(self, model: str, row: Row, rest: list[Any]) -> bool:
        one = rest.pop(0)
        match one:
            case "|":
                return any([self._next(model, row, rest), self._next(model, row, rest)])
            case "&":
                return all([self._next(model, row, rest), self._next(model, row, rest)])
            case "!":
                return not self._next(model, row, rest)
        name, operator, value = one
        return self._compares(self._value(model, row, name), operator, value)

    def _value(self, model: str, row: Row, path: str) -> Any:
        name, _, more = path.partition(".")
        value, other = row[name], self.fields(model)[name].removeprefix(ONE)
        if not more:
            return value
        return self._value(other, self.tables[other][value], more) if value else False

    def _compares(self, there: Any, operator: str, value: Any) -> bool:
        match operator:
            case "=":
                return bool(there == value)
            case "!=":
                return bool(there != value)
            case "in":
                return there in value
            case "not in":
                return there not in value
            case "=ilike":
                return bool(there) and str(there).lower() == _unescaped(value).lower()
            case ">=":
                return bool(there) and there >= _time(value)
        raise OdooError("builtins.ValueError", f"Invalid operator {operator!r}")


def _place(name: str, row: Row) -> Any:
    return (row[name] is not False, row[name])


def _unescaped(pattern: str) -> str:
    """Whoever asks has escaped it: nothing in it stands for any letters."""
    return pattern.replace("\\%", "%").replace("\\_", "_").replace("\\\\", "\\")


def _time(value: Any) -> Any:
    """`T` and `Z` are taken (odoo16/070)."""
    return value.replace("T", " ").removesuffix("Z") if isinstance(value, str) else value
