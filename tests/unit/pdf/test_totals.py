"""Sums of columns."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import InvalidField
from spark_export.model import ColumnSpec
from spark_export.text import Encoder
from spark_export.writers.pdf.totals import Totals

MOST = decimal.Context(prec=200)


def total(batches: Sequence[Sequence[Any]], type_: Any) -> str:
    """The total of one column, whose values come in batches."""
    made = [pa.record_batch({"n": pa.array(values, type_)}) for values in batches]
    totals = Totals(Encoder(pa.schema([("n", type_)])), ["n"])
    for batch in made:
        totals.add(batch)
    (text,) = totals.texts("Total") or []
    return text


def batched(values: Sequence[Any], step: int) -> list[Sequence[Any]]:
    """The values in batches of so many."""
    return [values[start : start + step] for start in range(0, len(values), step)]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=9), st.integers(1, 9))
def test_integers(values: list[int | None], step: int) -> None:
    """Sums of integers are exact beyond 64 bits, however they are batched; missing values count nothing."""
    assert total(batched(values, step), pa.int64()) == str(sum(value for value in values if value is not None))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9), st.integers(1, 9))
def test_unsigned_integers(values: list[int], step: int) -> None:
    """The same of unsigned ones."""
    assert total(batched(values, step), pa.uint64()) == str(sum(values))


@pytest.mark.parametrize(
    "type_", [pa.int8(), pa.int16(), pa.uint8(), pa.uint32(), pa.dictionary(pa.int8(), pa.int64())]
)
def test_small_integers(type_: Any) -> None:
    """Integers of any width, and those of a dictionary, are summed without a limit of their own."""
    assert total([[100] * 1000] * 3, type_) == "300000"


@given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1), max_size=9), st.integers(0, 38), st.integers(1, 9))
def test_decimals(digits: list[int], scale: int, step: int) -> None:
    """Sums of decimals of 38 digits are exact, with all the places of their column."""
    values = [MOST.scaleb(Decimal(each), -scale) for each in digits]
    expected = MOST.scaleb(Decimal(sum(digits)), -scale)
    assert total(batched(values, step), pa.decimal128(38, scale)) == (f"{expected:.{scale}f}" if values else "0")


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(1, 40))
def test_floats(cents: list[int], step: int) -> None:
    """Sums of doubles that stand for hundredths show just these, however they are batched."""
    shown = total(batched([each / 100 for each in cents], step), pa.float64())
    assert float(shown) == sum(cents) / 100
    assert len(shown.replace(".", "")) <= 15


def test_floats_of_many_batches() -> None:
    """Sums stay exact to the last digits over more batches than are kept apart."""
    assert total([[0.1]] * (3 * 512 + 1), pa.float64()) == "153.7"
    assert total([[1e16], *[[1.0]] * 512, [-1e16]], pa.float64()) in {"512", "512.0"}


def test_rounding_does_not_show() -> None:
    """What a double cannot hold does not show in the last digits."""
    assert total([[0.1, 0.2]], pa.float64()) == "0.3"


def test_rounding_of_differences_does_not_show() -> None:
    """Nor does it where values of both signs add up to a smaller one."""
    assert total([[584436.44, -671084.91]], pa.float64()) == "-86648.47"


def test_floats_that_cancel_out() -> None:
    """Sums of doubles do not depend on batches where large ones cancel out either."""
    assert total([[1e16, 1.0, -1e16]], pa.float64()) == total([[1e16], [1.0], [-1e16]], pa.float64())


def test_single_precision() -> None:
    """The total of one value of single precision reads as the value does."""
    assert total([[0.1]], pa.float32()) == "0.1"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, math.nan], "NaN"),
        ([1.0, math.inf], "Infinity"),
        ([-math.inf, 1.0], "-Infinity"),
        ([math.inf, -math.inf], "NaN"),
        ([None, None], "0"),
    ],
)
@pytest.mark.parametrize("step", [1, 2])
def test_what_is_no_number(values: list[float | None], shown: str, step: int) -> None:
    """NaN and infinities add up as IEEE 754 says; a column without values has nothing in it."""
    assert total(batched(values, step), pa.float64()) in {shown, shown + ".0"}


def test_infinities_of_many_batches() -> None:
    """Infinities of both signs are no number, in however many batches they come."""
    assert total([[math.inf], *[[1.0]] * (2 * 512), [-math.inf]], pa.float64()) == "NaN"
    assert total([[math.inf], *[[1.0]] * (2 * 512)], pa.float64()) == "Infinity"


def test_no_batches() -> None:
    """The total of no rows is zero."""
    assert total([], pa.int64()) == "0"


TABLE = pa.record_batch({"name": ["a", "b"], "n": [1, 2], "price": pa.array([Decimal("1.50"), None])})


def texts(names: Sequence[str], specs: Sequence[ColumnSpec] | None = None) -> list[str] | None:
    """The row of totals of a small table."""
    totals = Totals(Encoder(TABLE.schema, specs), names)
    totals.add(TABLE)
    return totals.texts("Total")


def test_the_row() -> None:
    """The row has a text a column, empty where nothing is summed, and the label in the first."""
    assert texts(["price"]) == ["Total", "", "1.50"]
    assert texts(["n", "price"]) == ["Total", "3", "1.50"]


def test_no_totals() -> None:
    """Without columns to sum there is no row."""
    assert texts([]) is None


def test_totals_read_as_the_cells_do() -> None:
    """Totals have the decimals and separators of their columns; one in the first column leaves no room for a label."""
    specs = [ColumnSpec(name="price", decimals=3), ColumnSpec(name="n", label="Count")]
    assert texts(["price", "n"], specs) == ["1.500", "3"]


@pytest.mark.parametrize(("names", "place"), [(["name"], 0), (["n", "nowhere"], 1), (["N"], 0)])
def test_what_cannot_be_summed(names: list[str], place: int) -> None:
    """A total of a column that is no number, or that is not there, is refused by its place."""
    with pytest.raises(InvalidField) as refused:
        texts(names)
    assert refused.value.field == f"pdf.totals[{place}]"
    assert "there are 'n', 'price'" in str(refused.value)


def test_columns_that_are_left_out() -> None:
    """A total of a column that is not in the file is refused."""
    with pytest.raises(InvalidField, match="there is none"):
        texts(["n"], [ColumnSpec(name="name")])
