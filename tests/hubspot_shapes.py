"""Every request of the HubSpot backend, and every answer of its stand-in, against HubSpot's published OpenAPI.

`python -m tests.hubspot_shapes FOLDER`: the folder holds the vendor's documents (orders.json, deals.json …), which are
not ours to keep. Prism, from npm, stands between the backend and the stand-in, and refuses whatever does not fit. That
proves shapes only: not what HubSpot would do.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import django
import requests

PRISM = "@stoplight/prism-cli@5.14.2"
DOCUMENTS = ("orders", "deals", "contacts", "line-items", "associations", "pipelines", "properties")
ANSWERED = {"SimplePublicObject", "SimplePublicObjectWithAssociations", "SimplePublicUpsertObject"}
"""In answers HubSpot shows null where a property has no value; its documents say text, and mean it for requests."""
ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ROOT / "var" / "prism"
START_SECONDS = 60.0
VIOLATION = "stoplight.io/prism/errors"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


class Missing(SystemExit):
    """Something that has to be there is not; the words say what to do."""

    def __init__(self, words: str) -> None:
        sys.stderr.write(f"hubspot-shapes: {words}\n")
        super().__init__(2)


def merged(folder: Path) -> dict[str, Any]:
    """One document of all: what they reference has the name of its document before it."""
    whole: dict[str, Any] = {"openapi": "3.0.1", "info": {"title": "HubSpot", "version": ""}, "paths": {}}
    whole["components"] = defaultdict(dict)
    for name in DOCUMENTS:
        path = folder / f"{name}.json"
        if not path.is_file():
            raise Missing(f"there is no {path}. Name the folder of HubSpot's documents: make hubspot-shapes OPENAPI=…")
        text = re.sub(r'"(#/components/\w+/)', rf'"\1{name}-', path.read_text())
        document = without_null_examples(json.loads(text))
        for one in ANSWERED & document["components"]["schemas"].keys():
            document["components"]["schemas"][one]["properties"]["properties"]["additionalProperties"]["nullable"] = (
                True
            )
        for kind, parts in document["components"].items():
            mark = "" if kind == "securitySchemes" else f"{name}-"  # those are named, and not referenced
            whole["components"][kind] |= {f"{mark}{one}": part for one, part in parts.items()}
        whole["paths"] = {**document["paths"], **whole["paths"]}
    return whole


def without_null_examples(part: Any) -> Any:
    """Prism answers each of them with a 500."""
    if isinstance(part, list):
        return [without_null_examples(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: without_null_examples(one) for name, one in part.items() if not (name == "example" and one is None)}


def prism() -> Path:
    """Installed once, beside the environment."""
    if not shutil.which("node") or not (npm := shutil.which("npm")):
        raise Missing("there is no node or no npm, which Prism needs: apt-get install nodejs npm")
    binary = INSTALLED / "node_modules" / ".bin" / "prism"
    if not binary.exists():
        say(f"installing {PRISM} into {INSTALLED.relative_to(ROOT)} …")
        command = [npm, "install", "--prefix", str(INSTALLED), "--no-audit", "--no-fund", "--silent", PRISM]
        if subprocess.run(command, check=False).returncode:
            raise Missing(f"{PRISM} could not be installed: see what npm says above")
    return binary


@contextmanager
def proxy(document: Mapping[str, Any], target: str) -> Iterator[str]:
    """Prism before the stand-in."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hubspot.json")
        path.write_text(json.dumps(document))
        command = [str(prism()), "proxy", str(path), target, "--errors", "--host", "127.0.0.1", "--port", str(port)]
        log = Path(folder, "log")
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                wait_for(port, process, log)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Missing(f"Prism did not start: {log.read_text()[-2000:]}")


