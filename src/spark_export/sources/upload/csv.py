"""CSV: every value is a text, or what `columns[].type` says; an empty field without quotes is missing.

RFC 4180, read leniently: any delimiter and quote, CR, LF or CR LF; quotes inside of a field that does not begin with
one stand for themselves. A row of more or fewer fields than the first is refused with its line.
"""

from __future__ import annotations

import csv
import io
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import csv as arrow_csv

from spark_export.errors import InvalidField, MalformedBody
from spark_export.model import MOST_COLUMNS, ValueType
from spark_export.sources.upload.content import Content, Utf8
from spark_export.sources.upload.typed import first_odd, typed

T = TypeVar("T")

BLOCK_BYTES = 2**18
LARGE_BLOCK_BYTES = 2**22
"""Of what is parsed at once, and so the longest row. Memory grew by 28, 49 and 90 MB at 256 KiB, 512 KiB and 1 MiB."""
BLOCKS_AHEAD = 4
TOKEN_BYTES = 16
FIELD_BYTES_MOST = 2**31 - 1
READ_BYTES = 2**16

csv.field_size_limit(FIELD_BYTES_MOST)
"""Python's own parser reads the first row, and finds the line of a broken one."""


class RowTooLong(MalformedBody):
    """A row does not fit in what is parsed at once."""


@dataclass(frozen=True)
class CsvForm:
    """How a CSV body is written.

    Attributes:
        delimiter: between fields, one ASCII character.
        quote: around fields, one ASCII character; None where quotes mean nothing.
        header: whether the first row names the columns.
        charset: character set; by the byte order mark where None, else UTF-8.
        names: of the columns, where there is no header.
        types: of the columns that are not text.
    """

    delimiter: str = ","
    quote: str | None = '"'
    header: bool = True
    charset: str | None = None
    names: tuple[str, ...] | None = None
    types: Mapping[str, ValueType] = field(default_factory=dict)

    def rows(self, lines: Iterator[str]) -> Any:
        """Python's reader of such rows."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote)


def iter_batches(
    content: Content, form: CsvForm, again: Callable[[], Content] | None, block_bytes: int = BLOCK_BYTES
) -> Iterator[Any]:
    """Record batches of one schema, but for the places of decimals; the first may be empty.

    Args:
        content: the body.
        form: how it is written.
        again: the body once more, to find the line of what is wrong; None where it is gone.
        block_bytes: that are parsed at once.

    Raises:
        MalformedBody: naming the line of a row of more or fewer fields, or of a value that is none of its type.
        InvalidField: a type is given for a column that is not there.
    """
    body = _Body(Utf8(content, form.charset), form, block_bytes)
    lines = _Lines(form, again)
    yield _typed(pa.record_batch([pa.nulls(0, pa.string()) for _ in body.names], names=body.names), form, lines, 0)
    rows = 0
    for batch in _parsed(body, form, lines, block_bytes):
        if len(batch):
            yield _typed(batch.rename_columns(body.names), form, lines, rows)
        rows += len(batch)
    if not body.is_closed:
        raise lines.unclosed()


def _parsed(body: _Body, form: CsvForm, lines: _Lines, block_bytes: int) -> Iterator[Any]:
    """Batches of texts, less the last row, which is none of the body's."""
    ragged: list[Any] = []

    def keep(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        reader = body.pulled(lambda: _open(body, form, block_bytes, keep))
        while (batch := body.pulled(lambda: next(reader, None))) is not None:
            yield body.without_end(batch)
    except pa.ArrowInvalid as error:
        if ragged:
            raise lines.ragged(len(body.names), ragged[0].number) from None
        if "straddling" in str(error):
            raise RowTooLong(f"a row is longer than {block_bytes} bytes, or a quote is never closed") from None
        raise MalformedBody("the body is no CSV") from None
    finally:
        body.let_go()


def _open(body: _Body, form: CsvForm, block_bytes: int, on_ragged: Callable[[Any], str]) -> Any:
    return arrow_csv.open_csv(
        pa.PythonFile(body, mode="r"),
        arrow_csv.ReadOptions(use_threads=False, block_size=block_bytes, column_names=body.places),
        arrow_csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char=form.quote or False,
            newlines_in_values=form.quote is not None,
            ignore_empty_lines=len(body.names) > 1,
            invalid_row_handler=on_ragged,
        ),
        arrow_csv.ConvertOptions(
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            default_column_type=pa.string(),
        ),
    )


