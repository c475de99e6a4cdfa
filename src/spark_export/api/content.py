"""Sends the file of a job, or a part of it, so that a broken download can go on where it broke."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from typing import Any

import aiofiles
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from spark_export.api.headers import file_headers, raw
from spark_export.api.ids import request_id_of
from spark_export.api.pace import open_pace
from spark_export.api.problems import problem_response
from spark_export.api.protocol import CONNECTION
from spark_export.api.ranges import check_match, is_known, range_of
from spark_export.api.streaming import body_of, broken_off, run_until_left, until_disconnect
from spark_export.errors import ContentExpired, ExportError, SinkError
from spark_export.jobs.jobs import Jobs
from spark_export.jobs.record import Record
from spark_export.logs import log_cause

PIECE_BYTES = 2**18
"""Read at once. Twenty ranges of 1 GB take 2.2 s and 6 MiB with it, with 1 MiB 2.4 s and 50 MiB."""


class ContentResponse(Response):
    """The file of a completed job.

    Args:
        jobs: that it is of.
        record: of the job.
        least_bytes_per_second: of the client; None for any.
        more: header fields beside its own.
        is_whole: whether it answers a request for no part of it, as a repeated `POST /export` is.
    """

    def __init__(
        self,
        jobs: Jobs,
        record: Record,
        least_bytes_per_second: int | None,
        more: Mapping[str, str] | None = None,
        *,
        is_whole: bool = False,
    ) -> None:
        super().__init__()
        self._jobs = jobs
        self._record = record
        self._least_bytes_per_second = least_bytes_per_second
        self._more = dict(more or {})
        self._is_whole = is_whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or stop when the client leaves."""
        with self._jobs.downloads.one():
            await run_until_left(self._send(scope, receive, send), until_disconnect(receive))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(self._record, self._jobs.now()) | self._more
        try:
            status, part = self._choose(scope["method"], Headers(scope=scope), headers)
            file = None if status == 304 else await self._open()
        except ExportError as error:
            log_cause(error, export_id=self._record.export_id, request_id=request_id_of(scope))
            response = problem_response(error, request_id_of(scope), self._record.export_id)
            await response(scope, receive, send)
            return
        size = self._record.file_bytes
        if status == 206:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        if status != 304:
            headers["Content-Length"] = str(len(part))
        try:
            await send({"type": "http.response.start", "status": status, "headers": raw(headers)})
            if file is not None and scope["method"] != "HEAD":
                await self._send_part(file, part, scope, send)
        finally:
            if file is not None:
                await file.close()
        await send(body_of(b"", more=False))

    def _choose(self, method: str, asked: Headers, headers: Mapping[str, str]) -> tuple[int, range]:
        """The status, and which bytes."""
        size = self._record.file_bytes
        if self._is_whole:
            return 200, range(size)
        tag, modified = headers["ETag"], headers["Last-Modified"]
        check_match(asked, tag, modified)
        if is_known(asked, tag, modified):
            return 304, range(0)
        # A range is for GET alone (RFC 9110 14.2).
        is_get = method == "GET"
        part = range_of(asked, size, tag, modified) if is_get else None
        return (200, range(size)) if part is None else (206, part)

    async def _open(self) -> Any:
        try:
            return await aiofiles.open(self._jobs.files.file(self._record.export_id), "rb", buffering=0)
        except FileNotFoundError:  # it went after it was found
            raise ContentExpired("the file is no longer kept; export it again", field="export_id") from None
        except OSError as error:
            raise SinkError("the file cannot be read; the log tells more", field="SPOOL_DIR") from error

    async def _send_part(self, file: Any, part: range, scope: Scope, send: Send) -> None:
        try:
            async with open_pace(scope.get(CONNECTION), self._least_bytes_per_second) as hand_over:
                async for piece in _iter_part(file, part):
                    hand_over(len(piece))
                    await send(body_of(piece))
        except Exception as error:
            raise broken_off(scope, error, self._record.export_id) from error


async def _iter_part(file: Any, part: range) -> AsyncIterator[bytes]:
    """The bytes of the part.

    Raises:
        EOFError: the file is shorter than it was.
    """
    await file.seek(part.start)
    left = len(part)
    while left:
        piece = await file.read(min(left, PIECE_BYTES))
        if not piece:
            raise EOFError(f"{left} bytes are missing")
        left -= len(piece)
        yield piece


def _headers(record: Record, now: float) -> dict[str, str]:
    """The file's header fields: its digest is its tag (RFC 9110 8.8.3, RFC 9530 3)."""
    order, outcome, media_type = record.order, record.outcome, record.media_type or "application/octet-stream"
    sha256 = (outcome.sha256 if outcome is not None else None) or ""
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    truncated = outcome is not None and outcome.truncated
    return file_headers(record.export_id, media_type, order.request, order.file_format, truncated=truncated) | {
        "Accept-Ranges": "bytes",
        "ETag": f'"{sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        # Not later than Date (RFC 9110 8.8.2.1), which uvicorn makes once a second.
        "Last-Modified": formatdate(int(min(record.ended_at or 1, now)) - 1, usegmt=True),
    }
