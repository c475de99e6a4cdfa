"""Rows in the JSON body: an array of objects, or of arrays with `columns` naming them.

The body stays bytes until its rows are decoded, a few thousand at a time, so that neither the event loop nor memory
feels a large one (78 MB: split in 0.14 s, against 0.45 s and ten times the memory to decode it whole). A column's type
is that of all its values: integers and floats join as floats where that loses nothing, everything else that mixes
becomes text. Integers of 64 bits are exact, larger ones are decimals. Nested values become JSON text, their keys as
they came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa

from spark_export.errors import InvalidField, MalformedBody
from spark_export.model import MOST_COLUMNS
from spark_export.sources.base import ArrowQueries, BlockingCalls, Source, open_iterator
from spark_export.sources.selection import Selection
from spark_export.text import Encoder, numbers

BATCH_ROWS = 4096
"""About 7 ms of decoding, during which the interpreter is not free."""

PART_BYTES = 4 * 2**20
"""Of the text of rows that are decoded at once, on average: 50 ms at most."""
MOST_CELLS = 50_000_000
"""Rows times columns, some 9 bytes each: objects that share no key would make a table much larger than their text."""

NESTED = frozenset({dict, list})
LARGE_INTEGER = pa.decimal128(38, 0)

_DECODE = msgspec.json.Decoder()


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


@dataclass(frozen=True)
class _Part:
    """Some rows of the array, all objects or all arrays, each column in the type that these rows ask for."""

    shape: type
    length: int
    columns: dict[str, Any]


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
    parts: list[_Part] = []
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


def _decode_part(raw: Sequence[msgspec.Raw], start: int, names: tuple[str, ...] | None) -> _Part:
    try:
        rows = _DECODE.decode(b"[" + b",".join(raw) + b"]")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedBody(f"rows from {start} on: {error}", field="rows") from None
    shape = type(rows[0])
    if shape not in {dict, list}:
        raise InvalidField("a row is an object or an array", field=f"rows[{start}]")
    for index, row in enumerate(rows):
        if type(row) is not shape:
            raise _mixed_shapes(start + index)
    columns = _columns_of_objects(rows) if shape is dict else _columns_of_arrays(rows, start, names)
    return _Part(shape, len(rows), {name: to_arrow(values) for name, values in columns})


def _columns_of_objects(rows: list[dict[str, Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Values by key, the keys in the order in which they first appear."""
    names = dict.fromkeys(chain.from_iterable(rows))
    _check_size(len(rows), len(names))
    return ((name, [row.get(name) for row in rows]) for name in names)


def _columns_of_arrays(
    rows: list[list[Any]], start: int, names: tuple[str, ...] | None
) -> Iterable[tuple[str, Sequence[Any]]]:
    if names is None:
        raise InvalidField("rows that are arrays need columns that name their values in order", field="columns")
    if len(set(names)) < len(names):
        raise InvalidField("columns name one column twice, while rows are arrays", field="columns")
    for index, row in enumerate(rows):
        if len(row) != len(names):
            detail = f"has {len(row)} values for {len(names)} columns"
            raise InvalidField(f"the row {detail}", field=f"rows[{start + index}]")
    return zip(names, zip(*rows, strict=True), strict=True)


def to_arrow(values: Sequence[Any]) -> Any:
    """An array of JSON values: of one type where they have one, else of text."""
    # Not left to Arrow: it would make a type of all keys of all values, in memory without bound.
    if not NESTED.isdisjoint(map(type, values)):
        return pa.array(_texts(values), pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _large_integers(values) or pa.array(_texts(values), pa.string())


def _large_integers(values: Sequence[Any]) -> Any:
    """Integers beyond a signed 64 bits, None where there are others or one has more than 38 digits."""
    if not all(value is None or type(value) is int for value in values):
        return None
    try:
        return pa.array([None if value is None else Decimal(value) for value in values], LARGE_INTEGER)
    except pa.ArrowInvalid:
        return None


def _texts(values: Sequence[Any]) -> list[str | None]:
    """Each value as the encoder would write it, a nested one as JSON text; a loop, for columns that mix or nest."""
    doubles = iter(numbers.float_text(pa.array([value for value in values if type(value) is float], pa.float64())))
    return [next(doubles).as_py() if type(value) is float else _text(value) for value in values]


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    return msgspec.json.encode(value).decode()


def _unify(parts: Sequence[_Part]) -> list[Any]:
    """The parts as batches of one schema; a column that a part lacks is null there."""
    names = list(dict.fromkeys(chain.from_iterable(part.columns for part in parts)))
    if not names:
        raise InvalidField("the rows have no columns", field="rows")
    unified = {}
    for name in names:
        arrays = [part.columns.get(name, pa.nulls(part.length)) for part in parts]
        unified[name] = _one_type(arrays)
    schema = pa.schema([(name, arrays[0].type) for name, arrays in unified.items()])
    return [pa.record_batch([unified[name][i] for name in names], schema=schema) for i in range(len(parts))]


def _one_type(arrays: Sequence[Any]) -> list[Any]:
    types = {array.type for array in arrays if not pa.types.is_null(array.type)}
    wanted = next(iter(types)) if len(types) == 1 else _common_type(types)
    if wanted is None:
        return list(arrays)
    if len(types) > 1 and wanted == pa.string():
        return [_column_text(array) for array in arrays]
    try:
        return [array.cast(wanted) for array in arrays]
    except pa.ArrowInvalid:  # an integer that a double cannot hold
        return [_column_text(array) for array in arrays]


def _common_type(types: set[Any]) -> Any:
    if not types:
        return None
    if types == {pa.int64(), pa.float64()}:
        return pa.float64()
    return LARGE_INTEGER if types <= {pa.int64(), LARGE_INTEGER} else pa.string()


def _column_text(array: Any) -> Any:
    encoder = Encoder(pa.schema([("", array.type)]))
    return encoder.encode(pa.record_batch([array], names=[""]))[0]
