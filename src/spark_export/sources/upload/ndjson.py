"""NDJSON: a JSON value a line, each an object, or an array of which the request's columns name the values."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from spark_export.errors import MalformedBody
from spark_export.model import MOST_COLUMNS
from spark_export.sources.jsonrows import Part, RowFault, decode, names_of, part_of
from spark_export.sources.upload.content import Content

BLOCK_BYTES = 2**20
"""Of lines that are decoded at once: some 10 ms, in which the interpreter is not free."""
LINE_BYTES_MOST = 16 * 2**20
CELLS_MOST = 2**19
"""Of a part: rows that share no key would take much more memory than their text."""
BLANK = b" \t\r"

_LINES = msgspec.json.Decoder()


def iter_batches(content: Content, names: tuple[str, ...] | None, block_bytes: int = BLOCK_BYTES) -> Iterator[Any]:
    """Record batches, each of the columns and types that its own rows ask for.

    Raises:
        MalformedBody: naming the line that is no JSON, or no row like the others.
        InvalidField: the rows are arrays, and nothing names their columns.
    """
    line, shape = 1, None
    for block in _iter_blocks(content, block_bytes):
        for part in _iter_parts(_rows_of(block, line), names, block, line):
            if shape not in {None, part.shape}:
                raise _fault(line, "rows are all objects or all arrays")
            shape = part.shape
            yield pa.record_batch(list(part.columns.values()), names=list(part.columns))
        line += block.count(b"\n")


def _iter_blocks(content: Content, block_bytes: int) -> Iterator[bytes]:
    """Whole lines, some at a time."""
    held, first = bytearray(), True
    while data := content.read(block_bytes):
        held += data
        if first and len(held) >= len(codecs.BOM_UTF8):
            held, first = held.removeprefix(codecs.BOM_UTF8), False
        if len(held) < block_bytes or (end := held.rfind(b"\n")) < 0:
            if len(held) > LINE_BYTES_MOST:
                raise MalformedBody(f"a line is longer than {LINE_BYTES_MOST} bytes")
            continue
        yield bytes(held[: end + 1])
        del held[: end + 1]
    if held:
        yield bytes(held)


def _rows_of(block: bytes, line: int) -> list[Any]:
    try:
        return _LINES.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    for number, text in _lines_of(block, line):
        try:
            decode(text)
        except ValueError as error:
            raise _fault(number, f"no JSON: {error}") from None
    raise MalformedBody(f"the lines from {line} on are no JSON")


def _lines_of(block: bytes, line: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    return ((line + place, text) for place, text in enumerate(block.split(b"\n")) if text.strip(BLANK))


def _iter_parts(rows: Sequence[Any], names: tuple[str, ...] | None, block: bytes, line: int) -> Iterator[Part]:
    start = 0
    while start < len(rows):
        some = rows[start:]
        try:
            columns = names_of(some, names)
            while len(some) * len(columns) > CELLS_MOST and len(some) > 1:
                some = some[: len(some) // 2]
                columns = names_of(some, names)
        except RowFault as fault:
            raise _fault(_line_of(block, line, start + fault.row), fault.detail) from None
        if not columns or len(columns) > MOST_COLUMNS:
            detail = f"takes 1 to {MOST_COLUMNS} columns, not {len(columns)}"
            raise _fault(_line_of(block, line, start), f"a row {detail}")
        yield part_of(some, columns)
        start += len(some)


def _line_of(block: bytes, line: int, row: int) -> int:
    """The line's number of a row in the block."""
    numbers = (number for place, (number, _) in enumerate(_lines_of(block, line)) if place == row)
    return next(numbers, line)


def _fault(line: int, detail: str) -> MalformedBody:
    return MalformedBody(f"line {line}: {detail}", field=f"line {line}")
