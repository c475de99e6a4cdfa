"""What a caller asks for: the frozen request.

The request is validated here once, at the edge; everything behind it trusts it. Rows never pass through these models.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from spark_export.values import (
    FILENAME_MAX_CHARACTERS,
    MOST_VALUES,
    URL_MAX_CHARACTERS,
    at_most,
    check_callback_url,
    check_delimiter,
    check_deliver_url,
    check_encoding,
    check_filename,
    check_page_size,
    check_params,
    check_scalars,
    check_timezone,
)

Scalar = str | int | float | bool
SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}

ValueType = Literal["text", "integer", "number", "decimal", "boolean", "date", "timestamp"]

MOST_COLUMNS = 16_384
"""As many as a spreadsheet has."""
MOST_REPEATS = 10
"""Of one column in a file: what a row takes in memory stays near what it takes in its source."""
MOST_CONDITIONS = 100


class Format(StrEnum):
    """A kind of file that can be made."""

    CSV = "csv"
    PDF = "pdf"


class Frozen(BaseModel):
    """A part of a request: immutable, and without room for a misspelt key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _spell_out(column: Any) -> Any:
    """A bare name is a column with nothing said about it."""
    return {"name": column} if isinstance(column, str) else column


def _check_columns(columns: tuple[ColumnSpec, ...]) -> tuple[ColumnSpec, ...]:
    name, times = Counter(column.name for column in columns).most_common(1)[0]
    if times > MOST_REPEATS:
        raise ValueError(f"{name!r} is there {times} times; a column may be repeated {MOST_REPEATS} times")
    return columns


FontSize = Annotated[float, Field(ge=4, le=24)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
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
        AfterValidator(check_scalars),
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
    delimiter: Annotated[str, Field(min_length=1, max_length=1), AfterValidator(check_delimiter)] | None = None
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
    page_size: Annotated[str, AfterValidator(check_page_size)] = "auto"
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

    url: Annotated[str, Field(min_length=1, max_length=URL_MAX_CHARACTERS), AfterValidator(check_deliver_url)]


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
        AfterValidator(check_params),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
    ] = Field(default_factory=dict)
    columns: (
        Annotated[
            tuple[Column, ...],
            Field(min_length=1, max_length=MOST_COLUMNS, fail_fast=True),
            AfterValidator(_check_columns),
            BeforeValidator(at_most(MOST_COLUMNS)),
        ]
        | None
    ) = None
    where: Annotated[
        tuple[Condition, ...],
        Field(max_length=MOST_CONDITIONS),
        AfterValidator(_check_values),
        BeforeValidator(at_most(MOST_CONDITIONS)),
    ] = ()
    order_by: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(max_length=MOST_CONDITIONS),
        BeforeValidator(at_most(MOST_CONDITIONS)),
    ] = ()
    limit: Annotated[int, Field(ge=0, le=2**62)] | None = None
    on_limit: Literal["fail", "truncate"] = "fail"
    filename: Annotated[str, Field(max_length=FILENAME_MAX_CHARACTERS), AfterValidator(check_filename)] | None = None
    timezone: Timezone = "UTC"
    csv: CsvOptions = CsvOptions()
    pdf: PdfOptions = PdfOptions()
    callback_url: Annotated[str, Field(max_length=URL_MAX_CHARACTERS), AfterValidator(check_callback_url)] | None = None
    deliver: Deliver | None = None

    @property
    def is_job(self) -> bool:
        """Whether it asks for what only an export that outlives its connection can do."""
        return self.callback_url is not None or self.deliver is not None
