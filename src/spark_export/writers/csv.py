"""CSV (RFC 4180), from text columns to bytes by column kernels.

Measured on one core, ten mixed columns: the join of a row 114 ns, its line end 6, quoting 90 for a column that needs it
and 4 for one that does not.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import InvalidField, Unencodable
from spark_export.model import CsvOptions
from spark_export.text import Column, Encoder, Kind, Style
from spark_export.text.encoder import BARE
from spark_export.text.guard import guard, guard_label
from spark_export.text.times import END, TimeStyle
from spark_export.writers.base import Chunk, Tally, map_ordered

AHEAD = 2
"""Batches formatted while one is sent: two keep two cores busy; a third only costs memory."""

BYTE_ORDER_MARK = "\ufeff"
BYTE_ORDER_MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff",
                    "utf-32-le": b"\xff\xfe\x00\x00", "utf-32-be": b"\x00\x00\xfe\xff"}  # fmt: skip
WITH_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}
"""Codecs that begin with a mark of their own, and what they write after it."""


@dataclass(frozen=True)
class Dialect:
    """The options with everything decided.

    Attributes:
        codec: Python's name of the encoding, without a mark.
        charset: its name in the Content-Type (the IANA name, as far as Python knows it).
        mark: bytes that the file begins with.
    """

    delimiter: str
    quote: str
    line_terminator: str
    null: str
    decimal: str
    header: bool
    codec: str
    charset: str
    errors: str
    mark: bytes
    guard: bool
    spreadsheet: bool

    @classmethod
    def from_options(cls, options: CsvOptions) -> Dialect:
        """Decide what the options leave to the profile.

        Raises:
            InvalidField: options that exclude each other.
        """
        excel = options.profile == "excel"
        name = codecs.lookup(options.encoding).name
        codec = WITH_MARK.get(name, name)
        mark = BYTE_ORDER_MARKS.get(codec, b"")
        wants_mark = options.bom if options.bom is not None else (excel or name in WITH_MARK)
        if options.bom and not mark:
            raise InvalidField(f"encoding {options.encoding!r} has no byte order mark", field="csv.bom")
        return cls(
            delimiter=options.delimiter or (";" if excel and options.decimal == "," else ","),
            quote=options.quote,
            line_terminator=options.line_terminator,
            null=options.null,
            decimal=options.decimal,
            header=options.header,
            codec=codec,
            charset=name if name in WITH_MARK else codec,
            errors=options.errors,
            mark=mark if wants_mark else b"",
            guard=options.formulas == "escape",
            spreadsheet=excel,
        )

    def style(self, timezone: str) -> Style:
        """How values read in this dialect: a spreadsheet knows no `T`, no offset, and three digits of a second."""
        excel = self.spreadsheet
        time = TimeStyle(timezone, " " if excel else "T", offset=not excel, milliseconds_at_most=excel)
        return Style(time, self.decimal)


class CsvWriter:
    """Writes one CSV file.

    Args:
        encoder: of the batches.
        dialect: how it reads.
        threads: where batches are formatted.
    """

    def __init__(self, encoder: Encoder, dialect: Dialect, threads: Executor) -> None:
        present = "present" if dialect.header else "absent"
        self.media_type = f"text/csv; charset={dialect.charset}; header={present}"
        self.tally = Tally()
        self._encoder = encoder
        self._dialect = dialect
        self._threads = threads
        # pyarrow takes 40 us to make a scalar of a text (it looks for pandas each time): once, not once a batch.
        self._delimiter = pa.scalar(dialect.delimiter)
        self._quoter = Quoter(dialect, alone=len(encoder.columns) == 1)

    async def write(self, batches: AsyncIterator[Any]) -> AsyncGenerator[Chunk, None]:
        """The header with the first batch, then a chunk a batch."""
        head = self._head()
        async with aclosing(map_ordered(batches, self._format, self._threads, AHEAD)) as formatted:
            async for data, tally in formatted:
                self._count(tally)
                yield head + bytes(data) if head else data
                head = b""
        if head:
            yield head

    def _count(self, tally: Tally) -> None:
        self.tally.escaped_cells += tally.escaped_cells
        self.tally.replaced_characters += tally.replaced_characters

    def _head(self) -> bytes:
        dialect = self._dialect
        columns = self._encoder.columns
        if not dialect.header or not columns:
            return dialect.mark
        labels = [guard_label(column.label) if dialect.guard else (column.label, 0) for column in columns]
        cells = [pa.array([label], pa.string()) for label, _ in labels]
        tally = Tally(escaped_cells=sum(count for _, count in labels))
        quoted = [self._quoter.quote(cell, Column("", Kind.TEXT)) for cell in cells]
        if quoted[0][0].as_py().startswith(BYTE_ORDER_MARK):  # unquoted, readers would take it for the file's
            quoted[0] = _in_quotes(quoted[0])
        data = self._to_encoding(self._join(quoted), tally)
        self._count(tally)
        return dialect.mark + bytes(data)

    def _format(self, batch: Any) -> tuple[Chunk, Tally]:
        """A batch as lines; runs in a thread."""
        tally = Tally()
        cells = []
        for texts, column in zip(self._encoder.encode(batch), self._encoder.columns, strict=True):
            if self._dialect.guard and column.kind is Kind.TEXT:
                texts, escaped = guard(texts, untyped=column.untyped)  # noqa: PLW2901
                tally.escaped_cells += escaped
            cells.append(self._quoter.quote(texts, column))
        return self._to_encoding(self._join(cells), tally), tally

    def _join(self, cells: list[Any]) -> memoryview:
        """The rows' lines end to end: the data buffer of their array, without a copy."""
        *others, last = cells
        last = pc.binary_replace_slice(last, END, END, self._dialect.line_terminator)
        lines = pc.binary_join_element_wise(*others, last, self._delimiter)
        return memoryview(lines.buffers()[2])

    def _to_encoding(self, lines: memoryview, tally: Tally) -> Chunk:
        dialect = self._dialect
        if dialect.codec == "utf-8":
            return lines
        text = str(lines, "utf-8")
        try:
            encoded = text.encode(dialect.codec, dialect.errors)
        except UnicodeEncodeError as error:
            character = text[error.start]
            raise Unencodable(
                f"encoding {dialect.charset!r} cannot hold {character!r} (U+{ord(character):04X}); "
                "choose another, or set csv.errors to 'replace'",
                field="csv.encoding",
            ) from None
        if dialect.errors == "replace" and not dialect.codec.startswith("utf"):  # those hold every character
            tally.replaced_characters += encoded.count(b"?") - text.count("?")
        return encoded


