"""What a caller asks for: the frozen request.

The request is validated here once, at the edge; everything behind it trusts it. Rows never pass through these models.
"""

from __future__ import annotations

import codecs
import math
import re
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

Scalar = str | int | float | bool
SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}

ValueType = Literal["text", "integer", "number", "decimal", "boolean", "date", "timestamp"]

FORBIDDEN_IN_FILENAME = re.compile(r'[\x00-\x1f\x7f-\x9f"/\\\u2028\u2029\ud800-\udfff]')
PAGE_SIZES = ("auto", "A4", "A3", "Letter", "Legal")
CUSTOM_PAGE_SIZE = re.compile(r"(\d{1,4}(?:\.\d{1,2})?)x(\d{1,4}(?:\.\d{1,2})?)mm", re.ASCII)
MM_PT = 72 / 25.4
"""Points of a millimetre."""
LEAST_PAGE_MM, MOST_PAGE_MM = 50, 5080
"""Two margins with room for a word between them; what ISO 32000-1 annex C recommends at most."""

MOST_COLUMNS = 16_384
"""As many as a spreadsheet has."""
MOST_REPEATS = 10
"""Of one column in a file: what a row takes in memory stays near what it takes in its source."""
MOST_CONDITIONS = 100
MOST_VALUES = 10_000
"""Of all conditions: they become as many bound parameters."""

PLAIN_URL = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes, which libraries read in different ways."""
URL_MAX_CHARACTERS = 4000

FILENAME_MAX_CHARACTERS = 200
"""With four bytes a character and an extension it still fits the 255 bytes that file systems allow, for all but
the longest names in the widest scripts; longer ones are a mistake more often than a wish."""


class Format(StrEnum):
    """A kind of file that can be made."""

    CSV = "csv"
    PDF = "pdf"


class Frozen(BaseModel):
    """A part of a request: immutable, and without room for a misspelt key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError(f"{name!r} is no IANA time zone, such as 'UTC' or 'Europe/Istanbul'") from None
    return name


def check_encoding(name: str) -> str:
    """The name of a text encoding that Python knows.

    Raises:
        ValueError: it is none.
    """
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        codec = None
    # The only public way to ask a codec whether it makes bytes of text (zlib, rot13 and the like do not).
    if (
        codec is None
        or not getattr(codec, "_is_text_encoding", False)
        or codec.name in {"undefined", "idna", "punycode"}
    ):
        raise ValueError(f"{name!r} is no text encoding, such as 'utf-8', 'windows-1254' or 'utf-16'")
    return name


def _check_filename(name: str) -> str:
    if FORBIDDEN_IN_FILENAME.search(name):
        raise ValueError("a file name holds no line breaks, control characters, quotes or slashes")
    if not name.strip(" ."):
        raise ValueError("a file name is more than dots and spaces")
    return name


def _check_callback_url(url: str) -> str:
    return _check_url(url, ("http", "https"))


def _check_deliver_url(url: str) -> str:
    return _check_url(url, ("s3", "http", "https"))


def _check_url(url: str, schemes: tuple[str, ...]) -> str:
    """What is no plain URL to every library alike is none here (RFC 3986 3)."""
    if not PLAIN_URL.fullmatch(url):
        raise ValueError("takes a URL in printable ASCII without spaces and backslashes")
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"takes a URL that begins with {' or '.join(f'{each}://' for each in schemes)}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("takes a URL without user, password and fragment")
    try:
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        raise ValueError("takes a URL whose port is a number to 65535") from None
    return url


def _check_delimiter(character: str) -> str:
    if character in '"\r\n\0' or character.isalnum():
        raise ValueError("the delimiter is one character that is no quote, line break, letter or digit")
    return character


def _check_finite(values: Iterable[Any]) -> None:
    """JSON has no others (RFC 8259 6); `1e999` is read as one all the same."""
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise ValueError("takes finite numbers")


def _check_scalars(value: Any) -> Any:
    """One scalar, or a list of them as a tuple; a union of types would answer a mistake with five complaints."""
    _check_finite(value if isinstance(value, list | tuple) else [value])
    if isinstance(value, list | tuple):
        _at_most(MOST_VALUES)(value)
        if not all(isinstance(each, str | int | float | bool) for each in value):
            raise ValueError("takes texts, numbers and booleans")
        return tuple(value)
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError("takes a text, a number, a boolean, or a list of them")
    return value


def _check_params(values: dict[str, Any]) -> dict[str, Any]:
    _check_finite(values.values())
    for name, value in values.items():
        if value is not None and not isinstance(value, str | int | float | bool):
            raise ValueError(f"{name!r} takes a text, a number or a boolean")
    return values


def _spell_out(column: Any) -> Any:
    """A bare name is a column with nothing said about it."""
    return {"name": column} if isinstance(column, str) else column


