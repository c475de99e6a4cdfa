"""Rows of JSON values as Arrow columns, a part at a time, and the one type of each column over all parts.

A column's type is that of all its values: integers and floats join as floats where that loses nothing, everything else
that mixes becomes text. Integers of 64 bits are exact, larger ones are decimals. Nested values become JSON text, their
keys as they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.errors import InvalidField
from spark_export.text import Encoder, numbers

NESTED = frozenset({dict, list})
LARGE_INTEGER = pa.decimal128(38, 0)
LARGEST_IN_DOUBLE = 2**53
"""Up to here every integer is a double."""

_DECODE = msgspec.json.Decoder()


class RowFault(Exception):
    """A row that cannot stand with the others.

    Attributes:
        row: its place among them, from 0.
        detail: what is wrong with it.
    """

    def __init__(self, row: int, detail: str) -> None:
        self.row = row
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True)
class Part:
    """Some rows, all objects or all arrays, each column in the type that these rows ask for."""

    shape: type
    length: int
    columns: Mapping[str, Any]


def decode(text: bytes | memoryview) -> Any:
    """The JSON value.

    Raises:
        ValueError: it is none.
    """
    try:
        return _DECODE.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def names_of(rows: Sequence[Any], names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The columns of the rows: the keys of objects in the order in which they first appear, the given names for arrays.

    Raises:
        RowFault: a row is neither object nor array, of another kind than the first, or of another length.
        InvalidField: rows are arrays, and their columns are not named, or not by different names.
    """
    shape = type(rows[0])
    if shape not in {dict, list}:
        raise RowFault(0, "a row is an object or an array")
    for index, row in enumerate(rows):
        if type(row) is not shape:
            raise RowFault(index, "rows are all objects or all arrays")
    return tuple(dict.fromkeys(chain.from_iterable(rows))) if shape is dict else _check_names(rows, names)


def _check_names(rows: Sequence[list[Any]], names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        raise InvalidField("rows that are arrays need columns that name their values in order", field="columns")
    if len(set(names)) < len(names):
        raise InvalidField("columns name one column twice, while rows are arrays", field="columns")
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise RowFault(index, f"the row has {len(row)} values for {len(names)} columns")
    return names


def part_of(rows: Sequence[Any], names: Sequence[str]) -> Part:
    """The rows as columns of these names, which `names_of` gave."""
    shape = type(rows[0])
    columns: Iterable[Sequence[Any]]
    columns = ([row.get(name) for row in rows] for name in names) if shape is dict else zip(*rows, strict=True)
    return Part(shape, len(rows), {name: to_arrow(values) for name, values in zip(names, columns, strict=True)})


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


class Joined:
    """The columns of all parts so far, each with the types that it has had."""

    def __init__(self) -> None:
        self._types: dict[str, set[Any]] = {}
        self._beyond_doubles: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they first appeared."""
        return tuple(self._types)

    def add(self, columns: Mapping[str, Any]) -> None:
        """One more part."""
        for name, array in columns.items():
            types = self._types.setdefault(name, set())
            if not pa.types.is_null(array.type):
                types.add(array.type)
            if array.type == pa.int64() and not _fits_doubles(array):
                self._beyond_doubles.add(name)

    def schema(self) -> Any:
        """The columns, each of the type that holds all its values."""
        return pa.schema([(name, self._type(name, types)) for name, types in self._types.items()])

    def _type(self, name: str, types: set[Any]) -> Any:
        if len(types) < 2:
            return next(iter(types), pa.null())
        if types == {pa.int64(), pa.float64()} and name not in self._beyond_doubles:
            return pa.float64()
        if types <= {pa.int64(), LARGE_INTEGER}:
            return LARGE_INTEGER
        if all(map(pa.types.is_decimal, types)):
            return pa.decimal128(LARGE_INTEGER.precision, max(type_.scale for type_ in types))
        return pa.string()

    @staticmethod
    def batch(columns: Mapping[str, Any], rows: int, schema: Any) -> Any:
        """A part as a batch of the schema; a column that it lacks is null there."""
        arrays = [converted(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
                  for field in schema]  # fmt: skip
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _fits_doubles(array: Any) -> bool:
    bounds = pc.min_max(array).as_py()
    return bounds["min"] is None or (bounds["min"] >= -LARGEST_IN_DOUBLE and bounds["max"] <= LARGEST_IN_DOUBLE)


def converted(array: Any, type_: Any) -> Any:
    """The array in a type that holds its values; as text each reads as the encoder writes it.

    Raises:
        pa.ArrowInvalid: the type does not hold them.
    """
    if array.type == type_ or pa.types.is_null(array.type):
        return array.cast(type_)
    if type_ != pa.string():
        return array.cast(type_)
    encoder = Encoder(pa.schema([("", array.type)]))
    return encoder.encode(pa.record_batch([array], names=[""]))[0]
