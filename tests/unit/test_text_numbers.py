"""Numbers as text, against Python's float, format and decimal."""

from __future__ import annotations

import decimal
import math
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.model import ColumnSpec
from spark_export.text import Encoder, Style

EXACT = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN)
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def texts(values: Any, mark: str = ".", **spec: Any) -> list[str | None]:
    """What the encoder makes of an array."""
    schema = pa.schema([("x", values.type)])
    encoder = Encoder(schema, [ColumnSpec(name="x", **spec)], Style(decimal_mark=mark))
    made: list[str | None] = encoder.encode(pa.record_batch([values], schema=schema))[0].to_pylist()
    return made


def rounded(value: float | Decimal, places: int) -> str:
    """The value at fixed places, half to even on its exact value."""
    return format(Decimal(value).quantize(Decimal(1).scaleb(-places), context=EXACT), "f")


def significant_digits(text: str) -> int:
    """How many digits carry a number's value."""
    return len(text.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0"))


@pytest.mark.parametrize("type_", INTEGERS, ids=str)
def test_integer_extremes(type_: Any) -> None:
    """The extremes of every integer type have all their digits."""
    bits, signed = type_.bit_width, pa.types.is_signed_integer(type_)
    values = [-(2 ** (bits - 1)), -1, 0, 2 ** (bits - 1) - 1] if signed else [0, 1, 2**bits - 1]
    assert texts(pa.array([*values, None], type_)) == [*map(str, values), None]


def test_booleans() -> None:
    """Booleans are words, and a missing one stays missing."""
    assert texts(pa.array([True, False, None])) == ["true", "false", None]


def test_nulls() -> None:
    """A column of the null type is missing throughout."""
    assert texts(pa.nulls(3)) == [None, None, None]


@given(st.lists(FINITE, min_size=1))
def test_doubles_read_back(values: list[float]) -> None:
    """Every finite double reads back as the very same double, the sign of zero included."""
    made = [float(text) for text in texts(pa.array(values, pa.float64())) if text is not None]
    assert struct.pack(f"{len(values)}d", *made) == struct.pack(f"{len(values)}d", *values)


@given(st.lists(FINITE, min_size=1))
def test_doubles_are_shortest(values: list[float]) -> None:
    """No double has more digits than Python's shortest repr."""
    for text, value in zip(texts(pa.array(values, pa.float64())), values, strict=True):
        assert text is not None
        assert significant_digits(text) == significant_digits(repr(value))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_singles_read_back(values: list[float]) -> None:
    """Every finite single reads back as the very same single, in at most nine digits."""
    for text, value in zip(texts(pa.array(values, pa.float32())), values, strict=True):
        assert text is not None
        assert struct.pack("f", float(text)) == struct.pack("f", value)
        assert significant_digits(text) <= 9


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1))
def test_halves_read_back(values: list[float]) -> None:
    """Every finite half reads back as the very same half."""
    for text, value in zip(texts(pa.array(values, pa.float16())), values, strict=True):
        assert text is not None
        assert struct.pack("e", float(text)) == struct.pack("e", value)


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("spec", [{}, {"decimals": 2}, {"thousands": ","}, {"decimals": 0, "thousands": "."}], ids=str)
def test_words(type_: Any, spec: dict[str, Any]) -> None:
    """NaN and the infinities are words under every column spec, beside numbers and missing values."""
    made = texts(pa.array([math.nan, math.inf, -math.inf, None, 0.0], type_), **spec)
    assert made[:4] == ["NaN", "Infinity", "-Infinity", None]
    assert float(made[4] or "x") == 0


@given(st.lists(FINITE, min_size=1), st.integers(0, 18))
def test_decimals_of_doubles(values: list[float], places: int) -> None:
    """A double at fixed places is what C's printf has, but for a negative zero's sign."""
    for text, value in zip(texts(pa.array(values, pa.float64()), decimals=places), values, strict=True):
        assert text is not None
        assert text.lstrip("-") == f"{abs(value):.{places}f}"
        assert Decimal(text) == Decimal(f"{value:.{places}f}")


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1), st.integers(0, 3))
def test_decimals_of_near_ties(thousandths: list[int], places: int) -> None:
    """A double beside a tie goes by its exact value: 2.675 at two places reads 2.67."""
    values = [each / 1000 for each in thousandths]
    made = texts(pa.array(values, pa.float64()), decimals=places)
    assert [Decimal(text or "x") for text in made] == [Decimal(rounded(value, places)) for value in values]


