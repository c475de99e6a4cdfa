"""Reads what `spark-export export` is asked for: the flags and the request's file, as one export request."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from spark_export.commands.arguments import STANDARD_STREAM, Arguments, WrongUsage
from spark_export.errors import BodyTooLarge, InvalidField
from spark_export.model import ExportRequest, Format
from spark_export.parsing import check_origin, join_request, json_object, split_rows


@dataclass(frozen=True)
class Asked:
    """An export to make.

    Attributes:
        request: what is asked for.
        rows: JSON text of its rows, None where it names a dataset.
        file_format: of the file.
        output: absolute path of the file, None for standard output.
    """

    request: ExportRequest
    rows: memoryview | None
    file_format: Format
    output: Path | None

    @property
    def body(self) -> bytes:
        """The request as the JSON body of a `POST /export`."""
        fields = self.request.model_dump(mode="json", exclude_unset=True) | {"format": self.file_format.value}
        return msgspec.json.encode(fields if self.rows is None else fields | {"rows": msgspec.Raw(self.rows)})


def read_asked(arguments: Arguments, most_bytes: int | None) -> Asked:
    """What the command line asks for.

    Args:
        arguments: the command line.
        most_bytes: of the request's file; None for any number.

    Raises:
        WrongUsage: the flags do not go together.
        RequestError: the request is none.
    """
    if arguments.request is not None and arguments.options is not None:
        raise WrongUsage("give --request or --options, not both")
    if arguments.request is arguments.options is arguments.dataset is None:
        raise WrongUsage("give --dataset, --request or --options")
    rows: memoryview | None = None
    text: str | bytes | None = arguments.options
    if arguments.request is not None:
        rows, text = _read(arguments.request, most_bytes)
    request = _join(arguments, text)
    check_origin(request, rows)
    file_format = format_of(request, arguments.output)
    if file_format is Format.PDF and arguments.output is None and sys.stdout.isatty():
        raise WrongUsage("a PDF is not for a terminal: give --output")
    return Asked(request, rows, file_format, arguments.output and arguments.output.absolute())


def format_of(request: ExportRequest, output: Path | None) -> Format:
    """The request's format, else that of the file's name, CSV where neither tells one.

    Raises:
        WrongUsage: the name ends in something else.
    """
    if request.format is not None:
        return request.format
    if output is None or not output.suffix:
        return Format.CSV
    try:
        return Format(output.suffix.removeprefix(".").lower())
    except ValueError:
        raise WrongUsage(f"{output.name!r} ends neither in .csv nor in .pdf: give --format") from None


def _join(arguments: Arguments, text: str | bytes | None) -> ExportRequest:
    asked = json_object("options" if arguments.request is None else "request", text)
    params = asked.get("params") or {}
    if arguments.param is not None and isinstance(params, dict):
        asked["params"] = params | dict(arguments.param)
    given = {
        "dataset": arguments.dataset,
        "format": arguments.format,
        "columns": arguments.columns,
        "where": arguments.where,
        "order_by": arguments.order_by,
        "limit": arguments.limit,
        "on_limit": arguments.on_limit,
        "timezone": arguments.timezone,
    }
    return join_request(asked, given, arguments.title)


def _read(name: str, most_bytes: int | None) -> tuple[memoryview | None, bytes]:
    """The rows and the rest of a request's file; of standard input where it is `-`."""
    try:
        if name == STANDARD_STREAM:
            return split_rows(_read_at_most(sys.stdin.buffer, most_bytes))
        with Path(name).open("rb") as file:
            return split_rows(_read_at_most(file, most_bytes))
    except OSError as error:
        raise InvalidField(f"cannot read {name}: {error.strerror}", field="--request") from None


def _read_at_most(file: BinaryIO, most_bytes: int | None) -> bytes:
    body = file.read() if most_bytes is None else file.read(most_bytes + 1)
    if most_bytes is not None and len(body) > most_bytes:
        detail = f"the request is longer than the {most_bytes} bytes that MAX_BODY_BYTES allows"
        raise BodyTooLarge(detail, field="MAX_BODY_BYTES")
    return body
