"""Reads what HTTP says of a request: its body, the format and the coding that the client accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request

from spark_export.api.negotiation import FORMATS_BY_MEDIA_TYPE, accepts_format, preferred
from spark_export.api.pace import GRACE_SECONDS, Pace
from spark_export.errors import BodyTooLarge, BodyTooSlow, NotAcceptable
from spark_export.model import ExportRequest, Format
from spark_export.parsing import OPTIONS_BYTES_MOST
from spark_export.writers.compression import CODINGS

Check = Callable[[], None]


async def read_body(request: Request, most: int | None, least_per_second: int | None, check: Check) -> bytes:
    """The whole body.

    Args:
        request: whose.
        most: bytes; None for any number.
        least_per_second: bytes; None for any speed.
        check: asked after each part of a large one whether there is memory for more.

    Raises:
        BodyTooLarge: it is longer than allowed; no more than that is read.
        BodyTooSlow: it comes slower than that for too long.
        MemoryFull: out of `check`.
    """
    declared = request.headers.get("content-length", "")
    if most is not None and declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    body, pace, loop = bytearray(), Pace(least_per_second), asyncio.get_running_loop()
    parts, now = aiter(request.stream()), loop.time()
    while True:
        try:
            async with asyncio.timeout(GRACE_SECONDS if least_per_second is not None else None):
                chunk = await anext(parts, None)
        except TimeoutError:
            raise _too_slow(least_per_second) from None
        if chunk is None:
            return bytes(body)
        body += chunk
        if most is not None and len(body) > most:
            raise _too_large(most)
        if len(body) > OPTIONS_BYTES_MOST:  # what is smaller holds no rows worth speaking of, and may wait for memory
            check()
        before, now = now, loop.time()
        if not pace.is_kept(now - before, len(chunk)):
            raise _too_slow(least_per_second)


def _too_slow(least_per_second: int | None) -> BodyTooSlow:
    return BodyTooSlow(
        f"the body came slower than the {least_per_second} bytes a second of MIN_CLIENT_BYTES_PER_SECOND",
        field="MIN_CLIENT_BYTES_PER_SECOND",
    )


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is longer than the {most} bytes that MAX_BODY_BYTES allows", field="MAX_BODY_BYTES")


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