class Quoter:
    """Quotes the cells of a column (RFC 4180 2.5 to 2.7) and fills the missing ones.

    A text that equals the text of a missing value is quoted, so that the two differ, as PostgreSQL and DuckDB do.

    Args:
        dialect: decides which cells are quoted.
        alone: whether the file has one column: then an empty line must not stand for a row, readers skip it.
    """

    def __init__(self, dialect: Dialect, *, alone: bool) -> None:
        self._dialect = dialect
        self._alone = alone
        self._scalars: dict[str, Any] = {}
        self._bare_is_safe = BARE.isdisjoint(dialect.delimiter)
        self._special = tuple(dict.fromkeys(f'"\r\n{dialect.delimiter}'))

    def quote(self, cells: Any, column: Column) -> Any:
        """The column's cells, none missing, each as it stands in the file."""
        null = column.null if column.null is not None else self._dialect.null
        quoted = self._quote_present(cells, column, null)
        if cells.null_count:
            quoted = pc.fill_null(quoted, self._null_cell(null))
        return quoted

    def _scalar(self, text: str) -> Any:
        if text not in self._scalars:
            self._scalars[text] = pa.scalar(text)
        return self._scalars[text]

    def _null_cell(self, null: str) -> str:
        if any(character in null for character in self._special) or (self._alone and null == ""):
            return '"' + null.replace('"', '""') + '"'
        return null

    def _quote_present(self, cells: Any, column: Column, null: str) -> Any:
        style = self._dialect.quote
        if style == "all" or (style == "nonnumeric" and column.kind is not Kind.NUMBER):
            return _in_quotes(cells)
        if column.bare and self._bare_is_safe and null == "":
            return cells
        wanted = self._wanted(cells, column.kind, null)
        if wanted is None:
            return cells
        return pc.replace_with_mask(cells, wanted, _in_quotes(cells.filter(wanted)))

    def _wanted(self, cells: Any, kind: Kind, null: str) -> Any:
        """Mask of the cells that need quotes, None where none does."""
        mask = holding(cells, self._special)
        if kind is not Kind.NUMBER:
            same = pc.fill_null(pc.equal(cells, self._scalar(null)), fill_value=False)
            if pc.any(same, min_count=0).as_py():
                mask = same if mask is None else pc.or_(mask, same)
        return mask


def _in_quotes(cells: Any) -> Any:
    if holding(cells, ('"',)) is not None:
        cells = pc.replace_substring(cells, '"', '""')
    return pc.binary_replace_slice(pc.binary_replace_slice(cells, 0, 0, '"'), END, END, '"')


def holding(cells: Any, characters: tuple[str, ...]) -> Any:
    """Mask of the cells that hold any of the characters, None where none does.

    A look at the column's whole buffer, which is all that most columns need; then the cells by their positions, at
    under half the cost of a regular expression.
    """
    data = cells.buffers()[2]
    if data is None or len(cells) == 0:
        return None
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    used = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    # A character beyond ASCII is looked for by its first byte: a false alarm quotes a cell that need not be.
    found = used == characters[0].encode()[0]
    for character in characters[1:]:
        found |= used == character.encode()[0]
    places = np.flatnonzero(found)
    if len(places) == 0:
        return None
    mask = np.zeros(len(cells), bool)
    mask[np.searchsorted(offsets, places + offsets[0], side="right") - 1] = True
    return pa.array(mask)
