"""What a request's head and query say of a body that is rows."""

from __future__ import annotations

from email.message import Message
from email.utils import collapse_rfc2231_value

from fastapi import Request

from spark_export.errors import InvalidField, UnsupportedMediaType
from spark_export.model import ExportRequest
from spark_export.sources.upload.content import CODINGS
from spark_export.sources.upload.csv import CsvForm
from spark_export.sources.upload.table import BodyForm, BodyKind
from spark_export.values import check_encoding

JSON = "application/json"
BODY_KINDS: dict[str, BodyKind] = {
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
DUPLEX_KINDS = ("ndjson", "csv")
ALIASES = {"x-gzip": "gzip"}
NO_QUOTE = "none"


def media_type_of(request: Request) -> str:
    """The body's media type; JSON where nothing is said."""
    return request.headers.get("content-type", JSON).partition(";")[0].strip().lower()


def coding_of(request: Request) -> str | None:
    """The body's content coding, None for none.

    Raises:
        UnsupportedMediaType: it is none that is read, or more than one.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    coding = ALIASES.get(coding, coding)
    if coding in {"identity", ""}:
        return None
    if coding not in CODINGS:
        known = " or ".join(CODINGS)
        raise UnsupportedMediaType(
            f"the coding {coding!r} is not read; send {known}, or none", field="Content-Encoding"
        )
    return coding


def form_of(
    request: Request, export_request: ExportRequest, delimiter: str | None, quote: str | None, most_bytes: int | None
) -> BodyForm:
    """What the body is said to be.

    Raises:
        UnsupportedMediaType: by a coding that is not read.
        InvalidField: a parameter cannot be used, or is none of the body's media type.
    """
    kind = BODY_KINDS[media_type_of(request)]
    if kind != "csv" and (delimiter, quote) != (None, None):
        raise InvalidField("delimiter and quote are for a CSV body", field="delimiter" if delimiter else "quote")
    columns = export_request.columns
    names = None if columns is None else tuple(column.name for column in columns)
    csv = csv_form(request, export_request, delimiter, quote) if kind == "csv" else CsvForm()
    return BodyForm(kind, coding_of(request), names, csv, most_bytes)


def check_duplex(form: BodyForm, export_request: ExportRequest) -> None:
    """Refuse what cannot be answered before the body is whole.

    Raises:
        InvalidField: it is asked for.
    """
    if form.kind not in DUPLEX_KINDS:
        raise InvalidField("duplex is for NDJSON and CSV; other bodies are read when they are whole", field="duplex")
    for name in ("where", "order_by"):
        if getattr(export_request, name):
            raise InvalidField(f"{name} takes a body that is whole; leave duplex out", field=name)
    if export_request.on_limit != "fail":
        raise InvalidField("on_limit takes a body that is whole; leave duplex out", field="on_limit")


def csv_form(request: Request, export_request: ExportRequest, delimiter: str | None, quote: str | None) -> CsvForm:
    """How a CSV body is written: `text/csv; charset=windows-1254; header=absent` (RFC 4180 3), and the query.

    Raises:
        InvalidField: a parameter cannot be used.
    """
    parameters = _parameters(request)
    header = parameters.get("header", "present").lower()
    if header not in {"present", "absent"}:
        raise InvalidField("header is present or absent (RFC 4180 3)", field="Content-Type")
    charset = parameters.get("charset")
    if charset is not None:
        try:
            check_encoding(charset)
        except ValueError as error:
            raise InvalidField(f"charset: {error}", field="Content-Type") from None
    delimiter, quoted = delimiter or ",", None if quote == NO_QUOTE else quote or '"'
    _check_mark("delimiter", delimiter)
    if quoted is not None:
        _check_mark("quote", quoted)
    if quoted == delimiter:
        raise InvalidField("quote and delimiter are two characters", field="quote")
    columns = export_request.columns or ()
    names = tuple(column.name for column in columns) if header == "absent" and columns else None
    if names is not None and len(set(names)) < len(names):
        raise InvalidField("columns name one column twice, while the body has no header", field="columns")
    types = {column.name: column.type for column in columns if column.type is not None}
    return CsvForm(delimiter, quoted, header == "present", charset, names, types)


def _check_mark(name: str, mark: str) -> None:
    if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\r\n\0":
        detail = "is one ASCII character that is no letter, digit or line break"
        raise InvalidField(f"{name} {detail}", field=name)


def _parameters(request: Request) -> dict[str, str]:
    """Of the media type, names in lower case."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return {name.lower(): collapse_rfc2231_value(value) for name, value in message.get_params([])[1:]}
