"""Lists, structs and maps as JSON, against Python's json."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.text import Encoder


def texts(values: Any) -> list[str | None]:
    """What the encoder makes of an array."""
    schema = pa.schema([("x", values.type)])
    made: list[str | None] = Encoder(schema).encode(pa.record_batch([values], schema=schema))[0].to_pylist()
    return made


def read(values: Any) -> list[Any]:
    """What Python's json reads in the texts; None for a missing one."""
    return [None if text is None else json.loads(text) for text in texts(values)]


PAIR = pa.struct([("a", pa.string()), ("b", pa.list_(pa.int64()))])
PAIRS = st.fixed_dictionaries(
    {"a": st.none() | st.text(), "b": st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))}
)


@pytest.mark.parametrize(
    "make", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view], ids=lambda make: make.__name__
)
@given(values=st.lists(st.none() | st.lists(st.none() | st.text()), min_size=1))
def test_lists_of_texts(values: list[Any], make: Any) -> None:
    """Lists of any texts are JSON arrays, whatever the physical form of the list."""
    assert read(pa.array(values, make(pa.string()))) == values


@given(st.lists(st.none() | st.lists(st.text(st.characters(max_codepoint=0x7F)), max_size=3), min_size=1))
def test_control_characters(values: list[Any]) -> None:
    """Quotes, backslashes and control characters are escaped so that a strict reader takes them."""
    assert read(pa.array(values, pa.list_(pa.string()))) == values


@given(st.lists(st.none() | PAIRS, min_size=1))
def test_structs(values: list[Any]) -> None:
    """Structs are JSON objects with their keys in the schema's order, missing values null."""
    array = pa.array(values, PAIR)
    assert read(array) == values
    assert [list(each) for each in read(array) if each is not None] == [["a", "b"]] * sum(map(bool, values))


@given(st.lists(st.none() | st.lists(st.none() | PAIRS), min_size=1), st.integers(0, 3))
def test_lists_of_structs(values: list[Any], start: int) -> None:
    """Lists of structs of lists read back, sliced or not."""
    array = pa.array(values, pa.list_(PAIR))
    assert read(array) == values
    assert read(array.slice(start)) == values[start:]


@given(
    st.lists(st.none() | st.dictionaries(st.text(), st.none() | st.floats(-1e9, 1e9)), min_size=1), st.integers(0, 3)
)
def test_maps(values: list[Any], start: int) -> None:
    """Maps are JSON objects, sliced or not."""
    pairs = [None if each is None else list(each.items()) for each in values]
    array = pa.array(pairs, pa.map_(pa.string(), pa.float64()))
    assert read(array) == values
    assert read(array.slice(start)) == values[start:]


def test_map_keys_are_quoted() -> None:
    """Keys of a map are JSON strings whatever their type."""
    array = pa.array([[(1, "x"), (2, None)]], pa.map_(pa.int32(), pa.string()))
    assert texts(array) == ['{"1":"x","2":null}']


@given(st.lists(st.none() | st.lists(st.integers(0, 9), min_size=2, max_size=2), min_size=1), st.integers(0, 3))
def test_fixed_size_lists(values: list[Any], start: int) -> None:
    """Lists of a fixed size read back, missing ones among them, sliced or not."""
    array = pa.array(values, pa.list_(pa.int8(), 2))
    assert read(array) == values
    assert read(array.slice(start)) == values[start:]


@given(st.lists(st.none() | PAIRS, min_size=1), st.integers(0, 3))
def test_sliced_structs(values: list[Any], start: int) -> None:
    """A slice of structs reads as its own values."""
    assert read(pa.array(values, PAIR).slice(start)) == values[start:]


def test_json_types() -> None:
    """Numbers and booleans are bare, everything else is quoted, and so are the words that JSON lacks."""
    type_ = pa.struct([("t", pa.timestamp("s", "UTC")), ("n", pa.float64()), ("b", pa.bool_()), ("x", pa.binary())])
    values = [{"t": dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "n": math.inf, "b": True, "x": b"hi"}]
    assert texts(pa.array(values, type_)) == ['{"t":"2024-01-02T00:00:00Z","n":"Infinity","b":true,"x":"aGk="}']


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_doubles_inside(values: list[list[float]]) -> None:
    """Doubles inside of lists are valid JSON numbers that read back to the same double."""
    assert read(pa.array(values, pa.list_(pa.float64()))) == values


@given(st.text(min_size=1))
def test_keys_are_escaped(name: str) -> None:
    """Any name of a struct's field is a JSON key."""
    assert read(pa.array([{name: 1}], pa.struct([(name, pa.int8())]))) == [{name: 1}]


def test_empty_struct() -> None:
    """A struct without fields is an empty object."""
    assert texts(pa.array([{}, None], pa.struct([]))) == ["{}", None]


def test_list_of_nulls() -> None:
    """A list of the null type holds nulls."""
    assert read(pa.array([[None, None], [], None], pa.list_(pa.null()))) == [[None, None], [], None]


def test_dictionary_inside() -> None:
    """Dictionaries inside of lists are decoded."""
    items = pa.array(["a", "b", "a"]).dictionary_encode()
    assert read(pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), items)) == [["a", "b"], ["a"]]


def test_hidden_values_of_missing_lists() -> None:
    """What lies behind a missing list does not move into its neighbours."""
    items = pa.array([1, 2, 3, 4], pa.int8())
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), items, mask=pa.array([False, True, False]))
    assert read(lists) == [[1], None, [4]]
