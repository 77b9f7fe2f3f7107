"""WooCommerce's page on which the shop's manager gives another service a key (`/wc-auth/v1/`), and its refusals."""

import html
import json
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from sync.sandbox.outbox import post
from sync.sandbox.server import Answer, HttpError, Request
from sync.sandbox.shop_auth import KeyCheck

PATH = "/wc-auth/v1/"
SCOPES = {"read": "View orders", "write": "Create and edit orders", "read_write": "View, create and edit orders"}
NEEDED = ("app_name", "user_id", "return_url", "callback_url", "scope")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CALLBACK_SECONDS = 60
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
a.button{{display:inline-block;padding:.5rem 1rem;border:1px solid;border-radius:4px;margin-right:.5rem}}</style>
<h1>{title}</h1>{body}</html>"""


class Approvals:
    """The pages, and the keys that they give away.

    `scope`: what a key may do whatever was asked for, as of a manager with fewer rights. `posting`: the callback is
    under way, and a shop with a single PHP process answers nobody else.
    """

    def __init__(self, keys: KeyCheck, name: str) -> None:
        self.keys = keys
        self.name = name
        self.scope = ""
        self.posting = False
        self._nonces: set[str] = set()

    def handle(self, request: Request) -> Answer:
        try:
            asked = _checked(request.query)
        except ValueError as error:
            return _page(401, "Access denied", f"<p>Error: {html.escape(str(error))}</p>")
        match request.path.removeprefix(PATH).rstrip("/"):
            case "authorize":
                return self._ask(asked)
            case "access_granted":
                return self._grant(asked, request.query.get("wc_auth_nonce", ""))
        return _page(404, "Page not found", "<p>There is no such page.</p>")

    def _ask(self, asked: Mapping[str, str]) -> Answer:
        nonce = secrets.token_hex(5)
        self._nonces.add(nonce)
        app, scope = html.escape(asked["app_name"]), html.escape(SCOPES[asked["scope"]])
        approve = f"{PATH}access_granted/?{urlencode({**asked, 'wc_auth_nonce': nonce})}"
        body = (
            f"<p><strong>{app}</strong> would like to connect to your store.</p><ul><li>{scope}</li></ul>"
            f"<p>Approving will share credentials with {html.escape(asked['callback_url'])}. "
            "(This is the sandbox: nobody has to sign in.)</p>"
            f'<p><a class="button" href="{html.escape(approve)}">Approve</a>'
            f'<a class="button" href="{html.escape(_return(asked, success=0))}">Deny</a></p>'
        )
        return _page(200, f"{self.name}: connect?", body)

    def _grant(self, asked: Mapping[str, str], nonce: str) -> Answer:
        if nonce not in self._nonces:
            return _page(401, "Access denied", "<p>Error: Invalid nonce verification</p>")
        self._nonces.discard(nonce)
        scope = self.scope or asked["scope"]
        key, secret = f"ck_{secrets.token_hex(20)}", f"cs_{secrets.token_hex(20)}"
        self.keys.add(key, secret, may_write="write" in scope, may_read="read" in scope)
        told = {
            "key_id": len(self.keys.others),
            "user_id": asked["user_id"],
            "consumer_key": key,
            "consumer_secret": secret,
            "key_permissions": scope,
        }
        headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "WooCommerce/10.5.0"}
        self.posting = True
        try:
            status = post(asked["callback_url"], json.dumps(told).encode(), headers, CALLBACK_SECONDS)
        finally:
            self.posting = False
        if status != 200:
            del self.keys.others[key]
            words = "An error occurred in the request and at the time were unable to send the consumer data"
            return _page(401, "Access denied", f"<p>Error: {words}</p>")
        return Answer(302, b"", {"Location": _return(asked, success=1)})


def _checked(query: Mapping[str, str]) -> dict[str, str]:
    for name in NEEDED:
        if not query.get(name):
            raise ValueError(f"Missing parameter {name}")
    if query["scope"] not in SCOPES:
        raise ValueError(f"Invalid scope {query['scope']}")
    for name in ("return_url", "callback_url"):
        if urlsplit(query[name]).scheme not in ("http", "https") or not urlsplit(query[name]).hostname:
            raise ValueError(f"The {name} is not a valid URL")
    callback = urlsplit(query["callback_url"])
    if callback.scheme != "https" and callback.hostname not in LOOPBACK:  # the real one makes no exception
        raise ValueError("The callback_url needs to be over SSL")
    return {name: query[name] for name in NEEDED}


def _return(asked: Mapping[str, str], *, success: int) -> str:
    url = asked["return_url"]
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'success': success, 'user_id': asked['user_id']})}"


def _page(status: int, title: str, body: str) -> Answer:
    page = PAGE.format(title=html.escape(title), body=body)
    return Answer(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})


def one_process_only(approvals: Approvals) -> None:
    """Raises what a host answers while its only PHP process is busy with the callback."""
    if approvals.posting:
        raise HttpError(Answer(503, b"<h1>Busy</h1>", {"Content-Type": "text/html"}))