def _at_most(items: int) -> Callable[[Any], Any]:
    """Refuses a long list at once: pydantic looks at every item first, 4 s for the mistakes of 200,000."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) > items:
            raise ValueError(f"takes at most {items}, not {len(value)}")
        return tuple(value) if isinstance(value, list) else value

    return check


def _check_columns(columns: tuple[ColumnSpec, ...]) -> tuple[ColumnSpec, ...]:
    name, times = Counter(column.name for column in columns).most_common(1)[0]
    if times > MOST_REPEATS:
        raise ValueError(f"{name!r} is there {times} times; a column may be repeated {MOST_REPEATS} times")
    return columns


def _check_page_size(name: str) -> str:
    if name in PAGE_SIZES:
        return name
    if not (custom := CUSTOM_PAGE_SIZE.fullmatch(name)):
        raise ValueError(f"takes {', '.join(PAGE_SIZES)}, or width and height in millimetres as '100x150mm'")
    if not all(LEAST_PAGE_MM <= float(side) <= MOST_PAGE_MM for side in custom.groups()):
        raise ValueError(
            f"{name} is too small for its margins or too large for a PDF: {LEAST_PAGE_MM} to {MOST_PAGE_MM} mm a side"
        )
    return name


FontSize = Annotated[float, Field(ge=4, le=24)]
Timezone = Annotated[str, AfterValidator(_check_timezone)]
Text = Annotated[str, Field(max_length=2000)]


class ColumnSpec(Frozen):
    """One column of the file: which column of the rows, and how its values read.

    Attributes:
        name: the column of the rows.
        label: the header; the name unless given.
        decimals: fixed number of decimal places, rounded half to even.
        thousands: separator between groups of three digits.
        date_format: strftime pattern for dates, times and timestamps (`%Y-%m-%d %H:%M`).
        null: what stands for a missing value; the format's own text unless given.
        type: of the values of a CSV body, which are texts unless given; a body of another kind has types of its own.
    """

    name: Annotated[str, Field(min_length=1)]
    label: Text | None = None
    decimals: Annotated[int, Field(ge=0, le=18)] | None = None
    thousands: Literal[",", ".", " ", "'", "_", "\u00a0", "\u202f"] | None = None
    date_format: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    null: Annotated[str, Field(max_length=200)] | None = None
    type: ValueType | None = None


class Condition(Frozen):
    """A filter: `column op value`. Conditions are joined by AND; the value is bound, never made SQL.

    Attributes:
        column: a column of the rows, whether or not it is in the file.
        op: eq, ne, lt, le, gt, ge, like take one value; in takes a list, between two; is_null, not_null none.
        value: one scalar or a list of them.
    """

    column: str
    op: Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "between", "like", "is_null", "not_null"]
    value: Annotated[
        Any,
        AfterValidator(_check_scalars),
        WithJsonSchema({"anyOf": [SCALAR_SCHEMA, {"type": "array", "items": SCALAR_SCHEMA}, {"type": "null"}]}),
    ] = None

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        given = self.value
        fits = {
            "in": isinstance(given, tuple) and len(given) > 0,
            "between": isinstance(given, tuple) and len(given) == 2,
            "is_null": given is None,
            "not_null": given is None,
        }.get(self.op, given is not None and not isinstance(given, tuple))
        if not fits:
            wanted = {
                "in": "a list of at least one value",
                "between": "a list of two values",
                "is_null": "no value",
                "not_null": "no value",
            }.get(self.op, "one value")
            raise ValueError(f"{self.op} takes {wanted}")
        return self

    @cached_property
    def values(self) -> tuple[Scalar, ...]:
        """The values to bind, in order."""
        if isinstance(self.value, tuple):
            return self.value
        return () if self.value is None else (self.value,)


def _check_values(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if sum(len(condition.values) for condition in conditions) > MOST_VALUES:
        raise ValueError(f"conditions have at most {MOST_VALUES} values together")
    return conditions


Column = Annotated[ColumnSpec, BeforeValidator(_spell_out, json_schema_input_type=str | ColumnSpec)]


class CsvOptions(Frozen):
    """How the CSV reads. What is not given comes from the profile.

    Attributes:
        profile: `excel` sets for a spreadsheet: a BOM, `;` where the decimal mark is a comma, dates it recognises.
        delimiter: one character; `,` unless told, `;` with `profile: excel` and `decimal: ","`.
        quote: `minimal` where RFC 4180 needs it, `nonnumeric` every cell that is no number, `all` every cell.
        line_terminator: CR LF (RFC 4180 2.1) or LF.
        null: what stands for a missing value; empty unless told. An empty text is then `""`, so the two differ.
        decimal: the decimal mark of numbers.
        bom: begin with a byte order mark; only for encodings that have one.
        header: begin with the labels.
        encoding: any text encoding that Python knows.
        errors: what becomes of a character that the encoding cannot hold: fail, or `?`.
        formulas: `escape` puts an apostrophe before a text that a spreadsheet would run as a formula.
    """

    profile: Literal["excel"] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_check_delimiter)] | None = None
    quote: Literal["minimal", "all", "nonnumeric"] = "minimal"
    line_terminator: Literal["\r\n", "\n"] = "\r\n"
    null: Annotated[str, Field(max_length=200)] = ""
    decimal: Literal[".", ","] = "."
    bom: bool | None = None
    header: bool = True
    encoding: Annotated[str, Field(max_length=40), AfterValidator(check_encoding)] = "utf-8"
    errors: Literal["strict", "replace"] = "strict"
    formulas: Literal["escape", "keep"] = "escape"


class PdfTheme(Frozen):
    """Looks of a PDF's table.

    Attributes:
        accent: colour of its rules and of the title, `#rrggbb`.
        font_size: of the cells, in points; the same as `pdf.font_size`.
        stripes: shade every other row.
        row_height: of a row of one line, in points; one and a half times the font size unless given.
    """

    accent: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")] = "#2f5d8c"
    font_size: FontSize | None = None
    stripes: bool = True
    row_height: Annotated[float, Field(ge=5, le=200)] | None = None


class PdfOptions(Frozen):
    """How the PDF looks.

    Attributes:
        title: the line above the table and the document's title; the request's title or the dataset unless given.
        subtitle: a smaller line under the title.
        page_size: A4, A3, Letter, Legal, or width and height as `100x150mm`; `auto` is A4, and A3 for a table too wide.
        orientation: `auto` takes landscape where the columns do not fit upright.
        font_size: of the cells, in points.
        overflow: a text wider than its column ends in an ellipsis, or is broken into lines.
        totals: numeric columns whose sum stands below the last row.
        theme: colours and heights.
        author, subject, keywords: what the document says of itself.
        language: BCP 47 tag of the document; the words of the page follow it where they are known (en, tr, de, fr, es).
        accessible: tag the table for screen readers (PDF/UA-1); about four times the bytes.
    """

    title: Text | None = None
    subtitle: Text | None = None
    page_size: Annotated[str, AfterValidator(_check_page_size)] = "auto"
    orientation: Literal["portrait", "landscape", "auto"] = "auto"
    font_size: FontSize = 8
    overflow: Literal["ellipsis", "wrap"] = "ellipsis"
    totals: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=MOST_COLUMNS)] = ()
    theme: PdfTheme = PdfTheme()
    author: Text | None = None
    subject: Text | None = None
    keywords: Text | None = None
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] = "en"
    accessible: bool = False

    @property
    def cell_pt(self) -> float:
        """Size of the cells' font, in points."""
        return self.theme.font_size or self.font_size


