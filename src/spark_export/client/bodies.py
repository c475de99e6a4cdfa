"""What a request carries: an export request as JSON, or a body that is rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READ_BYTES = 2**18
JSON = "application/json"

Content = bytes | Path | AsyncIterable[bytes]


@dataclass(frozen=True)
class Body:
    """A body as it is sent, such as rows in a file.

    Attributes:
        content: the bytes, the file that holds them, or what gives them in parts, which can be sent once only.
        media_type: `text/csv; header=absent`, `application/x-ndjson` and others: docs/bodies.md.
        options: the export request beside the rows.
        coding: content coding of the bytes, `gzip` or `zstd`; None for none.
    """

    content: Content
    media_type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    coding: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.content, str):
            raise TypeError("the content is bytes, or a Path of the file that holds them")

    @property
    def can_be_repeated(self) -> bool:
        """Whether it can be sent a second time."""
        return not isinstance(self.content, AsyncIterable)

    @property
    def query(self) -> dict[str, str]:
        """The options as the query has them."""
        return {"options": _json(self.options)} if self.options else {}

    @property
    def headers(self) -> dict[str, str]:
        """What the head of the request says of it."""
        found = {"Content-Type": self.media_type}
        if self.coding is not None:
            found["Content-Encoding"] = self.coding
        if isinstance(self.content, Path):
            found["Content-Length"] = str(self.content.stat().st_size)
        return found

    def sent(self) -> bytes | AsyncIterable[bytes]:
        """The bytes, from the first on."""
        return _parts(self.content) if isinstance(self.content, Path) else self.content


Request = Mapping[str, Any] | Body


def body_of(request: Request) -> Body:
    """The body of an export request.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """
    return request if isinstance(request, Body) else Body(_json(request).encode(), JSON)


def asks_for_job(request: Request) -> bool:
    """Whether the service makes a job of it, whatever it is asked for."""
    options = request.options if isinstance(request, Body) else request
    return any(options.get(name) is not None for name in ("callback_url", "deliver"))


def _json(request: Mapping[str, Any]) -> str:
    return json.dumps(request, allow_nan=False)


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, READ_BYTES):
            yield part
