"""How ERPNext 15 says no, as `crm-captures/erpnext` shows it; the number of a capture stands beside each."""

import json
from typing import Any

from sync.sandbox.server import Answer, HttpError

TRACE = '["Traceback (most recent call last): …"]'


def refusal(status: int, kind: str, *messages: str, module: str = "frappe.exceptions", **more: Any) -> HttpError:
    """`_server_messages` is a list of JSON within JSON."""
    said = [json.dumps({"message": one, "title": "Message"}) for one in messages]
    body = {"exc_type": kind, **more}
    if status != 404:
        first = f": {messages[0]}" if messages else ""
        body = {"exception": f"{module}.{kind}{first}", **body, "exc": TRACE}
    if said:
        body["_server_messages"] = json.dumps(said)
    return HttpError(Answer(status, body))


def unknown_key() -> HttpError:
    """001, 003"""
    return refusal(401, "AuthenticationError")


def no_right(user: str, doctype: str) -> HttpError:
    """002, 007, 034"""
    words = f"User <strong>{user}</strong> does not have doctype access via role permission for document "
    words = f"{words}<strong>{doctype}</strong>"
    return refusal(403, "PermissionError", words, _error_message=f"No permission for {doctype}")


def other_site(host: str) -> HttpError:
    """004"""
    page = f"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<p>{host} does not exist</p>\n"
    return HttpError(Answer(404, page.encode(), {"Content-Type": "text/html; charset=utf-8"}))


def missing(doctype: str, name: Any) -> HttpError:
    """018, 025; and of a creation that names what is not there: 029, 031"""
    return refusal(404, "DoesNotExistError", f"{doctype} {name} not found")


def unknown_field(name: Any) -> HttpError:
    """016"""
    return refusal(417, "DataError", f"Field not permitted in query: {name}")


def not_unique(doctype: str, name: str, field: str, label: str, value: str) -> HttpError:
    """050, 903: what it says to a person is less than what stands in the exception"""
    error = refusal(417, "UniqueValidationError", f"{label} must be unique")
    detail = f"('{doctype}', '{name}', IntegrityError(1062, \"Duplicate entry '{value}' for key '{field}'\"))"
    error.answer.content["exception"] = f"frappe.exceptions.UniqueValidationError: {detail}"
    return error


def same_purchase_order(order: str, number: str) -> HttpError:
    """012, 013"""
    words = f"Sales Order <strong>{order}</strong> already exists against Customer's Purchase Order "
    return refusal(417, "ValidationError", f"{words}<strong>{number}</strong>.")


def changed_meanwhile(theirs: str, ours: str) -> HttpError:
    """024"""
    words = f"Error: Document has been modified after you have opened it ({theirs}, {ours}). Please refresh."
    return refusal(417, "TimestampMismatchError", words)


def no_lines() -> HttpError:
    """030"""
    words = "unsupported operand type(s) for *: 'NoneType' and 'float'"
    return HttpError(Answer(500, {"exception": f"TypeError: {words}", "exc_type": "TypeError", "exc": TRACE}))


def no_json() -> HttpError:
    """033"""
    words = "json.decoder.JSONDecodeError: Expecting value: line 1 column 13 (char 12)"
    return HttpError(Answer(500, {"exception": words, "exc_type": "JSONDecodeError", "exc": TRACE}))


def lines_of_a_submitted_one() -> HttpError:
    """038"""
    wanted = ("Item Name", "UOM", "UOM Conversion Factor")
    words = (f"Error: <strong>Sales Order Item</strong> Row #1: Value missing for: {one}" for one in wanted)
    return refusal(417, "MandatoryError", *words)


def kept_after_submission(label: str) -> HttpError:
    """Of frappe's source: a field without Allow on Submit."""
    words = f"Not allowed to change <strong>{label}</strong> after submission"
    return refusal(417, "UpdateAfterSubmitError", words)


def cancelled() -> HttpError:
    """049: without words to a person"""
    error = refusal(417, "ValidationError")
    error.answer.content["exception"] = "frappe.exceptions.ValidationError: Cannot edit cancelled document"
    return error


def submitted(name: str) -> HttpError:
    """046"""
    words = f"Sales Order {name}: Submitted Record cannot be deleted. You must <a href=''> Cancel </a> it first."
    return refusal(417, "ValidationError", words)


def there_already(doctype: str, name: str) -> HttpError:
    return refusal(409, "DuplicateEntryError", f"{doctype} {name} already exists")


def odd_name() -> HttpError:
    """CRMS.md: `<>` in a name"""
    words = "Name cannot contain special characters like <strong>'&lt;', '&gt;'</strong>"
    return refusal(409, "NameError", words)


def no_value(doctype: str, field: str) -> HttpError:
    return refusal(417, "MandatoryError", f"Error: Value missing for {doctype}: {field}")


def no_link(label: str, value: str) -> HttpError:
    return refusal(417, "LinkValidationError", f"Could not find {label}: {value}")
