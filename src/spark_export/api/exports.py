"""POST and GET /export."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from spark_export.access import Caller
from spark_export.api.bodies import BODY_KINDS, JSON, check_duplex, coding_of, form_of, media_type_of
from spark_export.api.ids import request_id_of
from spark_export.api.links import BodyQuery, Link, check_query
from spark_export.api.negotiation import FORMATS_BY_MEDIA_TYPE
from spark_export.api.preferences import Preferences
from spark_export.api.problems import problem_responses
from spark_export.api.refusals import refuse, tell_left
from spark_export.api.requests import Bounds, choose_coding, choose_format, read_body
from spark_export.api.state import caller_of, jobs_of, service_of
from spark_export.api.streaming import ExportResponse
from spark_export.api.submission import Submission, answer_under_key
from spark_export.api.uploads import UploadResponse, answer_duplex
from spark_export.errors import ExportError, InvalidField, UnsupportedMediaType
from spark_export.export import Plan, new_id
from spark_export.jobs.keys import FIELD
from spark_export.jobs.receipt import Receipt
from spark_export.model import ExportRequest
from spark_export.parsing import (
    check_no_job,
    check_origin,
    check_upload,
    parse_request,
    split_rows,
)
from spark_export.service import Service
from spark_export.sources.base import Table

router = APIRouter()

FILE = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in FORMATS_BY_MEDIA_TYPE}
RESPONSES = {200: {"description": "The file, streamed.", "content": FILE}} | problem_responses(
    *(400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)
)
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": Receipt, "description": "A job: `Location` has its receipt, `Retry-After` when to look."}
}
RECEIPT = {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}}
DONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, or the receipt of one that was delivered in time.", "content": FILE | RECEIPT}
}
POST_RESPONSES = RESPONSES | DONE | ACCEPTED | problem_responses(409, 410, 502)
PREFERENCES = [
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "`respond-async` makes a job of it, `respond-async, wait=5` where it takes longer than that.",
    },
    {
        "name": FIELD,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "The same key with the same request has the same answer.",
    },
]


class ExportBody(ExportRequest):
    """The JSON body of `POST /export`: an export request, with its rows where no dataset is named."""

    rows: list[dict[str, Any]] | list[list[Any]] | None = None


BODY_SCHEMA = ExportBody.model_json_schema(ref_template="#/components/schemas/{model}")
BODY_DEFINITIONS = BODY_SCHEMA.pop("$defs")
BODY_SCHEMA["oneOf"] = [{"required": ["rows"]}, {"required": ["dataset"]}]
ROWS = {"schema": {"type": "string", "format": "binary", "description": "The rows."}}
BODIES = {JSON: {"schema": BODY_SCHEMA}} | dict.fromkeys(BODY_KINDS, ROWS)


@router.post(
    "/export",
    summary="Export rows or a dataset",
    response_class=Response,
    responses=POST_RESPONSES,
    openapi_extra={"parameters": PREFERENCES, "requestBody": {"required": True, "content": BODIES}},
)
async def post_export(
    request: Request, link: Annotated[Link, Depends()], query: Annotated[BodyQuery, Depends()]
) -> Response:
    """The file of the rows in the body, or of the dataset that it names, streamed while it is made.

    The query's parameters are for bodies that are rows; a JSON body has fields for them.
    """
    return await _respond(request, lambda caller: _answer_body(request, caller, link, query))


@router.get("/export", summary="Export a dataset by a plain link", response_class=Response, responses=RESPONSES)
async def get_export(
    request: Request,
    link: Annotated[Link, Depends()],
    dataset: Annotated[str, Query(description="Name of the dataset.")],
    params: Annotated[str | None, Query(description='Parameters as a JSON object: `{"rows": 100}`.')] = None,
) -> Response:
    """The file of a dataset, streamed while it is made."""
    return await _respond(request, lambda caller: _answer_link(request, caller, link, dataset, params))


async def _respond(request: Request, answer: Callable[[Caller], Awaitable[Response]]) -> Response:
    """The answer, or the problem with its request, which counts as an export too."""
    service, caller = service_of(request), caller_of(request)
    try:
        check_query(request)
        return await answer(caller)
    except ExportError as error:
        return refuse(service, request.scope, caller.name, error)
    except ClientDisconnect:
        tell_left(service, request.scope, caller.name)
        return Response()


async def _answer_body(request: Request, caller: Caller, link: Link, query: BodyQuery) -> Response:
    submission = Submission(
        service_of(request), jobs_of(request), request, caller, Preferences.from_headers(request.headers)
    )
    if submission.preferences.key is None:
        return await _answer_submission(submission, link, query)
    return await answer_under_key(submission, lambda: _answer_submission(submission, link, query))


async def _answer_submission(submission: Submission, link: Link, query: BodyQuery) -> Response:
    request, service = submission.request, submission.service
    media_type = media_type_of(request)
    if media_type == JSON:
        if link != Link() or query != BodyQuery():
            raise InvalidField("parameters in the query are for a body that is rows; give fields in the JSON",
                               field="query")  # fmt: skip
        return await _answer_json(submission)
    if media_type not in BODY_KINDS:
        known = ", ".join([JSON, *BODY_KINDS])
        raise UnsupportedMediaType(f"{media_type!r} is not read; send one of {known}", field="Content-Type")
    export_request = link.request()
    check_upload(export_request)
    form = form_of(request, export_request, query.delimiter, query.quote, service.settings.max_upload_bytes)

    def make_plan(table: Callable[[], Table]) -> Plan:
        return _plan(request, submission.caller, export_request, table, untyped=form.kind == "csv")

    make_plan(_no_table)  # what the head alone makes impossible is refused before the body is read
    if query.duplex:
        check_duplex(form, export_request)
        submission.check_duplex()
        return answer_duplex(service, request, form, make_plan)

    def answer(body: FilePath) -> Awaitable[Response]:
        table = service.upload(body, form)
        return submission.answer(make_plan(lambda: table), form, body)

    return UploadResponse(service, request, submission.caller, answer)


def _no_table() -> Table:
    raise NotImplementedError


async def _answer_json(submission: Submission) -> Response:
    request, service, caller = submission.request, submission.service, submission.caller
    if coding_of(request) is not None:
        raise UnsupportedMediaType("a JSON body must come without content coding", field="Content-Encoding")
    settings = service.settings
    bounds = Bounds(
        settings.max_body_bytes, "MAX_BODY_BYTES", settings.min_client_bytes_per_second, service.gate.check_memory
    )
    rows, rest = split_rows(await read_body(request, bounds))
    export_request = parse_request(rest)
    check_origin(export_request, rows)
    plan = _dataset_plan(service, request, caller, export_request, rows)
    return await submission.answer(plan, None, rows)


async def _answer_link(request: Request, caller: Caller, link: Link, dataset: str, params: str | None) -> Response:
    service, export_request = service_of(request), link.of_dataset(dataset, params)
    check_no_job(export_request)
    plan = _dataset_plan(service, request, caller, export_request, None)
    return ExportResponse(service.exporter, plan, service.settings.min_client_bytes_per_second)


def _dataset_plan(
    service: Service, request: Request, caller: Caller, export_request: ExportRequest, rows: memoryview | None
) -> Plan:
    """The export of a dataset that the caller may see, or of rows."""
    if export_request.dataset is not None:
        caller.check(export_request.dataset)
    return _plan(request, caller, export_request, lambda: service.table(export_request, rows))


def _plan(
    request: Request,
    caller: Caller,
    export_request: ExportRequest,
    table: Callable[[], Table],
    *,
    untyped: bool = False,
) -> Plan:
    return Plan(
        export_id=new_id(),
        request_id=request_id_of(request.scope),
        caller=caller,
        request=export_request,
        file_format=choose_format(export_request, request.headers.get("accept")),
        table=table,
        coding=choose_coding(request.headers.get("accept-encoding")),
        untyped=untyped,
    )
