"""A server on loopback that takes what it is sent, and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What came.

    Attributes:
        url: where it listens.
        statuses: of the answers, in order; the last one again and again.
        location: where its redirects lead.
        retry_after: what it says of when to come again.
        received: header fields, by their lower-case names, and body of each request.
    """

    url: str = ""
    statuses: Sequence[int] = (204,)
    location: str = ""
    retry_after: str = ""
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """A receiver that answers with these statuses."""
    receiver = Receiver(statuses=statuses or (204,))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            """Keep the request, and answer."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            place = min(len(receiver.received), len(receiver.statuses)) - 1
            self.send_response(receiver.statuses[place])
            if receiver.location:
                self.send_header("Location", receiver.location)
            if receiver.retry_after:
                self.send_header("Retry-After", receiver.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = answer  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
