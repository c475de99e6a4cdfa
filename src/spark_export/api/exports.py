"""POST and GET /export, the datasets, and the receipts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from spark_export.access import Caller
from spark_export.api.callers import Callers
from spark_export.api.ids import request_id_of
from spark_export.api.negotiation import FORMATS_BY_MEDIA_TYPE
from spark_export.api.problems import problem_responses
from spark_export.api.refusals import refuse, tell_left
from spark_export.api.requests import choose_coding, choose_format, read_body
from spark_export.api.streaming import ExportResponse
from spark_export.errors import AdmissionError, RequestError, UnknownExport, UnsupportedMediaType
from spark_export.factory import Service
from spark_export.job import Job, new_id
from spark_export.model import ExportRequest, Format
from spark_export.outcome import Outcome
from spark_export.parsing import check_origin, join_request, json_object, parse_request, split_rows
from spark_export.sources.base import Dataset
from spark_export.sources.parameters import Parameter

router = APIRouter()

RECEIPTS_SHOWN = 100

FILE = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in FORMATS_BY_MEDIA_TYPE}
RESPONSES = {200: {"description": "The file, streamed.", "content": FILE}} | problem_responses(
    *(400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)
)


class ExportBody(ExportRequest):
    """The JSON body of `POST /export`: an export request, with its rows where no dataset is named."""

    rows: list[dict[str, Any]] | list[list[Any]] | None = None


class ColumnInfo(BaseModel):
    """A column of a dataset."""

    name: str
    type: str


class DatasetInfo(BaseModel):
    """A dataset that can be exported."""

    name: str
    description: str
    parameters: list[Parameter]


class DatasetDetail(DatasetInfo):
    """A dataset with its columns; types are Arrow's."""

    columns: list[ColumnInfo]


def service_of(request: Request) -> Service:
    """The service behind the application."""
    found: Service = request.app.state.service
    return found


def caller_of(request: Request) -> Caller:
    """Who asks.

    Raises:
        Unauthorized: nobody with a key, where one is needed.
    """
    callers: Callers = request.app.state.callers
    return callers.caller_of(request.scope)


BODY_SCHEMA = ExportBody.model_json_schema(ref_template="#/components/schemas/{model}")
BODY_DEFINITIONS = BODY_SCHEMA.pop("$defs")
BODY_SCHEMA["oneOf"] = [{"required": ["rows"]}, {"required": ["dataset"]}]


@router.post(
    "/export",
    summary="Export rows or a dataset",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": BODY_SCHEMA}}}},
)
async def post_export(request: Request) -> Response:
    """The file of the rows in the body, or of the dataset that it names, streamed while it is made."""
    return await _respond(request, lambda caller: _job_of_body(request, caller))


@router.get("/export", summary="Export a dataset by a plain link", response_class=Response, responses=RESPONSES)
async def get_export(
    request: Request,
    dataset: Annotated[str, Query(description="Name of the dataset.")],
    format: Annotated[Format | None, Query(description="Of the file; what Accept prefers unless given.")] = None,  # noqa: A002
    columns: Annotated[str | None, Query(description="Columns, comma-separated.")] = None,
    order_by: Annotated[
        str | None, Query(description="Columns, comma-separated; `-` before one that descends.")
    ] = None,
    limit: Annotated[int | None, Query(ge=0, description="At most so many rows.")] = None,
    filename: Annotated[str | None, Query(description="Name of the download.")] = None,
    timezone: Annotated[str | None, Query(description="IANA time zone.")] = None,
    title: Annotated[str | None, Query(description="Title of the PDF.")] = None,
    params: Annotated[str | None, Query(description='Parameters as a JSON object: `{"rows": 100}`.')] = None,
    options: Annotated[
        str | None, Query(description="A whole export request as JSON; the fields above go first.")
    ] = None,
) -> Response:
    """The file of a dataset, streamed while it is made."""
    given = {
        "dataset": dataset,
        "format": format.value if format is not None else None,
        "columns": columns.split(",") if columns is not None else None,
        "order_by": order_by.split(",") if order_by is not None else None,
        "limit": limit,
        "filename": filename,
        "timezone": timezone,
    }
    return await _respond(request, lambda caller: _job_of_link(request, caller, given, title, params, options))


