"""The encoder's columns: which, in what order, under which label, and what it refuses."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from spark_export.errors import InvalidField
from spark_export.model import ColumnSpec
from spark_export.text import Encoder, Kind

ARRAYS: dict[str, Any] = {
    "null": pa.nulls(4),
    "boolean": pa.array([True, None, False, True]),
    "integer": pa.array([1, None, -(2**63), 7], pa.int64()),
    "double": pa.array([0.1, None, float("nan"), 1e300]),
    "decimal": pa.array([Decimal("1.5"), None, Decimal("1e-9"), Decimal(0)], pa.decimal128(20, 9)),
    "text": pa.array(["a", None, "", "ğ"]),
    "binary": pa.array([b"a", None, b"", b"bcd"]),
    "date": pa.array([0, None, 2**31 - 1, 5], pa.int32()).cast(pa.date32()),
    "time": pa.array([dt.time(1), None, dt.time(2, 3, 4, 5), dt.time(0)]),
    "timestamp": pa.array([0, None, 2**63 - 1, 1], pa.int64()).cast(pa.timestamp("us", "UTC")),
    "duration": pa.array([0, None, 1, -1], pa.duration("ns")),
    "interval": pa.array([(1, 2, 3), None, (0, 0, 0), (4, 5, 6)], pa.month_day_nano_interval()),
    "list": pa.array([[1], None, [], [2, None]]),
    "map": pa.array([[("a", 1)], None, [], [("b", None)]], pa.map_(pa.string(), pa.int8())),
    "struct": pa.array([{"a": 1}, None, {"a": None}, {"a": 2}]),
    "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "view": pa.array(["a", None, "b" * 30, ""], pa.string_view()),
}


def encode(values: Any, *specs: ColumnSpec) -> list[list[str | None]]:
    """The text columns of a batch whose one column is `x`."""
    schema = pa.schema([("x", values.type)])
    columns = Encoder(schema, specs or None).encode(pa.record_batch([values], schema=schema))
    return [column.to_pylist() for column in columns]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(("start", "length"), [(0, 1), (1, 1), (1, 3), (3, 1), (2, 2)])
def test_slices(name: str, start: int, length: int) -> None:
    """A slice of a column of any type reads as the same rows of the whole."""
    (whole,) = encode(ARRAYS[name])
    assert encode(ARRAYS[name].slice(start, length)) == [whole[start : start + length]]


@pytest.mark.parametrize("name", ARRAYS)
def test_empty(name: str) -> None:
    """A column of any type without rows is a text column without rows."""
    values = ARRAYS[name].slice(4)
    (made,) = Encoder(pa.schema([("x", values.type)])).encode(pa.record_batch([values], names=["x"]))
    assert (made.type, len(made)) == (pa.string(), 0)


@pytest.mark.parametrize("name", ARRAYS)
def test_missing_stays_missing(name: str) -> None:
    """Missing values stay missing in every type."""
    (made,) = encode(ARRAYS[name])
    assert [text is None for text in made] == [not value.is_valid for value in ARRAYS[name]]


@pytest.mark.parametrize("name", ARRAYS)
def test_all_missing(name: str) -> None:
    """A column of any type with missing values only stays missing throughout."""
    assert encode(pa.nulls(3, ARRAYS[name].type)) == [[None, None, None]]


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in {"null", "dictionary", "view"}])
def test_text_columns_are_arrow_strings(name: str) -> None:
    """Every text column is a StringArray of the batch's length, as the writers' kernels want it."""
    schema = pa.schema([("x", ARRAYS[name].type)])
    (made,) = Encoder(schema).encode(pa.record_batch([ARRAYS[name]], schema=schema))
    made.validate(full=True)
    assert (type(made), len(made)) == (pa.StringArray, 4)


def test_order_and_repetition() -> None:
    """Columns come in the order of the specs, left out or twice as they say."""
    schema = pa.schema([("a", pa.int8()), ("b", pa.string()), ("c", pa.bool_())])
    batch = pa.record_batch([pa.array([1], pa.int8()), ["x"], [True]], schema=schema)
    specs = [ColumnSpec(name="c"), ColumnSpec(name="a"), ColumnSpec(name="a", decimals=1)]
    assert [column.to_pylist() for column in Encoder(schema, specs).encode(batch)] == [["true"], ["1"], ["1.0"]]


def test_labels_and_null_texts() -> None:
    """A column's label is its name unless given, an empty one included; its null text is as given."""
    schema = pa.schema([("a", pa.int8()), ("b", pa.string())])
    specs = [ColumnSpec(name="a", label=""), ColumnSpec(name="b", null="-"), ColumnSpec(name="b", label="B")]
    columns = Encoder(schema, specs).columns
    assert [(column.label, column.null) for column in columns] == [("", None), ("b", "-"), ("B", None)]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Kind.NUMBER, {"integer", "double", "decimal"}),
        (Kind.TEXT, {"text", "dictionary", "view"}),
        (Kind.OTHER, {"boolean", "binary", "date", "time", "timestamp", "duration", "list", "map", "struct"}),
    ],
)
def test_kinds(kind: Kind, names: set[str]) -> None:
    """A column is a number, a text someone may have typed, or text the encoder made."""
    found = {Encoder(pa.schema([("x", ARRAYS[name].type)])).columns[0].kind for name in names}
    assert found == {kind}


def test_unknown_column() -> None:
    """A spec of a column that is not there is refused, and the message says which there are."""
    specs = [ColumnSpec(name="a"), ColumnSpec(name="zz")]
    with pytest.raises(InvalidField, match="no column 'zz'; there are 'a', 'b'") as caught:
        Encoder(pa.schema([("a", pa.int8()), ("b", pa.int8())]), specs)
    assert caught.value.field == "columns[1].name"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, {"decimals": 2}) for name in ("text", "boolean", "date", "timestamp", "list", "binary")),
        *((name, {"thousands": ","}) for name in ("text", "duration", "struct")),
        *((name, {"date_format": "%Y"}) for name in ("text", "integer", "duration", "interval", "map")),
    ],
    ids=str,
)
def test_formats_that_do_not_fit(name: str, option: dict[str, Any]) -> None:
    """A format that the column's type does not have is refused with its path."""
    specs = [ColumnSpec(name="x"), ColumnSpec(name="x", **option)]
    with pytest.raises(InvalidField, match="takes no") as caught:
        Encoder(pa.schema([("x", ARRAYS[name].type)]), specs)
    assert caught.value.field == f"columns[1].{next(iter(option))}"


@pytest.mark.parametrize(
    "type_",
    [pa.dense_union([pa.field("a", pa.int8())]), pa.sparse_union([pa.field("a", pa.int8())])],
    ids=["dense", "sparse"],
)
def test_unions_are_refused(type_: Any) -> None:
    """A union has no text, and is refused before the first row."""
    with pytest.raises(InvalidField, match="leave it out") as caught:
        Encoder(pa.schema([("a", pa.int8()), ("u", type_)]))
    assert caught.value.field == "columns[1]"


def test_unions_inside_are_refused() -> None:
    """A union inside of a list is refused before the first row as well."""
    type_ = pa.list_(pa.struct([("u", pa.dense_union([pa.field("a", pa.int8())]))]))
    with pytest.raises(InvalidField) as caught:
        Encoder(pa.schema([("u", type_)]))
    assert caught.value.field == "columns[0]"
