"""Sends an export: one scope around admission, source, writer and the sending itself.

Starlette's StreamingResponse does not close its body, and a client that leaves before the first chunk leaves a
generator that never starts; hence a response of our own. What fails before the first chunk is a problem with a status;
what fails after it breaks the connection, so that no client takes the file for whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from logging import LogRecord
from typing import Any

from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from spark_export.api.headers import file_headers, raw
from spark_export.api.ids import request_id_of
from spark_export.api.pace import open_pace
from spark_export.api.problems import BrokenExport, problem_response, quota_headers
from spark_export.api.protocol import CONNECTION, LINGER_SECONDS, BoundedProtocol
from spark_export.errors import ClientTooSlow, ExportError
from spark_export.export import Export, Plan
from spark_export.jobs.kept import KeptStream
from spark_export.jobs.writing import Writing
from spark_export.logs import log_cause
from spark_export.pipeline import Exporter
from spark_export.writers.base import Chunk


def drop_broken_exports(record: LogRecord) -> bool:
    """A filter for the server's log: its traceback of a broken export says nothing that the outcome does not."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenExport))


class ExportResponse(Response):
    """Makes and sends one export.

    Args:
        exporter: opens it.
        plan: what to make.
        least_bytes_per_second: of the client; None for any.
        until_left: takes what the client still sends, and returns when it has left.
        keeping: keeps the file besides; None for no.
    """

    def __init__(
        self,
        exporter: Exporter,
        plan: Plan,
        least_bytes_per_second: int | None,
        until_left: Callable[[Receive], Coroutine[Any, Any, None]] | None = None,
        keeping: KeptStream | None = None,
    ) -> None:
        super().__init__()
        self._until_left = until_left or until_disconnect
        self._exporter = exporter
        self._plan = plan
        self._least_bytes_per_second = least_bytes_per_second
        self._keeping = keeping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or stop making it when the client leaves."""
        await run_until_left(self._send(scope, receive, send), self._until_left(receive))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = is_made = False
        try:
            async with self._exporter.open(self._plan) as export, self._open_file() as file:
                await send({"type": "http.response.start", "status": 200, "headers": raw(_headers(export))})
                started = True
                async with open_pace(scope.get(CONNECTION), self._least_bytes_per_second) as hand_over:
                    async for chunk in export.body:
                        if file is not None:
                            await file.write(chunk)
                        hand_over(len(chunk))
                        await send(body_of(chunk))
                    # Waits until all but some kilobytes is with the client: what is unread counts against the slot.
                    await send(body_of(b""))
            is_made = True
            if self._keeping is not None:
                await self._keeping.keep(export.media_type)
        except Exception as error:
            if started:
                raise broken_off(scope, error, self._plan.export_id) from error
            if not isinstance(error, ExportError):
                raise
            log_cause(error, export_id=self._plan.export_id, request_id=self._plan.request_id)
            await problem_response(error, self._plan.request_id, self._plan.export_id)(scope, receive, send)
            return
        finally:
            if self._keeping is not None and not is_made:  # the file may have been whole before the export broke off
                await self._keeping.drop()
        # Only now is it sure that nothing failed, and the receipt is there before the client sees the end.
        await send(body_of(b"", more=False))

    def _open_file(self) -> AbstractAsyncContextManager[Writing | None]:
        return nullcontext() if self._keeping is None else self._keeping.open()


async def run_until_left(answer: Coroutine[Any, Any, None], left: Coroutine[Any, Any, None]) -> None:
    """Run what answers a request; cancel it when the client has left."""
    sending = asyncio.create_task(answer)
    leaving = asyncio.create_task(left)
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not sending.done():
            sending.cancel()
        await asyncio.wait({sending, leaving})
    if not sending.cancelled():
        sending.result()
    elif not leaving.cancelled():
        leaving.result()  # a bug in it is none of the client's


def body_of(chunk: Chunk, *, more: bool = True) -> Message:
    """The message that sends a piece of a body."""
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def broken_off(scope: Scope, error: Exception, export_id: str) -> BrokenExport:
    """What is to be raised where an answer that has begun fails; the cause is logged, and the connection ends."""
    log_cause(error, export_id=export_id, request_id=request_id_of(scope))
    _end_connection(scope.get(CONNECTION), error)
    return BrokenExport(export_id)


def _end_connection(connection: BoundedProtocol | None, error: Exception) -> None:
    """See to it that a broken answer does not wait for ever for its client to read what it was already given."""
    if connection is None:
        return
    if isinstance(error, ClientTooSlow):
        connection.reset()
    else:
        connection.reset_after(LINGER_SECONDS)


def _headers(export: Export) -> dict[str, str]:
    """The response's header fields."""
    plan = export.plan
    headers = file_headers(
        plan.export_id, export.media_type, plan.request, plan.file_format, truncated=export.truncated
    ) | {"Vary": "Accept, Accept-Encoding"}
    if export.coding is not None:
        headers["Content-Encoding"] = export.coding
    return headers | quota_headers(export.quota)


async def until_disconnect(receive: Receive) -> None:
    """Return when the client has left; what else it sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
