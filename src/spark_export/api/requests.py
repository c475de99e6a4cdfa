"""Reads what HTTP says of a request: its body, the format and the coding that the client accepts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import Request

from spark_export.api.negotiation import FORMATS_BY_MEDIA_TYPE, accepts_format, preferred
from spark_export.api.pace import GRACE_SECONDS, Pace
from spark_export.errors import BodyTooLarge, BodyTooSlow, NotAcceptable
from spark_export.model import ExportRequest, Format
from spark_export.parsing import OPTIONS_BYTES_MOST
from spark_export.writers.compression import CODINGS

Check = Callable[[], None]


@dataclass(frozen=True)
class Bounds:
    """What a body is held to.

    Attributes:
        most_bytes: of it; None for any number.
        setting: that says so.
        least_per_second: bytes; None for any speed.
        check: asked after each part of a large one whether there is memory for more.
    """

    most_bytes: int | None
    setting: str
    least_per_second: int | None
    check: Check

    def check_declared(self, request: Request) -> None:
        """Refuse what is said to be too long before any of it is read.

        Raises:
            BodyTooLarge: it is.
        """
        declared = request.headers.get("content-length", "")
        if self.most_bytes is not None and declared.isdigit() and int(declared) > self.most_bytes:
            raise self.too_large()

    def too_large(self) -> BodyTooLarge:
        """What a caller is told whose body is too long."""
        detail = f"the body is longer than the {self.most_bytes} bytes that {self.setting} allows"
        return BodyTooLarge(detail, field=self.setting)

    def too_slow(self) -> BodyTooSlow:
        """What a caller is told whose body comes too slowly."""
        detail = f"the body came slower than the {self.least_per_second} bytes a second of MIN_CLIENT_BYTES_PER_SECOND"
        return BodyTooSlow(detail, field="MIN_CLIENT_BYTES_PER_SECOND")


async def read_body(request: Request, bounds: Bounds) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge, BodyTooSlow, MemoryFull: as of `iter_body`.
    """
    body = bytearray()
    async with aclosing(iter_body(request, bounds)) as parts:
        async for part in parts:
            body += part
    return bytes(body)


async def iter_body(request: Request, bounds: Bounds) -> AsyncGenerator[bytes, None]:
    """The body, in the parts in which it comes; time in which nobody asks for the next part does not count.

    Raises:
        BodyTooLarge: it is longer than allowed; no more than that is read.
        BodyTooSlow: it comes slower than that for too long.
        MemoryFull: out of `bounds.check`.
    """
    bounds.check_declared(request)
    size, pace, loop = 0, Pace(bounds.least_per_second), asyncio.get_running_loop()
    parts = aiter(request.stream())
    while True:
        asked_at = loop.time()
        try:
            async with asyncio.timeout(GRACE_SECONDS if bounds.least_per_second is not None else None):
                part = await anext(parts, None)
        except TimeoutError:
            raise bounds.too_slow() from None
        if part is None:
            return
        size += len(part)
        if bounds.most_bytes is not None and size > bounds.most_bytes:
            raise bounds.too_large()
        if size > OPTIONS_BYTES_MOST:  # what is smaller holds no rows worth speaking of, and may wait for memory
            bounds.check()
        if not pace.is_kept(loop.time() - asked_at, len(part)):
            raise bounds.too_slow()
        yield part


def choose_format(export_request: ExportRequest, accept: str | None) -> Format:
    """The request's format, else what the Accept header likes best, CSV before PDF.

    Raises:
        NotAcceptable: the Accept header rules it out.
    """
    if export_request.format is not None and accepts_format(accept, export_request.format):
        return export_request.format
    best = preferred(accept, list(FORMATS_BY_MEDIA_TYPE)) if export_request.format is None else None
    if best is None:
        offers = " or ".join(FORMATS_BY_MEDIA_TYPE)
        raise NotAcceptable(f"the Accept header must allow the file's type: {offers}", field="Accept")
    return FORMATS_BY_MEDIA_TYPE[best]


def choose_coding(accept_encoding: str | None) -> str | None:
    """The content coding that the client likes best; none where it asks for none."""
    best = preferred(accept_encoding or "identity", [*CODINGS, "identity"])
    return best if best in CODINGS else None