def walk(url: str, kind: str, hubspot: Any, on_call: Callable[[Any], None]) -> None:
    """All that the backend ever asks HubSpot."""
    from sync.clients.crm.base import access
    from sync.clients.crm.cache import forget_all
    from sync.clients.crm.hubspot import HubspotCrm
    from sync.clients.errors import AuthFailed, NotConfigured, NotFound, RateLimited, Rejected
    from tests.sync.crm_contract import LONG_AGO
    from tests.sync.hubspot_stage import contact, document, order

    def connect(**more: str) -> Any:
        forget_all()
        to = access(HubspotCrm.schema, {"url": url, "token": hubspot.token, "object": kind, **more})
        # Without the database, which `connect_to` asks whose installation it is.
        return HubspotCrm(replace(to, on_call=on_call))

    def expect(error: type[Exception], call: Callable[[], object]) -> None:
        try:
            call()
        except error as raised:
            assert VIOLATION not in str(raised), raised
        else:
            raise AssertionError(f"{error.__name__} was expected")

    crm = connect()
    refused = requests.post(f"{url}/crm/objects/2026-03/{crm.words.path}", json={"properties": {}}, timeout=30)
    assert VIOLATION in refused.text, "Prism does not notice a request that lacks what the documents ask for"
    expect(NotConfigured, lambda: crm.find("14"))
    assert crm.lacks()
    assert len(crm.prepare()) == 3
    assert not crm.lacks()
    crm.ping()
    assert crm.statuses()
    assert crm.fields()
    hubspot.records["products"].add({"name": "Pot", "hs_sku": "LAB-1"})
    made, is_new = crm.create("14", document(crm, order()))
    assert is_new
    assert crm.create("14", document(crm, order())) == (made, False)
    for name, who in (("15", contact("", phone="+49 30 9")), ("16", {"billing": {}, "customer_id": 0})):
        crm.create(name, document(crm, order(**who)))
    assert crm.find("14") == crm.get(made.crm_order_id)
    assert crm.find("99") is None
    assert len(crm.find_many(["14", "15", "99"])) == 3
    assert len(crm.get_many([made.crm_order_id, "999"])) == 1
    lid = [{"id": 9, "name": "Lid", "quantity": 1, "total": "1.00"}]
    crm.update(made.crm_order_id, {**document(crm, order(line_items=lid)), "fields": {crm.words.name: "A name"}})
    crm.update(made.crm_order_id, document(crm, {"id": 14, "status": "trash"}))
    assert len([*crm.changed_since(LONG_AGO)]) == 3
    expect(NotFound, lambda: crm.get("999"))
    expect(Rejected, lambda: crm.create("17", document(crm, order(**contact("nobody")))))
    expect(AuthFailed, connect(token="wrong").ping)
    hubspot.missing_scopes = {f"crm.objects.{kind}.read"}
    expect(AuthFailed, crm.ping)
    hubspot.missing_scopes = set()
    for policy in ("DAILY", "TEN_SECONDLY_ROLLING"):
        hubspot.left = {policy: 0}
        expect(RateLimited, crm.ping)
    hubspot.left = {}


def check(folder: Path) -> int:
    from sync.sandbox.crms.hubspot import HubspotStandIn

    document, calls, wrong = merged(folder), [], 0
    for kind in ("orders", "deals"):
        hubspot = HubspotStandIn(kind=kind, is_prepared=False)
        hubspot.start()
        try:
            with proxy(document, hubspot.url) as url:
                walk(url, kind, hubspot, calls.append)
        except Exception as error:  # whatever it is, the calls say what led there
            say(f"{kind}: {type(error).__name__}: {error}")
            wrong += 1
        finally:
            hubspot.stop()
    for call in calls:
        if VIOLATION in call.response_body:
            wrong += 1
            say(f"{call.method} {call.url}\n  sent     {call.request_body[:1000]}")
            say(f"  answered {call.response_body[:2000]}")
    shapes = sorted({(call.method, shape_of(call.url), call.status) for call in calls})
    for method, path, status in shapes:
        say(f"{method:<6} {path} {status}")
    say(f"hubspot-shapes: {len(calls)} calls of {len(shapes)} kinds, {wrong or 'none'} against the documents.")
    return 1 if wrong else 0


def shape_of(url: str) -> str:
    path = "/" + url.split("?")[0].split("/", 3)[3]
    return "/".join("{id}" if part.isdigit() else part for part in path.split("/"))


if __name__ == "__main__":
    django.setup()
    raise SystemExit(check(Path(sys.argv[1] if len(sys.argv) > 1 else "")))
