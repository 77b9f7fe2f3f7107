"""The one page of a CRM of the sandbox: its orders, and a button that moves each."""

import html
from collections.abc import Iterable, Mapping, Sequence

from sync.sandbox.server import Answer

NEWEST = 200
"""Orders that it shows."""
COLUMNS = ("Order", "Status", "Shop's order", "Customer", "Total", "Note", "Changed (UTC)")
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>html{{color-scheme:light dark}} body{{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}}
.wide{{overflow-x:auto}} table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8886}} form{{display:flex;gap:.5rem}}
select,button{{font:inherit}} .wrong{{color:#c33}}</style>
<h1>{title}</h1><p>{about} Move an order, and see what becomes of it in the shop.
<a href="">Look again</a></p>{said}<div class="wide"><table><thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody></table></div></html>"""


def page_of(
    title: str, about: str, statuses: Sequence[str], orders: Sequence[Mapping[str, str]], said: str = ""
) -> Answer:
    rows = "".join(_row(one, statuses) for one in list(reversed(orders))[:NEWEST])
    text = PAGE.format(
        title=html.escape(title),
        about=html.escape(about),
        said=f'<p class="wrong" role="alert">{html.escape(said)}</p>' if said else "",
        head="".join(f'<th scope="col">{name}</th>' for name in COLUMNS),
        rows=rows or f'<tr><td colspan="{len(COLUMNS)}">There is no order yet.</td></tr>',
    )
    return Answer(400 if said else 200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _row(one: Mapping[str, str], statuses: Iterable[str]) -> str:
    cells = "".join(
        f"<td>{html.escape(one[name])}</td>" for name in ("external_id", "customer", "total", "note", "changed")
    )
    options = "".join(
        f"<option{' selected' if name == one['status'] else ''}>{html.escape(name)}</option>" for name in statuses
    )
    order = html.escape(one["crm_order_id"])
    return (
        f'<tr><td>{order}</td><td><form method="post"><input type="hidden" name="order" value="{order}">'
        f'<select name="status" aria-label="Status of {order}">{options}</select>'
        f"<button>Move</button></form></td>{cells}</tr>"
    )
