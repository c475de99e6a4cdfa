"""The receipts of exports, and the files of jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from spark_export.api.content import ContentResponse
from spark_export.api.exports import FILE
from spark_export.api.headers import raw
from spark_export.api.links import check_query
from spark_export.api.pace import open_pace
from spark_export.api.problems import problem_responses
from spark_export.api.protocol import CONNECTION
from spark_export.api.state import caller_of, jobs_of, service_of
from spark_export.api.streaming import body_of, broken_off, run_until_left, until_disconnect
from spark_export.api.submission import is_final, poll_seconds
from spark_export.errors import ExportError, InvalidField, UnknownExport
from spark_export.jobs.jobs import Jobs, place_of
from spark_export.jobs.receipt import RECEIPTS, Receipt

router = APIRouter(dependencies=[Depends(check_query)])
LISTS = TypeAdapter(list[Receipt])

RECEIPTS_SHOWN = 100
NEWEST = (float("inf"), "")
"""Before which every receipt stands."""

LOOK_SECONDS = 0.5
QUIET_SECONDS = 15.0
"""After which a comment tells the proxies in between that the connection lives."""

Responses = dict[int | str, dict[str, Any]]
ExportId = Annotated[str, Path(max_length=200)]

CONTENT_RESPONSES: Responses = {
    200: {"description": "The file.", "content": FILE},
    206: {"description": "A part of the file.", "content": FILE},
    304: {"description": "The client has the file."},
    **problem_responses(401, 404, 409, 410, 412, 416, 422, 503),
}
EVENT = {
    "type": "object",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string", "description": "The state."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Receipt"},
        },
    },
}
EVENTS_RESPONSES: Responses = {
    200: {"description": "Events, each with a receipt.", "content": {"text/event-stream": {"schema": EVENT}}},
    204: {"description": "The last one was sent before."},
    **problem_responses(401, 404, 422, 503),
}


@router.get("/exports", response_model=list[Receipt], responses=problem_responses(401, 422, 503))
async def list_receipts(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = RECEIPTS_SHOWN,
    before: Annotated[
        str | None, Query(max_length=300, description="Older ones than that: as the `next` link of a page has it.")
    ] = None,
) -> Response:
    """The caller's receipts, newest first; the `Link` field has the next page (RFC 8288)."""
    caller = caller_of(request).name
    found = await jobs_of(request).page(caller, NEWEST if before is None else _cursor(before), limit)
    headers = {"Cache-Control": "no-store"}
    if len(found) == limit:
        at, export_id = place_of(found[-1])
        headers["Link"] = f'</exports?limit={limit}&before={at!r}_{export_id}>; rel="next"'
    return Response(LISTS.dump_json(found), headers=headers, media_type="application/json")


@router.head("/exports/{export_id}", response_class=Response, include_in_schema=False)
@router.get("/exports/{export_id}", response_model=Receipt, responses=problem_responses(401, 404, 422, 503))
async def show_receipt(request: Request, export_id: ExportId) -> Response:
    """What came of an export, or how far a job has come: state, rows, bytes, SHA-256, place in the queue."""
    receipt = await jobs_of(request).receipt(caller_of(request).name, export_id)
    headers = {"Cache-Control": "no-store"}
    if not is_final(receipt):
        headers["Retry-After"] = str(poll_seconds(receipt))
    return Response(RECEIPTS.dump_json(receipt), headers=headers, media_type="application/json")


@router.delete("/exports/{export_id}", status_code=204, responses=problem_responses(401, 404, 422, 503))
async def remove_export(request: Request, export_id: ExportId) -> Response:
    """Cancel a job that has not ended; remove the receipt and the file of what has."""
    await jobs_of(request).remove(caller_of(request).name, export_id)
    return Response(status_code=204)


@router.head("/exports/{export_id}/content", response_class=Response, include_in_schema=False)
@router.get("/exports/{export_id}/content", response_class=Response, responses=CONTENT_RESPONSES)
async def fetch_content(request: Request, export_id: ExportId) -> Response:
    """The file of a completed job, or the part of it that `Range` asks for."""
    jobs = jobs_of(request)
    record = await jobs.content(caller_of(request).name, export_id)
    return ContentResponse(jobs, record, service_of(request).settings.min_client_bytes_per_second)


@router.get(
    "/exports/{export_id}/events",
    response_class=Response,
    responses=EVENTS_RESPONSES,
)
async def watch_export(request: Request, export_id: ExportId) -> Response:
    """The receipt as server-sent events: whenever it has changed, until the export has ended."""
    jobs, caller = jobs_of(request), caller_of(request).name
    receipt = await jobs.receipt(caller, export_id)
    if is_final(receipt) and request.headers.get("last-event-id") == receipt.state.value:
        return Response(status_code=204)  # an EventSource comes again until it is told not to
    return EventsResponse(jobs, caller, export_id, service_of(request).settings.min_client_bytes_per_second)


class EventsResponse(Response):
    """Sends a receipt whenever it has changed (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Args:
        jobs: that are asked.
        caller: who looks.
        export_id: at which.
        least_bytes_per_second: of the client, where there is something for it; None for any.
    """

    def __init__(self, jobs: Jobs, caller: str, export_id: str, least_bytes_per_second: int | None) -> None:
        super().__init__()
        self._least_bytes_per_second = least_bytes_per_second
        self._jobs = jobs
        self._caller = caller
        self._export_id = export_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, until the export has ended, the client has left or does not read them, or the service drains."""
        await run_until_left(self._send(scope, send), until_disconnect(receive))

    async def _send(self, scope: Scope, send: Send) -> None:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        await send({"type": "http.response.start", "status": 200, "headers": raw(headers)})
        try:
            async with (
                open_pace(scope.get(CONNECTION), self._least_bytes_per_second) as hand_over,
                aclosing(self._iter_events()) as events,
            ):
                async for event in events:
                    hand_over(len(event))
                    await send(body_of(event))
        except ExportError as error:
            raise broken_off(scope, error, self._export_id) from error
        await send(body_of(b"", more=False))

    async def _iter_events(self) -> AsyncGenerator[bytes, None]:
        shown, quiet_seconds, is_ended = None, 0.0, False
        while not is_ended:
            try:
                receipt = await self._jobs.receipt(self._caller, self._export_id)
            except UnknownExport:  # it was removed meanwhile
                return
            is_ended = is_final(receipt)
            seen = replace(receipt, seconds=0.0, queued_seconds=0.0)  # time goes by whatever happens
            if seen != shown:
                yield b"id: %s\ndata: %s\n\n" % (receipt.state.value.encode(), RECEIPTS.dump_json(receipt))
                shown, quiet_seconds = seen, 0.0
            elif quiet_seconds >= QUIET_SECONDS:
                yield b": still here\n\n"
                quiet_seconds = 0.0
            if self._jobs.draining:  # else the watcher would hold up the end of the process, and be cut off by it
                return
            if not is_ended:
                await self._jobs.until_ended(self._export_id, LOOK_SECONDS)
                quiet_seconds += LOOK_SECONDS


def _cursor(text: str) -> tuple[float, str]:
    at, _, export_id = text.partition("_")
    with suppress(ValueError):
        if isfinite(float(at)):
            return float(at), export_id
    raise InvalidField("before is what the `next` link of a page has", field="before")
