"""GET /datasets/{name}/preview: the first rows, before anything is exported.

A preview is admitted as an export is, but is none: it takes a token and a slot, keeps to the caller's columns and cap,
and is in the log; it has no receipt and no series counts it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from spark_export.access import Caller
from spark_export.api.datasets import ColumnInfo
from spark_export.api.ids import request_id_of
from spark_export.api.links import Link, check_query
from spark_export.api.problems import problem_response, problem_responses, quota_headers
from spark_export.api.state import caller_of, service_of
from spark_export.api.streaming import run_until_left, until_disconnect
from spark_export.errors import ExportError
from spark_export.logs import log_cause
from spark_export.model import ExportRequest
from spark_export.outcome import asked_of
from spark_export.parsing import check_no_job
from spark_export.preview import preview_json
from spark_export.service import Service
from spark_export.sources.selection import Selection

LOG = logging.getLogger("spark_export")

ROWS = 20
ROWS_MOST = 1000

router = APIRouter(dependencies=[Depends(check_query)])


class PreviewColumn(ColumnInfo):
    """A column of a preview, with the header that a file would have."""

    label: str


class Preview(BaseModel):
    """The first rows of a dataset: a value is JSON's own where that loses nothing, else the text of a file."""

    name: str
    columns: list[PreviewColumn]
    rows: list[list[str | int | float | bool | None]]
    more: bool


@router.get(
    "/datasets/{name}/preview",
    summary="The first rows of a dataset",
    response_model=Preview,
    responses=problem_responses(400, 401, 403, 404, 413, 422, 429, 500, 503, 504),
)
async def preview_dataset(
    request: Request,
    name: Annotated[str, Path(max_length=200)],
    limit: Annotated[int, Query(ge=1, le=ROWS_MOST, description="At most so many rows.")] = ROWS,
    columns: Annotated[str | None, Query(description="Columns, comma-separated.")] = None,
    order_by: Annotated[
        str | None, Query(description="Columns, comma-separated; `-` before one that descends.")
    ] = None,
    timezone: Annotated[str | None, Query(description="IANA time zone.")] = None,
    params: Annotated[str | None, Query(description='Parameters as a JSON object: `{"rows": 100}`.')] = None,
    options: Annotated[
        str | None, Query(description="A whole export request as JSON, `where` included; the fields above go first.")
    ] = None,
) -> Response:
    """The first rows, under the limits of an export."""
    caller = caller_of(request)
    caller.check(name)
    link = Link(columns=columns, order_by=order_by, limit=limit, timezone=timezone, options=options)
    export_request = link.of_dataset(name, params)
    check_no_job(export_request)
    return PreviewResponse(service_of(request), caller, export_request)


class PreviewResponse(Response):
    """Makes and sends one preview.

    Args:
        service: that makes it.
        caller: who asks.
        request: for what.
    """

    def __init__(self, service: Service, caller: Caller, request: ExportRequest) -> None:
        super().__init__()
        self._service = service
        self._caller = caller
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or stop making it when the client leaves."""
        await run_until_left(self._send(scope, receive, send), until_disconnect(receive))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope)
        try:
            response = await self._make(request_id)
        except ExportError as error:
            log_cause(error, export_id="", request_id=request_id)
            response = problem_response(error, request_id)
        await response(scope, receive, send)

    async def _make(self, request_id: str) -> Response:
        request, caller, exporter = self._request, self._caller, self._service.exporter
        rows = min(request.limit or ROWS, exporter.row_cap(caller) or ROWS_MOST)
        selection = Selection.from_request(request, caller.columns.get(request.dataset or ""))
        # One more tells whether there are more.
        one_more = replace(selection, limit=rows + 1)
        schema, sample, quota = await exporter.sample(
            caller, lambda: self._service.table(request, None), one_more, rows
        )
        loop = asyncio.get_running_loop()
        document = await loop.run_in_executor(self._service.readers, lambda: preview_json(request, schema, sample))
        _audit(request, caller, request_id, len(sample))
        headers = {"Cache-Control": "no-store"} | quota_headers(quota)
        return Response(document, headers=headers, media_type="application/json")


def _audit(request: ExportRequest, caller: Caller, request_id: str, rows: int) -> None:
    """Log who saw how many rows of what, as an export's outcome is."""
    seen = {"caller": caller.name, "address": caller.address, "dataset": request.dataset, "rows": rows}
    extra = {"action": "preview", "request_id": request_id, "asked": asked_of(request), **seen}
    LOG.info("preview of %s: %d rows", request.dataset, rows, extra=extra)
