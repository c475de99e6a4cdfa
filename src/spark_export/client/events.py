"""Server-sent events (HTML 9.2.6) whose lines end in LF or CR LF; of their fields `data` alone is of use here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

from spark_export.client.connection import Ask, Connection, Receipt, object_of, unreachable
from spark_export.client.errors import Refused, Unreachable

MEDIA_TYPE = "text/event-stream"


class Events:
    """Makes events of the bytes of a stream.

    httpx's own lines end at U+2028 and others too, which JSON may hold as they are.
    """

    def __init__(self) -> None:
        self._held = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Receipt]:
        """The objects of the events that end in the chunk.

        Raises:
            ValueError: one is no JSON object.
        """
        *lines, self._held = (self._held + chunk).split(b"\n")
        for line in lines:
            yield from self._take(line.removesuffix(b"\r"))

    def _take(self, line: bytes) -> Iterator[Receipt]:
        if not line and self._data:
            text, self._data = b"\n".join(self._data), []
            found = object_of(text)
            if found is None:
                raise ValueError("the event is no JSON object")
            yield found
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))


class NoEvents(Exception):
    """There is no stream of events, as behind a proxy that holds back what has no end."""


async def iter_events(connection: Connection, path: str) -> AsyncGenerator[Receipt, None]:
    """The receipts of a stream of events until that ends, or breaks; to be closed by who asks for them.

    Args:
        connection: to the service.
        path: of the events there.

    Raises:
        NoEvents: there is none.
    """
    events = Events()
    try:
        async with connection.open(Ask("GET", path, headers={"Accept": MEDIA_TYPE}, is_safe=False)) as response:
            if not response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
                raise NoEvents
            with suppress(Unreachable), unreachable(connection.url):
                async for chunk in response.aiter_raw():
                    for event in events.feed(chunk):
                        yield event
    except (Refused, Unreachable, ValueError):
        raise NoEvents from None
