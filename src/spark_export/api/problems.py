"""Errors as problem details (RFC 9457). The one table of HTTP status codes."""

from __future__ import annotations

import logging
from http import HTTPMethod, HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from spark_export import errors
from spark_export.admission.bucket import Quota
from spark_export.api.ids import request_id_of
from spark_export.logs import log_cause
from spark_export.outcome import Outcome
from spark_export.parsing import invalid_fields

LOG = logging.getLogger("spark_export")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:spark-export:problem:"
SPOOL_RETRY_SECONDS = 60
REGISTERED_TYPES = {"quota-exceeded": "https://iana.org/assignments/http-problem-types#quota-exceeded"}

STATUS: dict[type[errors.ExportError], HTTPStatus] = {
    errors.ExportError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.RequestError: HTTPStatus.BAD_REQUEST,
    errors.MalformedBody: HTTPStatus.BAD_REQUEST,
    errors.InvalidField: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownDataset: HTTPStatus.NOT_FOUND,
    errors.UnknownExport: HTTPStatus.NOT_FOUND,
    errors.NoContent: HTTPStatus.NOT_FOUND,
    errors.ContentNotReady: HTTPStatus.CONFLICT,
    errors.ContentExpired: HTTPStatus.GONE,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.KeyInUse: HTTPStatus.CONFLICT,
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.RowLimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Unencodable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.AdmissionError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.SourceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SourceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.SourceTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    errors.WriterError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SinkError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SpoolFull: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeliveryFailed: HTTPStatus.BAD_GATEWAY,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}


class BrokenExport(Exception):
    """An export broke after its headers. Raised to the server, which then closes the connection without the last chunk.

    The outcome has been told already: the server's own log line about it is dropped.
    """


class FieldProblem(BaseModel):
    """One field that must change."""

    field: str
    detail: str


class Problem(BaseModel):
    """A problem (RFC 9457 3): `type` is stable, `detail` is for people, `field` is what to change."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    export_id: str | None = None
    field: str | None = None
    errors: list[FieldProblem] | None = None


def status_of(kind: type[errors.ExportError]) -> HTTPStatus:
    """The status of the kind of error, or of the nearest kind above it that has one."""
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def problem_response(error: errors.ExportError, request_id: str, export_id: str | None = None) -> Response:
    """The error as a response."""
    more = error.more if isinstance(error, errors.InvalidField) else ()
    problem = _problem(
        type(error),
        detail=error.detail,
        request_id=request_id,
        export_id=export_id,
        field=error.field,
        errors=[FieldProblem(field=field, detail=detail) for field, detail in more] or None,
    )
    return _respond(problem, _headers(error))


def failure_response(outcome: Outcome, request_id: str) -> Response:
    """What came of an export that failed before its client waited for it in vain, as a response."""
    detail = outcome.detail or "internal error; the log tells more"
    kind = errors.kind_of(outcome.reason)
    problem = _problem(kind, detail=detail, request_id=request_id, export_id=outcome.export_id, field=outcome.field)
    return _respond(problem, {"Cache-Control": "no-store", "X-Export-Id": outcome.export_id})


def quota_headers(quota: Quota | None) -> dict[str, str]:
    """Where the caller stands (draft-ietf-httpapi-ratelimit-headers)."""
    if quota is None:
        return {}
    return {
        "RateLimit-Policy": f'"default";q={quota.limit};w={quota.window_seconds}',
        "RateLimit": f'"default";r={quota.remaining};t={quota.reset_seconds}',
    }


def _problem(kind: type[errors.ExportError], **said: Any) -> Problem:
    title = kind.slug.replace("-", " ").capitalize()
    return Problem(
        type=REGISTERED_TYPES.get(kind.slug, TYPE_PREFIX + kind.slug), title=title, status=status_of(kind), **said
    )


def _headers(error: errors.ExportError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, errors.AdmissionError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.SpoolFull | errors.KeyInUse | errors.ContentNotReady):
        headers["Retry-After"] = str(SPOOL_RETRY_SECONDS if isinstance(error, errors.SpoolFull) else 1)
    if isinstance(error, errors.RateLimited) and isinstance(error.quota, Quota):
        headers |= quota_headers(error.quota)
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="spark-export"'
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    return headers


def _respond(problem: Problem, headers: dict[str, str]) -> Response:
    return Response(problem.model_dump_json(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Answer every error of the application, the framework's own included, with a problem."""

    async def on_export_error(request: Request, error: errors.ExportError) -> Response:
        log_cause(error, request_id=request_id_of(request.scope))
        return problem_response(error, request_id_of(request.scope))

    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return await on_export_error(request, invalid_fields(list(error.errors()), "query", "path", "body"))

    async def on_http_error(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        problem = Problem(
            type="about:blank",
            title=status.phrase,
            status=status,
            detail=f"{request.method} {request.url.path}: {status.description or status.phrase}",
            request_id=request_id_of(request.scope),
        )
        headers = dict(error.headers or {})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods_of(request))
        return _respond(problem, headers)

    async def on_bug(request: Request, error: Exception) -> Response:
        if not isinstance(error, BrokenExport):
            LOG.error("internal error", exc_info=error, extra={"request_id": request_id_of(request.scope)})
        return problem_response(errors.ExportError("internal error; the log tells more"), request_id_of(request.scope))

    # Starlette types every handler as one of Exception, though it calls each with its own kind only.
    app.add_exception_handler(errors.ExportError, on_export_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, on_bug)


def _methods_of(request: Request) -> list[str]:
    """The methods of all routes of the path; the router's own error knows those of the first only."""
    scopes = [dict(request.scope) | {"method": method.value} for method in HTTPMethod]
    return [
        scope["method"]
        for scope in scopes
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of a route's errors."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {each: {"description": HTTPStatus(each).phrase, "content": {MEDIA_TYPE: schema}} for each in statuses}