@given(st.lists(st.decimals(-(10**20), 10**20, places=6), min_size=1), st.integers(0, 18))
def test_decimals_of_decimals(values: list[Decimal], places: int) -> None:
    """A decimal at fixed places is rounded half to even on its exact value."""
    made = texts(pa.array(values, pa.decimal128(38, 6)), decimals=places)
    assert [Decimal(text or "x") for text in made] == [Decimal(rounded(value, places)) for value in values]
    assert all(len((text or "").partition(".")[2]) == places for text in made)


def test_decimals_of_ties() -> None:
    """Exact ties of decimals go to the even neighbour."""
    values = [Decimal(text) for text in ("0.5", "1.5", "2.5", "-0.5", "-1.5", "-2.5")]
    made = texts(pa.array(values, pa.decimal128(10, 1)), decimals=0)
    assert [int(text or "x") for text in made] == [0, 2, 2, 0, -2, -2]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.integers(0, 18))
def test_decimals_of_integers(values: list[int], places: int) -> None:
    """An integer at fixed places has that many zeros."""
    expected = [format(Decimal(value), f".{places}f") for value in values]
    assert texts(pa.array(values, pa.int64()), decimals=places) == expected


@st.composite
def decimal_columns(draw: st.DrawFn) -> tuple[Any, list[Decimal]]:
    """A decimal type of any precision and scale, and values of it."""
    precision = draw(st.integers(1, 76))
    wide = precision > 38 or draw(st.booleans())
    scale = draw(st.integers(0, precision))
    most = 10**precision - 1
    unscaled = draw(st.lists(st.one_of(st.integers(-most, most), st.integers(-20, 20)), min_size=1))
    values = [EXACT.create_decimal(max(-most, min(most, each))).scaleb(-scale, EXACT) for each in unscaled]
    return (pa.decimal256 if wide else pa.decimal128)(precision, scale), values


@given(decimal_columns())
def test_decimals_are_plain(column: tuple[Any, list[Decimal]]) -> None:
    """Decimals of any precision and scale are in plain notation, all their places shown."""
    type_, values = column
    made = texts(pa.array([*values, None], type_))
    assert made == [*(format(value, "f").replace("-0", "-0", 1) for value in values), None]


@pytest.mark.parametrize("type_", [pa.decimal128(5, -3), pa.decimal256(40, -2), pa.decimal128(38, -30)], ids=str)
def test_negative_scale(type_: Any) -> None:
    """Decimals of a negative scale have all their zeros and no exponent."""
    values = [Decimal(f"12E{-type_.scale}"), Decimal(f"-7E{-type_.scale}"), Decimal(0)]
    assert texts(pa.array(values, type_)) == [f"{int(value)}" for value in values]


@pytest.mark.parametrize("type_", [pa.decimal32(9, 2), pa.decimal64(18, 9)], ids=str)
def test_narrow_decimals(type_: Any) -> None:
    """Decimals of 32 and 64 bits read as wide ones do."""
    values = [Decimal("1.25"), Decimal("-0.01")]
    expected = [format(value.quantize(Decimal(1).scaleb(-type_.scale)), "f") for value in values]
    assert texts(pa.array(values, type_)) == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.sampled_from([",", "_"]))
def test_thousands_of_integers(values: list[int], separator: str) -> None:
    """Groups of three digits stand where Python's format puts them."""
    made = texts(pa.array(values, pa.int64()), thousands=separator)
    assert made == [f"{value:,}".replace(",", separator) for value in values]


@given(
    st.lists(st.floats(-1e15, 1e15), min_size=1),
    st.integers(0, 6),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", "."), ("'", ".")]),
)
def test_thousands_with_either_mark(values: list[float], places: int, marks: tuple[str, str]) -> None:
    """Groups and the decimal mark both read as told, whichever character each of them is."""
    separator, mark = marks
    expected = [f"{abs(value):,.{places}f}".translate({44: separator, 46: mark}) for value in values]
    made = texts(pa.array(values, pa.float64()), mark, decimals=places, thousands=separator)
    assert [(text or "").removeprefix("-") for text in made] == expected


def test_thousands_leaves_exponents() -> None:
    """A double that reads with an exponent is not grouped."""
    assert texts(pa.array([1e300, 1.5e-9]), ",", thousands=".") == ["1e+300", "1,5e-9"]


def test_decimal_mark() -> None:
    """The decimal mark changes numbers only."""
    assert texts(pa.array([1.5, -2.25, None]), ",") == ["1,5", "-2,25", None]
    assert texts(pa.array(["1.5"]), ",") == ["1.5"]
