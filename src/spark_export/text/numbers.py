"""Numbers as text.

Measured on one core: integers 15 ns a value, doubles 65, doubles at fixed places 60 (20 to decimal, 40 to text).
"""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

DECIMAL128_DIGITS = 38
DECIMAL256_DIGITS = 76
UNBOUNDED = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
"""Rounds half to even."""

NUMBER = r"^[+-]?(\d+|\d{1,3}([,.' ]\d{3})+)([.,]\d+)?([eE][+-]?\d+)?$"
"""A text that reads as a number: with a sign, with groups of three digits, with places, with an exponent."""


def integer_text(values: Any) -> Any:
    """Integers, each with all its digits."""
    return pc.cast(values, pa.string())


def float_text(values: Any) -> Any:
    """Doubles as the shortest text that reads back to the same double; `NaN`, `Infinity`, `-Infinity` for the rest.

    Single precision is the shortest for single precision. The three words are those of PostgreSQL, Python and DuckDB.
    """
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    text = pc.cast(values, pa.string())
    return _name_non_finite(values, text)


def _name_non_finite(values: Any, text: Any) -> Any:
    if pc.all(pc.is_finite(values), min_count=0).as_py() is not False:
        return text
    text = pc.if_else(pc.is_nan(values), "NaN", text)
    infinite = pc.is_inf(values)
    return pc.if_else(infinite, pc.if_else(pc.less(values, 0), "-Infinity", "Infinity"), text)


def decimal_text(values: Any) -> Any:
    """Decimals in plain notation with all the places of their scale, never an exponent."""
    scale = values.type.scale
    if scale < 0:
        values = values.cast(pa.decimal256(DECIMAL256_DIGITS, 0))
    text = pc.cast(values, pa.string())
    # Arrow writes a value below 1e-6 with an exponent, as Python's decimal does.
    if scale > 6 and pc.any(pc.match_substring(text, "E"), min_count=0).as_py():
        text = _place_point(_unscaled_text(values), scale)
    return text


def _unscaled_text(values: Any) -> Any:
    """The decimals' digits as if their scale were 0: `1.50` reads `150`."""
    wide = values.cast(pa.decimal256(DECIMAL256_DIGITS, values.type.scale))
    whole = pa.Array.from_buffers(
        pa.decimal256(DECIMAL256_DIGITS, 0), len(wide), wide.buffers(), wide.null_count, wide.offset
    )
    return pc.cast(whole, pa.string())


def _place_point(digits: Any, scale: int) -> Any:
    negative = pc.starts_with(digits, "-")
    padded = pc.utf8_lpad(pc.utf8_ltrim(digits, "-"), width=scale + 1, padding="0")
    text = pc.binary_replace_slice(padded, start=-scale, stop=-scale, replacement=".")
    return pc.if_else(negative, pc.binary_join_element_wise("-", text, ""), text)


def fixed_text(values: Any, places: int) -> Any:
    """Numbers with exactly `places` decimal places (0 to 18), rounded half to even on the exact value.

    The exact value of the double 2.675 is below 2.675, so that it reads `2.67` at two places, as C's printf has it.
    """
    if pa.types.is_string(values.type):
        return _fixed_written_text(values, places)
    if pa.types.is_floating(values.type):
        return _fixed_float_text(values, places)
    if pa.types.is_decimal(values.type):
        rounded = pc.round(values, ndigits=places, round_mode="half_to_even") if places < values.type.scale else values
        return decimal_text(rounded.cast(pa.decimal256(DECIMAL256_DIGITS, places)))
    text = integer_text(values)
    return pc.binary_join_element_wise(text, "." + "0" * places, "") if places else text


def _fixed_float_text(values: Any, places: int) -> Any:
    values = values.cast(pa.float64())
    bound = 10.0 ** (DECIMAL128_DIGITS - places - 1)
    fits = pc.less(pc.abs(values), bound)  # false for NaN
    if pc.all(fits, min_count=0).as_py() is not False:
        return decimal_text(values.cast(pa.decimal128(DECIMAL128_DIGITS, places), safe=False))
    inside = pc.if_else(fits, values, 0.0)
    text = decimal_text(inside.cast(pa.decimal128(DECIMAL128_DIGITS, places), safe=False))
    outside = pc.and_(pc.invert(fits), pc.is_finite(values))
    # Beyond 1e20 at 18 places and 1e38 at none: too rare for a kernel.
    huge = [f"{value:.{places}f}" for value in values.filter(outside).to_pylist()]
    text = pc.replace_with_mask(text, pc.fill_null(outside, fill_value=False), pa.array(huge, pa.string()))
    return _name_non_finite(values, text)


def _fixed_written_text(texts: Any, places: int) -> Any:
    """Numbers that came as texts, of any number of digits: 1,000 ns a value, which only those pay."""
    return pa.array([None if text is None else _fixed(text, places) for text in texts.to_pylist()], pa.string())


def _fixed(text: str, places: int) -> str:
    value = decimal.Decimal(text)
    return (
        format(value.quantize(decimal.Decimal(1).scaleb(-places), context=UNBOUNDED), "f")
        if value.is_finite()
        else text
    )


def group_thousands(text: Any, separator: str, mark: str = ".") -> Any:
    """Numbers with `separator` between groups of three digits and `mark` for the point; words are left alone."""
    exponent = pc.match_substring(text, "e")
    negative = pc.starts_with(text, "-")
    unsigned = pc.utf8_ltrim(text, "-")
    whole = pc.replace_substring_regex(unsigned, r"[^0-9].*$", "")
    rest = pc.replace_substring(pc.replace_substring_regex(unsigned, r"^[0-9]*", ""), ".", mark)
    grouped = pc.if_else(exponent, whole, _group(whole, separator))
    return pc.binary_join_element_wise(pc.if_else(negative, "-", ""), grouped, rest, "")


def _group(digits: Any, separator: str) -> Any:
    longest = pc.max(pc.binary_length(digits)).as_py() or 0
    groups = -(-longest // 3)
    if groups < 2:
        return digits
    padded = pc.ascii_lpad(digits, width=groups * 3, padding="x")
    parts = [pc.utf8_slice_codeunits(padded, start, start + 3) for start in range(0, groups * 3, 3)]
    return pc.utf8_ltrim(pc.binary_join_element_wise(*parts, separator), "x" + separator)


def is_numeric(type_: Any) -> bool:
    """Whether values of the type are numbers: right-aligned, and never taken for a formula."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def reads_as_number(texts: Any) -> Any:
    """Mask of the texts that read as numbers; missing where they are."""
    return pc.match_substring_regex(texts, NUMBER)


def all_read_as_numbers(texts: Any) -> bool:
    """Whether some text reads as a number, and all do that are neither missing nor empty."""
    given = texts.filter(pc.greater(pc.binary_length(texts), 0))
    return len(given) > 0 and bool(pc.all(reads_as_number(given)).as_py())
