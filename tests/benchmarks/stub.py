"""The least that a shop and a CRM can be: each order is as every other, and each answer comes after the same time."""

import asyncio
import json
import re
import sys
from urllib.parse import unquote

from tests.benchmarks.load import RECORDED

CRM_ORDER = re.compile(r"^/orders/C-(\d+)")
SHOP_ORDER = re.compile(r"^/wp-json/wc/v3/orders/(\d+)")
MANY = re.compile(r"[?&](ids|external_ids|include)=([^&]*)")
CALLS = "/calls"
"""Answers how many calls there were since it was asked last."""


class Both(asyncio.Protocol):
    """Shop and CRM on one port; the CRM says `on_hold`, and the shop shows `pending` until it is told."""

    delay = 0.0
    reads_many = True
    "Whether the CRM has the batch reads; the shop's list always has."
    calls = 0
    order = json.loads(json.loads(RECORDED.read_text())["body"])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.got = transport, b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, end, body = self.got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not end or len(body) < int(length[1] if length else 0):
            return
        self.got = b""
        method, path, _ = head.decode("latin-1").split(" ", 2)
        answer = json.dumps(self.answer(method, path, body)).encode()
        status = b"201 Created" if method == "POST" else b"200 OK"
        headers = b"Content-Type: application/json\r\nContent-Length: %d" % len(answer)
        whole = b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n\r\n" + answer
        asyncio.get_running_loop().call_later(self.delay, self.transport.write, whole)

    def answer(self, method: str, path: str, body: bytes) -> object:
        if path == CALLS:
            calls, Both.calls = Both.calls, 0
            return calls
        Both.calls += 1
        if found := CRM_ORDER.match(path):
            return self.of_crm(found[1])
        if found := SHOP_ORDER.match(path):
            return {**self.order, "id": int(found[1]), "status": "on-hold" if method == "PUT" else "pending"}
        if (found := MANY.search(path)) and (found[1] == "include" or self.reads_many):
            return self.many(found[1], unquote(found[2]).split(","))
        if method == "POST":
            number = json.loads(body)["external_id"]
            return {"id": f"C-{number}", "external_id": number, "status": "new", "version": 1, "updated_at": None}
        if found and path.startswith("/orders"):  # as one that ignores the question, and lists what it has
            return {"results": [self.of_crm("1")], "next_cursor": None}
        return {"results": [], "next_cursor": None} if path.startswith("/orders") else []

    def of_crm(self, number: str) -> object:
        return {"id": f"C-{number}", "external_id": number, "status": "on_hold", "version": 2, "updated_at": None}

    def many(self, question: str, ids: list[str]) -> object:
        """Of the orders that are asked for by the shop's number, the CRM has none."""
        if question == "include":
            return [{**self.order, "id": int(one), "status": "pending"} for one in ids]
        return {"results": [self.of_crm(one.removeprefix("C-")) for one in ids if question == "ids"]}


async def main(port: int, delay: float, reads_many: bool) -> None:
    Both.delay, Both.reads_many = delay, reads_many
    server = await asyncio.get_running_loop().create_server(Both, "127.0.0.1", port, backlog=500)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] != ["single"]))
