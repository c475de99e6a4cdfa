"""Rows of a JSON body as record batches, against Python's json."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import InvalidField, MalformedBody
from spark_export.sources.inline import BATCH_ROWS, decode_rows


def table(rows: Any, names: tuple[str, ...] | None = None) -> Any:
    """The rows as a table, by way of JSON text unless they are text already."""
    text = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return pa.Table.from_batches(decode_rows(text, names))


def column(values: list[Any]) -> tuple[Any, list[Any]]:
    """Type and values of a column of those values."""
    made = table([{"x": value} for value in values])["x"]
    return made.type, made.to_pylist()


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, None, -5], pa.int64()),
        ([1, 2.5, None], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", None, ""], pa.string()),
        ([None, None], pa.null()),
        ([2**63 - 1, -(2**63), 9_007_199_254_740_993], pa.int64()),
    ],
    ids=str,
)
def test_one_type(values: list[Any], type_: Any) -> None:
    """A column of one type has that type, its values exact."""
    assert column(values) == (type_, values)


@given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1), min_size=1))
def test_integers_are_exact(values: list[int]) -> None:
    """Integers of up to 38 digits are exact: 64 bits as integers, larger ones as decimals without places."""
    type_, made = column(values)
    assert [int(value) for value in made] == values
    assert type_ in {pa.int64(), pa.uint64(), pa.decimal128(38, 0)}
    assert pa.types.is_int64(type_) == all(-(2**63) <= value < 2**63 for value in values) or pa.types.is_uint64(type_)


def test_huge_integers_are_text() -> None:
    """An integer of more than 38 digits keeps all of them, as text."""
    assert column([10**50, 1]) == (pa.string(), [str(10**50), "1"])


def test_integers_that_no_double_holds() -> None:
    """Integers beside fractions join as doubles only where that loses nothing."""
    type_, made = column([9_007_199_254_740_993, 0.5])
    assert type_ == pa.string()
    assert [Decimal(text) for text in made] == [9_007_199_254_740_993, Decimal("0.5")]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "a"], ["1", "a"]),
        ([True, 1], ["true", "1"]),
        ([1.5, "x", None, False], ["1.5", "x", None, "false"]),
        (["2024", 2024], ["2024", "2024"]),
        ([[1], 2], ["[1]", "2"]),
        ([{"a": 1}, "b"], ['{"a":1}', "b"]),
    ],
    ids=str,
)
def test_mixed_types(values: list[Any], texts: list[str | None]) -> None:
    """A column that mixes types is text."""
    assert column(values) == (pa.string(), texts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.lists(JSON) | st.dictionaries(st.text(), JSON), min_size=1))
def test_nested(values: list[Any]) -> None:
    """Nested values become JSON text of the same meaning."""
    type_, texts = column(values)
    assert type_ == pa.string()
    assert [json.loads(text) for text in texts] == values


def test_nested_key_order() -> None:
    """The keys of nested values come in the order in which they came."""
    _, texts = column([{"z": 1, "a": {"y": 1, "b": 2}}, {"a": 1, "z": 2}])
    assert texts == ['{"z":1,"a":{"y":1,"b":2}}', '{"a":1,"z":2}']


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=3), st.text()), min_size=1))
def test_missing_keys(rows: list[dict[str, str]]) -> None:
    """A missing key is a missing value, and columns come in the order in which their keys first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return
    made = table(rows)
    assert made.column_names == names
    assert made.to_pylist() == [{name: row.get(name) for name in names} for row in rows]


def test_arrays() -> None:
    """Rows that are arrays take their names from `columns`."""
    assert table([[1, "a"], [None, "b"]], ("n", "t")).to_pylist() == [{"n": 1, "t": "a"}, {"n": None, "t": "b"}]


@pytest.mark.parametrize("place", [0, 1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 5])
@pytest.mark.parametrize("row", [[1], [1, 2, 3], []], ids=str)
def test_ragged_rows(place: int, row: list[int]) -> None:
    """A row of another length is named by its place."""
    rows = [[1, 2]] * (BATCH_ROWS + 10)
    rows[place] = row
    with pytest.raises(InvalidField, match=f"has {len(row)} values for 2 columns") as caught:
        table(rows, ("a", "b"))
    assert caught.value.field == f"rows[{place}]"


@pytest.mark.parametrize("odd", [[1], 5, "x", None, True], ids=str)
@pytest.mark.parametrize("place", [1, BATCH_ROWS + 1])
def test_mixed_shapes(odd: Any, place: int) -> None:
    """A row of another shape than the others is named by its place."""
    rows: list[Any] = [{"a": 1}] * (BATCH_ROWS + 5)
    rows[place] = odd
    with pytest.raises(InvalidField) as caught:
        table(rows, ("a",))
    assert caught.value.field == f"rows[{place}]"


