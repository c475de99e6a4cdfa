"""uvicorn's HTTP/1.1 protocol, with bounds on what a client may hold and how long it may be waited for.

uvicorn bounds neither the time nor the bytes of a request's head, nor the number of connections.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import socket
import struct
import sys
import termios
from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from spark_export.api.problems import MEDIA_TYPE

HEAD_SECONDS = 10
"""In which a connection must bring a whole head: the first request's, and every later one's once it has begun."""
HEAD_BYTES = 2**16
"""Of a head, of the trailers, or of anything else that is no body."""
LINGER_SECONDS = 30
"""How long a body goes on being received, or a broken answer being sent, once the service is through with it."""
STALLED_SECONDS = 120
"""A whole answer is sent to the end while its client takes some of it in such a time; the slot is free by then."""

CONNECTION = "spark_export.connection"
"""Key of an ASGI scope: the `BoundedProtocol` that the request came by."""

HEAD_TOO_LARGE = (431, "head-too-large", f"the head is longer than {HEAD_BYTES} bytes")
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)

INVALID_REQUEST = "Invalid HTTP request received."


class BoundedProtocol(HttpToolsProtocol):
    """A connection."""

    most_connections = sys.maxsize

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._lost = False
        self._held_open = False
        self._begun = False
        self._receiving = False
        self._idle_bytes = 0
        self._fault: tuple[int, str, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head; a connection too many is told so."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self._refuse(503, "service-unavailable", "more connections are open than MAX_CONNECTIONS allows")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._lost = True
        self._stop_waiting()
        self._stop_lingering()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what is neither head nor body is bounded."""
        self._idle_bytes += len(data)
        super().data_received(data if self._receiving else _without_upgrade(data))
        if self.transport.is_closing():
            return
        if self._idle_bytes > HEAD_BYTES:
            self._refuse(*HEAD_TOO_LARGE)
        elif not self._receiving and not self._is_answering():
            self._await_head()  # not even an empty line keeps a connection open

    def on_message_begin(self) -> None:
        """A request has begun: its head must end in time."""
        super().on_message_begin()
        self._begun = True
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there.

        Raises:
            ValueError: it cannot be answered; the parser then calls `send_400_response`.
        """
        self._check_head()
        self._stop_waiting()
        self._stop_lingering()
        self._receiving, self._begun = True, False
        self._idle_bytes = 0
        super().on_headers_complete()
        self.cycle.send = self._holding(self.cycle)  # type: ignore[assignment, method-assign]

    def on_body(self, body: bytes) -> None:
        """Part of the body is there; who reads it has its own patience."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._receiving = False
        self._idle_bytes = 0
        super().on_message_complete()
        if self._held_open and self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        """What is still to be received, or to be taken in by the client, is not waited for for ever."""
        self._stop_lingering()
        if self.pipeline:  # what is being received is another request, with a reader of its own
            pass
        elif self._held_open and not self._receiving:
            self.transport.close()
        elif self._receiving:
            self._lingering = self.loop.call_later(LINGER_SECONDS, self._end_receiving)
        elif unread := self.unread_bytes():
            self._lingering = self.loop.call_later(STALLED_SECONDS, self._end_sending, unread)
        super().on_response_complete()

    def _holding(self, cycle: RequestResponseCycle) -> Callable[[ASGISendEvent], Coroutine[Any, Any, None]]:
        """The cycle's `send`, but the end of an early answer does not close a connection whose request still comes.

        Closed with bytes unread, a connection is reset, and its client never sees the answer (RFC 9112 9.6).
        """
        send = cycle.send

        async def send_and_hold(message: ASGISendEvent) -> None:
            await send(message)
            early = self._receiving and cycle is self.cycle
            if early and message["type"] == "http.response.start" and not cycle.keep_alive:
                cycle.keep_alive = self._held_open = True

        return send_and_hold

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or not such as is answered."""
        self._refuse(*(self._fault or (400, "malformed-request", msg)))

    def unread_bytes(self) -> int:
        """What was written and the client's system has not yet acknowledged: in the transport and in the kernel."""
        if self._lost:
            return 0
        try:
            queued: int = struct.unpack("i", fcntl.ioctl(self._descriptor(), termios.TIOCOUTQ, b"\0" * 4))[0]
        except OSError:  # a kernel that does not tell
            queued = 0
        return self.transport.get_write_buffer_size() + queued

    def reset(self) -> None:
        """End the connection at once, and give up what the client has not taken yet, in the kernel too."""
        if self._lost:
            return
        with socket.socket(fileno=os.dup(self._descriptor())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def reset_after(self, seconds: float) -> None:
        """The same, once the client had so long to take what there is."""
        self._stop_lingering()
        self._lingering = self.loop.call_later(seconds, self.reset)

    def _descriptor(self) -> int:
        found: int = self.transport.get_extra_info("socket").fileno()
        return found

    def _check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if size > HEAD_BYTES:
            self._fault = HEAD_TOO_LARGE
        elif hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._fault = (400, "malformed-request", "a request has one Host field (RFC 9112 3.2)")
        if self._fault is not None:
            raise ValueError(self._fault)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _end_receiving(self) -> None:
        if self._receiving:
            self.reset()

    def _end_sending(self, before: int) -> None:
        unread = self.unread_bytes()
        if unread >= before:
            self.reset()
        elif unread:
            self._lingering = self.loop.call_later(STALLED_SECONDS, self._end_sending, unread)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_answering():  # what was pipelined behind it has time
            self._await_head()
        elif self._begun:
            self._refuse(408, "head-too-slow", f"no whole head within {HEAD_SECONDS} s")
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, slug: str, detail: str) -> None:
        """Answer outside of any request, and close; nothing is written into an answer that is on its way."""
        if self.transport.is_closing():
            return
        if self._is_answering():
            self.transport.close()
            return
        problem = {"type": f"urn:spark-export:problem:{slug}", "title": slug.replace("-", " ").capitalize()}
        body = json.dumps(problem | {"status": status, "detail": detail}).encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


def bounded(most_connections: int) -> type[BoundedProtocol]:
    """The protocol of a server with so many connections."""

    class Protocol(BoundedProtocol):
        pass

    Protocol.most_connections = most_connections
    return Protocol


def _without_upgrade(data: bytes) -> bytes:
    """A head, and what follows it, without an Upgrade field, which a server may ignore (RFC 9110 7.8).

    The parser takes no body from a request with one, such as curl's `--http2` sends.
    """
    end = data.find(b"\r\n\r\n")
    head, rest = (data, b"") if end < 0 else (data[:end], data[end:])
    return UPGRADE.sub(b"\r\nx-upgrade:", head) + rest if UPGRADE.search(head) else data


def drop_invalid_requests(record: logging.LogRecord) -> bool:
    """A filter for the server's log: what anyone may send at any rate is no news."""
    return record.msg != INVALID_REQUEST
