"""Reads an export request of JSON text, whichever way the text came; no row is decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from spark_export.errors import BodyTooLarge, InvalidField, MalformedBody
from spark_export.model import ExportRequest

OPTIONS_BYTES_MOST = 2**20
"""Of a request less its rows: it is read on the event loop, 20 ms for so much."""


def split_rows(body: bytes) -> tuple[memoryview | None, bytes]:
    """The JSON text of `rows`, None where there are none, and the JSON text of the rest; no row is decoded.

    Raises:
        MalformedBody: the body is no JSON object.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise MalformedBody("the body is no JSON object") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"the body is no JSON: {error}") from None
    rows = fields.pop("rows", None)
    return memoryview(rows) if rows is not None and bytes(
        memoryview(rows)[:4]
    ) != b"null" else None, msgspec.json.encode(fields)


def parse_request(text: bytes) -> ExportRequest:
    """The export request.

    Args:
        text: JSON, without rows.

    Raises:
        BodyTooLarge: it is longer than any request needs to be.
        InvalidField: naming every field that cannot be used.
    """
    if len(text) > OPTIONS_BYTES_MOST:
        raise BodyTooLarge(f"the request, less its rows, is longer than {OPTIONS_BYTES_MOST} bytes", field="body")
    try:
        return ExportRequest.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_input=False, include_url=False, include_context=False)) from None


def join_request(asked: Mapping[str, Any], given: Mapping[str, Any], title: str | None) -> ExportRequest:
    """The request of its pieces: a query's parameters, a command's flags.

    Args:
        asked: a request, or a part of one.
        given: fields that go before its own, where they are not None.
        title: of the PDF; its own where None.

    Raises:
        BodyTooLarge, InvalidField: as of `parse_request`.
    """
    joined = dict(asked) | {name: value for name, value in given.items() if value is not None}
    options = joined.get("pdf") or {}
    if title is not None and isinstance(options, dict):
        joined["pdf"] = options | {"title": title}
    return parse_request(json.dumps(joined).encode())


def check_origin(request: ExportRequest, rows: memoryview | None) -> None:
    """Refuse a request that has both rows and a dataset, or neither.

    Raises:
        InvalidField: it is one.
    """
    if rows is not None and request.dataset is not None:
        raise InvalidField("give rows or a dataset, not both", field="rows")
    if rows is None and request.dataset is None:
        raise InvalidField("give rows or a dataset", field="dataset")


def check_upload(request: ExportRequest) -> None:
    """Refuse a request beside rows that says where other rows are.

    Raises:
        InvalidField: it does.
    """
    for name in ("dataset", "params"):
        if getattr(request, name):
            raise InvalidField(f"the body is the rows; give no {name}", field=name)


def check_no_job(request: ExportRequest) -> None:
    """Refuse a request for what only a job does, where none is made: GET changes nothing (RFC 9110 9.2.1).

    Raises:
        InvalidField: it is one.
    """
    for name in ("callback_url", "deliver"):
        if getattr(request, name) is not None:
            raise InvalidField(f"{name} takes a POST /export to a service", field=name)


def json_object(name: str, text: str | bytes | None) -> dict[str, Any]:
    """The JSON object that a part of the request holds; empty where it was not sent.

    Raises:
        InvalidField: it is no JSON object.
    """
    if text is None:
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidField(f"{name} takes a JSON object", field=name) from None
    return found


def invalid_fields(found: list[ErrorDetails], *skip: str) -> InvalidField:
    """The complaints of pydantic as one error; the first is the headline.

    Args:
        found: as `ValidationError.errors()` has them.
        skip: leading parts of a location that are not part of the request (`body`, `query`).
    """
    fields = [(path_of(each["loc"], *skip) or "body", each["msg"].removeprefix("Value error, ")) for each in found]
    field, detail = fields[0]
    return InvalidField(f"{field}: {detail}", field=field, more=tuple(fields) if len(fields) > 1 else ())


def path_of(location: tuple[str | int, ...], *skip: str) -> str:
    """A location as a path: `where[0].value`."""
    parts = location[1:] if location and location[0] in skip else location
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