class _Body:
    """What Arrow parses: the rows after the header, and one of our own, by which it is seen that no quote is open.

    Attributes:
        names: of the columns.
        is_closed: whether our own row came out as one.
    """

    closed = False

    def __init__(self, text: Utf8, form: CsvForm, block_bytes: int) -> None:
        self._text = text
        self._first = _read_until(text, block_bytes)
        row, length = _first_row(self._first, form, whole=len(self._first) < block_bytes)
        self.names = _names(row, form)
        self.places = [f"c{place}" for place in range(len(self.names))]
        if form.header:
            self._first = self._first[length:]
        self._end = secrets.token_hex(TOKEN_BYTES)
        self._last_row = (self._end + form.delimiter * (len(self.names) - 1) + "\n").encode()
        self._last_byte = b"\n"
        self._ended = False
        self.is_closed = False
        self._may_read = threading.Event()
        self._may_read.set()
        self._lock = threading.Lock()
        self._pulling = False
        self._ahead = 0

    def pulled(self, pull: Callable[[], T]) -> T:
        """What a call gives that waits for Arrow's own thread, which meanwhile may read as much as it likes."""
        with self._lock:
            self._pulling = True
            self._may_read.set()
        try:
            return pull()
        finally:
            with self._lock:
                self._pulling, self._ahead = False, 0

    def let_go(self) -> None:
        """Read on, so that Arrow's own thread ends."""
        with self._lock:
            self._pulling, self._ended = True, True
            self._may_read.set()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, in Arrow's own thread, which would read 32 blocks ahead."""
        self._may_read.wait()
        with self._lock:
            self._ahead += 1
            if self._ahead >= BLOCKS_AHEAD and not self._pulling:
                self._may_read.clear()
        return self._read(size)

    def _read(self, size: int) -> bytes:
        if self._ended:
            return b""
        given, self._first = self._first[:size], self._first[size:]
        given = given or _read_until(self._text, size)
        if given:
            self._last_byte = given[-1:]
            return given
        self._ended = True
        return self._last_row if self._last_byte in b"\r\n" else b"\n" + self._last_row

    def without_end(self, batch: Any) -> Any:
        """The batch less our own row."""
        last = len(batch) - 1
        if last < 0 or batch.column(0)[last].as_py() != self._end:
            return batch
        self.is_closed = True
        return batch.slice(0, last)

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is not."""
        return False

    def close(self) -> None:
        """Nothing is held."""


def _read_until(text: Utf8, size: int) -> bytes:
    """So many bytes, or all there are."""
    read = bytearray()
    while len(read) < size and (piece := text.read(size - len(read))):
        read += piece
    return bytes(read)


def _first_row(block: bytes, form: CsvForm, *, whole: bool) -> tuple[list[str], int]:
    """The first row that is not blank, and the bytes up to its end.

    Raises:
        MalformedBody: there is none, or it does not end.
    """
    lines = io.StringIO(block.decode(errors="ignore"), newline="")
    length = 0

    def counted() -> Iterator[str]:
        nonlocal length
        for line in lines:
            length += len(line.encode())
            yield line

    try:
        row = next((row for row in form.rows(counted()) if row), None)
    except csv.Error as error:
        raise MalformedBody(f"line 1: {error}", field="line 1") from None
    if row is None:
        raise MalformedBody("the body has no row, not even a header")
    if not whole and length >= len(block):
        raise RowTooLong(f"line 1: the first row is longer than {len(block)} bytes, or a quote is never closed")
    return row, length


def _names(row: list[str], form: CsvForm) -> tuple[str, ...]:
    unnamed = form.names or tuple(f"column_{number}" for number in range(1, len(row) + 1))
    names = tuple(row) if form.header else unnamed
    if len(names) > MOST_COLUMNS:
        raise MalformedBody(f"line 1: there are more than {MOST_COLUMNS} columns")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise MalformedBody(f"line 1: {times} columns are named {name!r}")
    for name in form.types:
        if name not in names:
            raise InvalidField(f"no column {name!r}", field="columns")
    return names


def _typed(batch: Any, form: CsvForm, lines: _Lines, before: int) -> Any:
    """The batch with values in place of the texts that have a type."""
    if not form.types:
        return batch
    columns = []
    for name, texts in zip(batch.schema.names, batch.columns, strict=True):
        wanted = form.types.get(name, "text")
        try:
            columns.append(typed(texts, wanted))
        except pa.ArrowInvalid:
            odd = first_odd(texts, wanted)
            raise lines.odd(before + odd, f"{texts[odd].as_py()!r} in column {name!r} is no {wanted}") from None
    return pa.record_batch(columns, names=batch.schema.names)


class _Lines:
    """Finds the line of what is wrong, by reading the body once more."""

    def __init__(self, form: CsvForm, again: Callable[[], Content] | None) -> None:
        self._form = form
        self._again = again

    def ragged(self, fields: int, number: int) -> MalformedBody:
        """A row of another number of fields."""
        for row, first in self._rows():
            if len(row) != fields:
                return _fault(first, f"{len(row)} fields where the first row has {fields}")
        return MalformedBody(f"row {number} has another number of fields than the first, which has {fields}")

    def odd(self, place: int, detail: str) -> MalformedBody:
        """A row of the body, counted from 0 without the header."""
        for at, (_, first) in enumerate(self._rows(), start=-1 if self._form.header else 0):
            if at == place:
                return _fault(first, detail)
        return MalformedBody(f"row {place + 1}: {detail}")

    def unclosed(self) -> MalformedBody:
        """A quote that is open at the end."""
        last = deque(self._rows(), maxlen=1)
        if not last:
            return MalformedBody("the body ends within quotes")
        return _fault(last[0][1], "a quote is opened and never closed")

    def _rows(self) -> Iterator[tuple[list[str], int]]:
        """Each row that is not blank, and the line that it begins on."""
        if self._again is None:
            return
        reader = self._form.rows(_lines_of(Utf8(self._again(), self._form.charset)))
        before, single = 0, None
        for row in reader:
            single = len(row) == 1 if single is None and row else single
            if row or single:
                yield row or [""], before + 1
            before = reader.line_num


def _lines_of(text: Utf8) -> Iterator[str]:
    return iter(io.TextIOWrapper(io.BufferedReader(_Raw(text), READ_BYTES), encoding="utf-8", newline=""))


class _Raw(io.RawIOBase):
    """A text as Python's own files are."""

    def __init__(self, text: Utf8) -> None:
        self._text = text

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._text.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _fault(line: int, detail: str) -> MalformedBody:
    return MalformedBody(f"line {line}: {detail}", field=f"line {line}")