def test_mixed_shapes_of_whole_parts() -> None:
    """Objects in one part of the array and arrays in the next are refused as well."""
    with pytest.raises(InvalidField) as caught:
        table([*[{"a": 1}] * BATCH_ROWS, [1]], ("a",))
    assert caught.value.field == f"rows[{BATCH_ROWS}]"


def test_scalars() -> None:
    """Rows that are no rows are refused."""
    with pytest.raises(InvalidField) as caught:
        table([1, 2])
    assert caught.value.field == "rows[0]"


@pytest.mark.parametrize("text", [b"{}", b"5", b'"x"', b"null"])
def test_no_array(text: bytes) -> None:
    """Rows that are no array are refused."""
    with pytest.raises(InvalidField) as caught:
        table(text)
    assert caught.value.field == "rows"


def test_arrays_without_names() -> None:
    """Rows that are arrays need names."""
    with pytest.raises(InvalidField) as caught:
        table([[1]])
    assert caught.value.field == "columns"


def test_names_twice() -> None:
    """A name given twice for rows that are arrays is refused."""
    with pytest.raises(InvalidField) as caught:
        table([[1, 2]], ("a", "a"))
    assert caught.value.field == "columns"


@pytest.mark.parametrize(
    ("first", "later", "type_", "texts"),
    [
        (1, "a", pa.string(), ("1", "a")),
        (1, 0.5, pa.float64(), (1.0, 0.5)),
        (1, 2**70, pa.decimal128(38, 0), (Decimal(1), Decimal(2**70))),
        (9_007_199_254_740_993, 0.5, pa.string(), ("9007199254740993", "0.5")),
        (None, 5, pa.int64(), (None, 5)),
        (True, 1, pa.string(), ("true", "1")),
        (0.1, "x", pa.string(), ("0.1", "x")),
        ([1], "x", pa.string(), ("[1]", "x")),
        (2**70, 0.5, pa.string(), (str(2**70), "0.5")),
        (2**63, 1, pa.decimal128(38, 0), (Decimal(2**63), Decimal(1))),
    ],
    ids=str,
)
@pytest.mark.parametrize("swap", [False, True])
def test_types_that_change_late(first: Any, later: Any, type_: Any, texts: tuple[Any, Any], *, swap: bool) -> None:
    """A type that changes after thousands of rows is the common one from the first row on."""
    one, other = (later, first) if swap else (first, later)
    batches = decode_rows(json.dumps([*[{"x": one}] * BATCH_ROWS, {"x": other}]).encode(), None)
    assert {batch.schema.field("x").type for batch in batches} == {type_}
    made = [value for batch in batches for value in batch["x"].to_pylist()]
    assert (made[0], made[-1]) == (texts[::-1] if swap else texts)


def test_columns_that_come_late() -> None:
    """A key that first appears after thousands of rows is missing before."""
    made = table([*[{"a": 1}] * BATCH_ROWS, {"b": "x"}])
    assert made.column_names == ["a", "b"]
    assert made.slice(BATCH_ROWS - 1).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


@pytest.mark.parametrize(
    "text", [b"[", b'[{"a":1}', b'[{"a":}]', b'[{"a":1},]', b"\xff", b"", b'[{"a":"\xff"}]', b'[{"a":"\\ud800"}]']
)
def test_bad_json(text: bytes) -> None:
    """A text that is no JSON is an error of the caller's."""
    with pytest.raises((MalformedBody, ValueError)):
        table(text)


def test_bad_json_late() -> None:
    """A value that is no JSON is found, and its part of the array named."""
    text = b"[" + b",".join([*[b'{"a":1}'] * BATCH_ROWS, b'{"a":"\\x"}']) + b"]"
    with pytest.raises(MalformedBody) as caught:
        table(text)
    assert caught.value.field == "rows"


def test_deep_nesting() -> None:
    """Nesting without end is an error of the caller's, not a crash."""
    with pytest.raises(MalformedBody):
        table(b'[{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}]")


@pytest.mark.parametrize("names", [None, ("a", "b")])
def test_no_rows(names: tuple[str, ...] | None) -> None:
    """No rows are a table of no rows, of the named columns."""
    made = table([], names)
    assert (made.column_names, len(made)) == (list(names or ()), 0)


def test_rows_without_keys() -> None:
    """Rows that have no keys at all are refused."""
    with pytest.raises(InvalidField) as caught:
        table([{}, {}])
    assert caught.value.field == "rows"


def test_rows_without_keys_among_others() -> None:
    """Rows without keys beside thousands of others are rows of missing values."""
    assert len(table([*[{"a": 1}] * BATCH_ROWS, {}])) == BATCH_ROWS + 1
