"""POST /export with a body that is the rows: it goes to a file as it arrives, and the export streams from that.

Nothing is sent before the body is whole, so that a client that writes all before it reads anything is served as well.
No slot is held meanwhile: a client that sends slowly costs a file, not a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import aiofiles
from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from spark_export.access import Caller
from spark_export.api.refusals import refuse, tell_left
from spark_export.api.requests import Bounds, iter_body
from spark_export.api.streaming import ExportResponse, until_disconnect
from spark_export.errors import ExportError, RequestError
from spark_export.export import Plan
from spark_export.service import Service
from spark_export.sources.base import Table
from spark_export.sources.upload.pipe import Pipe
from spark_export.sources.upload.table import BodyForm
from spark_export.spool import open_request_folder, storing_rows

BODY = "body"
"""Name of the file in the folder that a request has of its own."""
WRITE_BYTES = 2**20
"""Written at once: each write is a call in a thread."""


class UploadResponse(Response):
    """Takes in a body, then makes and sends the export of it; its file is gone when that ends, however it ends.

    Args:
        service: makes it.
        request: whose body it is.
        caller: who asks.
        answer: what is answered to the body in a file, which may be taken away.
    """

    def __init__(
        self, service: Service, request: Request, caller: Caller, answer: Callable[[Path], Awaitable[Response]]
    ) -> None:
        super().__init__()
        self._service = service
        self._request = request
        self._caller = caller
        self._answer_body = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take it in, and answer."""
        async with AsyncExitStack() as stack:
            answer = await self._answer(scope, stack)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, stack: AsyncExitStack) -> Response:
        service = self._service
        try:
            body = await stack.enter_async_context(open_request_folder(service.spool)) / BODY
            await self._take_in(body)
            return await self._answer_body(body)
        except ExportError as error:
            return refuse(service, scope, self._caller.name, error)
        except ClientDisconnect:
            tell_left(service, scope, self._caller.name)
            return Response()

    async def _take_in(self, body: Path) -> None:
        """Write the request's body to the file.

        Raises:
            BodyTooLarge, BodyTooSlow, MemoryFull: as of `iter_body`.
            QueueFull: as many bodies are on their way as could be exported.
            SourceUnavailable: the file cannot be written.
        """
        service = self._service
        settings = service.settings
        bounds = Bounds(
            settings.max_upload_bytes,
            "MAX_UPLOAD_BYTES",
            settings.min_client_bytes_per_second,
            service.gate.check_memory,
        )
        with service.gate.count_arrival(), storing_rows():
            await _write(self._request, bounds, body)


def answer_duplex(
    service: Service, request: Request, form: BodyForm, make_plan: Callable[[Callable[[], Table]], Plan]
) -> Response:
    """The export of a body, made and sent while it comes; neither side is ahead of the other by more than some buffers.

    Args:
        service: makes it.
        request: whose body it is.
        form: what the body is said to be.
        make_plan: the export of a table.
    """
    settings = service.settings
    least = settings.min_client_bytes_per_second
    bounds = Bounds(settings.max_upload_bytes, "MAX_UPLOAD_BYTES", least, lambda: None)
    bounds.check_declared(request)
    pipe = Pipe(asyncio.get_running_loop())
    table = service.duplex(pipe, form)

    async def take_in(receive: Receive) -> None:
        try:
            async with aclosing(iter_body(request, bounds)) as parts:
                async for part in parts:
                    await pipe.give(part)
            pipe.end()
        except RequestError as error:
            pipe.end(error)
        except ClientDisconnect:
            return
        await until_disconnect(receive)

    return ExportResponse(service.exporter, make_plan(lambda: table), least, take_in)


async def _write(request: Request, bounds: Bounds, body: Path) -> None:
    held = bytearray()
    async with aiofiles.open(body, "wb") as file, aclosing(iter_body(request, bounds)) as parts:
        async for part in parts:
            held += part
            if len(held) >= WRITE_BYTES:
                await file.write(bytes(held))
                held.clear()
        await file.write(bytes(held))