@router.get("/datasets", responses=problem_responses(401, 503))
async def list_datasets(request: Request) -> list[DatasetInfo]:
    """What can be exported by name."""
    caller = caller_of(request)
    return [DatasetInfo(**_info(each)) for each in service_of(request).datasets.values() if caller.may_see(each.name)]


@router.get("/datasets/{name}", responses=problem_responses(401, 403, 404, 422, 500, 503))
async def show_dataset(request: Request, name: Annotated[str, Path(max_length=200)]) -> DatasetDetail:
    """A dataset's columns and parameters."""
    caller = caller_of(request)
    caller.check(name)
    dataset = service_of(request).dataset(name)
    schema = await service_of(request).schema(dataset, caller.columns.get(name))
    columns = [ColumnInfo(name=field.name, type=str(field.type)) for field in schema]
    return DatasetDetail(**_info(dataset), columns=columns)


@router.get("/exports", responses=problem_responses(401, 422))
async def list_receipts(
    request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = RECEIPTS_SHOWN
) -> list[Outcome]:
    """The latest receipts of the caller's exports, newest first."""
    caller = caller_of(request).name
    return service_of(request).receipts.latest(caller, limit)


@router.get("/exports/{export_id}", responses=problem_responses(401, 404, 422))
async def show_receipt(request: Request, export_id: Annotated[str, Path(max_length=200)]) -> Outcome:
    """What came of an export: rows, bytes, SHA-256 and state."""
    caller = caller_of(request).name
    outcome = service_of(request).receipts.get(export_id)
    if outcome is None or outcome.caller != caller:
        raise UnknownExport("no receipt of that id: it never was, still runs, or is forgotten", field="export_id")
    return outcome


def _info(dataset: Dataset) -> dict[str, Any]:
    return {"name": dataset.name, "description": dataset.description, "parameters": list(dataset.parameters)}


async def _respond(request: Request, read: Callable[[Caller], Awaitable[Job]]) -> Response:
    """The export, or the problem with its request, which counts as an export too."""
    service, caller = service_of(request), caller_of(request)
    try:
        job = await read(caller)
    except (RequestError, AdmissionError) as error:
        return refuse(service, request.scope, caller.name, error)
    except ClientDisconnect:
        tell_left(service, request.scope, caller.name)
        return Response()
    return ExportResponse(service.exporter, job, service.settings.min_client_bytes_per_second)


async def _job_of_body(request: Request, caller: Caller) -> Job:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(f"{media_type!r} is not read; send application/json", field="Content-Type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("the body must come without content coding", field="Content-Encoding")
    service = service_of(request)
    settings = service.settings
    body = await read_body(
        request, settings.max_body_bytes, settings.min_client_bytes_per_second, service.gate.check_memory
    )
    rows, rest = split_rows(body)
    export_request = parse_request(rest)
    check_origin(export_request, rows)
    return _job(request, caller, export_request, rows)


async def _job_of_link(
    request: Request,
    caller: Caller,
    given: Mapping[str, Any],
    title: str | None,
    params: str | None,
    options: str | None,
) -> Job:
    asked = json_object("options", options)
    if params is not None:
        asked["params"] = json_object("params", params)
    return _job(request, caller, join_request(asked, given, title), None)


def _job(request: Request, caller: Caller, export_request: ExportRequest, rows: memoryview | None) -> Job:
    if export_request.dataset is not None:
        caller.check(export_request.dataset)
    service = service_of(request)
    accept = request.headers.get("accept")
    return Job(
        export_id=new_id(),
        request_id=request_id_of(request.scope),
        caller=caller,
        request=export_request,
        file_format=choose_format(export_request, accept),
        table=lambda: service.table(export_request, rows),
        coding=choose_coding(request.headers.get("accept-encoding")),
    )