class Deliver(Frozen):
    """Where the file goes instead of staying here.

    Attributes:
        url: `s3://bucket/key`, or an `https://` address that takes a PUT, such as a presigned one.
    """

    url: Annotated[str, Field(min_length=1, max_length=URL_MAX_CHARACTERS), AfterValidator(_check_deliver_url)]


class ExportRequest(Frozen):
    """An export: which rows, in which form. The rows of an inline export travel beside it.

    Attributes:
        format: of the file; what `Accept` prefers unless given, else CSV.
        dataset: name of the rows; absent when the body carries them.
        params: values of the dataset's parameters.
        columns: the columns of the file in their order; all unless given.
        where: filters, joined by AND.
        order_by: columns, a leading `-` for descending; missing values last.
        limit: at most so many rows.
        on_limit: what becomes of an export of more rows than its caller may have: `fail`, or `truncate` it there, which
            the header `X-Export-Truncated` and the receipt say.
        filename: of the download; made of the dataset unless given.
        timezone: IANA name; timestamps with a zone are shown in it, in UTC unless given.
        callback_url: takes a POST of the receipt at the end; makes the export a job.
        deliver: where the file goes; makes the export a job.
    """

    format: Format | None = None
    dataset: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    params: Annotated[
        dict[str, Any],
        AfterValidator(_check_params),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
    ] = Field(default_factory=dict)
    columns: (
        Annotated[
            tuple[Column, ...],
            Field(min_length=1, max_length=MOST_COLUMNS, fail_fast=True),
            AfterValidator(_check_columns),
            BeforeValidator(_at_most(MOST_COLUMNS)),
        ]
        | None
    ) = None
    where: Annotated[
        tuple[Condition, ...],
        Field(max_length=MOST_CONDITIONS),
        AfterValidator(_check_values),
        BeforeValidator(_at_most(MOST_CONDITIONS)),
    ] = ()
    order_by: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(max_length=MOST_CONDITIONS),
        BeforeValidator(_at_most(MOST_CONDITIONS)),
    ] = ()
    limit: Annotated[int, Field(ge=0, le=2**62)] | None = None
    on_limit: Literal["fail", "truncate"] = "fail"
    filename: Annotated[str, Field(max_length=FILENAME_MAX_CHARACTERS), AfterValidator(_check_filename)] | None = None
    timezone: Timezone = "UTC"
    csv: CsvOptions = CsvOptions()
    pdf: PdfOptions = PdfOptions()
    callback_url: Annotated[str, Field(max_length=URL_MAX_CHARACTERS), AfterValidator(_check_callback_url)] | None = (
        None
    )
    deliver: Deliver | None = None

    @property
    def is_job(self) -> bool:
        """Whether it asks for what only an export that outlives its connection can do."""
        return self.callback_url is not None or self.deliver is not None
