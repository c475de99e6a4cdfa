"""Rows in the JSON body: an array of objects, or of arrays with `columns` naming them.

The body stays bytes until its rows are decoded, a few thousand at a time, so that neither the event loop nor memory
feels a large one (78 MB: split in 0.14 s, against 0.45 s and ten times the memory to decode it whole).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from spark_export.errors import InvalidField, MalformedBody
from spark_export.model import MOST_COLUMNS
from spark_export.sources.base import ArrowQueries, BlockingCalls, Source, open_iterator
from spark_export.sources.jsonrows import Joined, Part, RowFault, decode, names_of, part_of
from spark_export.sources.selection import Selection

BATCH_ROWS = 4096
"""About 7 ms of decoding, during which the interpreter is not free."""

PART_BYTES = 4 * 2**20
"""Of the text of rows that are decoded at once, on average: 50 ms at most."""
MOST_CELLS = 50_000_000
"""Rows times columns, some 9 bytes each: objects that share no key would make a table much larger than their text."""


@dataclass(frozen=True)
class InlineTable:
    """The rows of a request's body.

    Args:
        rows: JSON text of the array of rows.
        names: the columns' names where the rows are arrays, None where the request names none.
        threads: where rows are decoded.
        engine: filters and sorts.
    """

    rows: bytes | memoryview
    names: tuple[str, ...] | None
    threads: Executor
    engine: ArrowQueries

    @asynccontextmanager
    async def open(self, selection: Selection) -> AsyncIterator[Source]:
        """The selected rows; every row is decoded before the first is handed on, since the last may decide a type.

        Raises:
            MalformedBody: the rows are no JSON.
            InvalidField: a row is of another shape, or the selection does not fit.
        """
        calls = BlockingCalls(self.threads)
        try:
            batches = await calls.run(lambda: decode_rows(self.rows, self.names))
        finally:
            await calls.close()
        schema = batches[0].schema
        total = sum(len(batch) for batch in batches)
        async with self._select(schema, iter(batches), selection, total) as source:
            yield source

    def _select(
        self, schema: Any, batches: Iterator[Any], selection: Selection, total: int
    ) -> AbstractAsyncContextManager[Source]:
        if total == 0:  # there is nothing to compare, and no column's type is known
            selection = Selection(columns=selection.columns)
        if selection.needs_engine:
            return self.engine.open_arrow(schema, batches, selection)
        return open_iterator(schema, batches, selection, total, self.threads)


def decode_rows(text: bytes | memoryview, names: tuple[str, ...] | None) -> list[Any]:
    """Record batches of one schema, at least one.

    Raises:
        MalformedBody: the text is no JSON.
        InvalidField: `rows` is no array, or a row is neither object nor array, or of another length than `names`.
    """
    try:
        raw = msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        raise InvalidField("rows is an array of objects, or of arrays", field="rows") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedBody(f"rows: {error}", field="rows") from None
    parts: list[Part] = []
    known: set[str] = set()
    step = max(1, min(BATCH_ROWS, PART_BYTES * len(raw) // max(len(text), 1)))
    for start in range(0, len(raw), step):
        part = _decode_part(raw[start : start + step], start, names)
        if parts and part.shape is not parts[0].shape:
            raise _mixed_shapes(start)
        known.update(part.columns)
        _check_size(len(raw), len(known))
        parts.append(part)
    if not parts:
        columns = list(dict.fromkeys(names or ()))
        return [pa.record_batch([pa.nulls(0, pa.string()) for _ in columns], names=columns)]
    return _unify(parts)


def _check_size(rows: int, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise InvalidField(f"the rows have more than {MOST_COLUMNS} columns", field="rows")
    if rows * columns > MOST_CELLS:
        detail = f"{rows} rows of {columns} columns have more than {MOST_CELLS} cells; send fewer rows at a time"
        raise InvalidField(detail, field="rows")


def _mixed_shapes(row: int) -> InvalidField:
    return InvalidField("rows are all objects or all arrays", field=f"rows[{row}]")


def _decode_part(raw: Sequence[msgspec.Raw], start: int, names: tuple[str, ...] | None) -> Part:
    try:
        rows = decode(b"[" + b",".join(raw) + b"]")
    except ValueError as error:
        raise MalformedBody(f"rows from {start} on: {error}", field="rows") from None
    try:
        columns = names_of(rows, names)
        _check_size(len(rows), len(columns))
        return part_of(rows, columns)
    except RowFault as fault:
        raise InvalidField(fault.detail, field=f"rows[{start + fault.row}]") from None


def _unify(parts: Sequence[Part]) -> list[Any]:
    """The parts as batches of one schema; a column that a part lacks is null there."""
    joined = Joined()
    for part in parts:
        joined.add(part.columns)
    if not joined.names:
        raise InvalidField("the rows have no columns", field="rows")
    schema = joined.schema()
    return [joined.batch(part.columns, part.length, schema) for part in parts]
