"""A service that is broken in one way: it passes requests on to a real one, and changes the answers on their way."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

PASSED_ON = ("X-Export-Id", "Content-Type", "Retry-After")


@dataclass
class Answer:
    """What goes to the client.

    Attributes:
        path: that was asked for.
        request: the export's request; nothing for other paths.
        status: of HTTP.
        headers: some of them.
        body: the whole of it.
        cut: whether the connection ends in its middle.
    """

    path: str
    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it is an export."""
        return self.path == "/export" and self.status == httpx.codes.OK

    def is_of(self, file_format: str, *, inline: bool) -> bool:
        """Whether it is an export of that format, from rows in the body or from a dataset."""
        return self.is_file and self.request["format"] == file_format and ("rows" in self.request) == inline


@dataclass
class Fault:
    """How it is broken: not at all.

    Attributes:
        asked: the export requests so far.
    """

    asked: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the real service is asked for instead."""
        return request

    def change(self, answer: Answer) -> None:
        """Change the answer."""


@dataclass
class Changed(Fault):
    """Every answer is changed by a function."""

    by: Callable[[Answer], None] = lambda _: None

    def change(self, answer: Answer) -> None:
        """Change it."""
        self.by(answer)


@dataclass
class Altered(Fault):
    """Files are altered, and their receipts say what they are now.

    Attributes:
        by: the new file of a file, or the same.
    """

    by: Callable[[Answer], bytes] = lambda answer: answer.body
    _receipts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def change(self, answer: Answer) -> None:
        """Change the file, and later its receipt."""
        if answer.is_file:
            answer.body = body = self.by(answer)
            stated = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            self._receipts[answer.headers["X-Export-Id"]] = stated
        elif stated := self._receipts.get(answer.path.removeprefix("/exports/"), {}):
            answer.body = json.dumps(json.loads(answer.body) | stated).encode()


@dataclass
class Misread(Fault):
    """Rows in a body are changed before the real service sees them; the receipt says that nothing is missing.

    Attributes:
        by: the rows to export in place of those that were sent.
        file_format: of the exports that are so changed.
    """

    by: Callable[[list[Any]], list[Any]] = lambda rows: rows
    file_format: str = "pdf"
    _missing: int = 0

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Rows that are not what was sent."""
        if request["format"] != self.file_format or "rows" not in request:
            return request
        rows = self.by(request["rows"])
        self._missing = len(request["rows"]) - len(rows)
        return request | {"rows": rows}

    def change(self, answer: Answer) -> None:
        """Count the missing rows in the receipt."""
        if answer.path.startswith("/exports/"):
            receipt = json.loads(answer.body)
            is_misread = receipt["format"] == self.file_format and receipt["dataset"] is None
            receipt["rows"] += self._missing if is_misread else 0
            answer.body = json.dumps(receipt).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    real: httpx.Client
    fault: Fault

    def do_GET(self) -> None:
        """Pass on what is no export."""
        self._send(self._answer({}, self.real.get(self.path)))

    def do_POST(self) -> None:
        """Pass on an export."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fault.asked.append(request)
        self._send(self._answer(request, self.real.post(self.path, json=self.fault.ask(request))))

    def _answer(self, request: dict[str, Any], real: httpx.Response) -> Answer:
        headers = {name: real.headers[name] for name in PASSED_ON if name in real.headers}
        answer = Answer(self.path, request, real.status_code, headers, real.content)
        self.fault.change(answer)
        return answer

    def _send(self, answer: Answer) -> None:
        """In two chunks (RFC 9112 7.1), or in one without an end."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        half = len(answer.body) // 2
        for piece in (answer.body[:half],) if answer.cut else (answer.body[:half], answer.body[half:]):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"")
        if answer.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def broken_service(real_url: str, fault: Fault) -> Iterator[str]:
    """The URL of a service that is broken so."""
    with httpx.Client(base_url=real_url, timeout=60, headers={"Accept-Encoding": "identity"}) as real:
        handler = type("Handler", (_Handler,), {"real": real, "fault": fault})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()
