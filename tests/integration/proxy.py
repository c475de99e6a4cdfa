"""What stands between a client and the service, and breaks connections."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

HEAD = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)
READ_BYTES = 8192


class Proxy:
    """Passes connections on; each ends when so many bytes of its answers have gone to the client.

    Args:
        url: of the service.
        bounds: of the connections in their order; None for one that is not broken, as are those that follow the last.
        stalls: say nothing more then, rather than end.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str, bounds: Iterable[int | None], *, stalls: bool = False) -> None:
        self._service = (urlsplit(url).hostname, urlsplit(url).port)
        self._bounds = list(bounds)
        self._stalls = stalls
        self._ended = threading.Event()
        self._sent: list[bytearray] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Passing on until the block ends."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._ended.set()
            self._listening.close()

    def requests(self, path_ending: str) -> list[dict[str, str]]:
        """The header fields of every request so far for such a path, names in lower case."""
        heads = [found for sent in self._sent for found in HEAD.finditer(bytes(sent))]
        fields = [found[3].decode().split("\r\n") for found in heads if found[2].decode().endswith(path_ending)]
        return [{name.lower(): value for name, _, value in (line.partition(": ") for line in each)} for each in fields]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                bound = self._bounds.pop(0) if self._bounds else None
                threading.Thread(target=self._serve, args=(client, bound), daemon=True).start()

    def _serve(self, client: socket.socket, bound: int | None) -> None:
        sent = bytearray()
        self._sent.append(sent)
        with suppress(OSError), client, socket.create_connection(self._service) as service:
            threading.Thread(target=_pass_on, args=(client, service, sent), daemon=True).start()
            while part := service.recv(READ_BYTES if bound is None else min(READ_BYTES, bound)):
                client.sendall(part)
                if bound is not None and (bound := bound - len(part)) <= 0:
                    break
            if self._stalls and bound is not None:
                self._ended.wait()
            # The other thread reads from it still: closed alone it would stay open.
            client.shutdown(socket.SHUT_RDWR)


def _pass_on(client: socket.socket, service: socket.socket, sent: bytearray) -> None:
    with suppress(OSError):
        while part := client.recv(READ_BYTES):
            sent += part
            service.sendall(part)
        service.shutdown(socket.SHUT_WR)
