"""Texts as values of the type that a request's `columns[].type` asks for; empty ones are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_export.model import ValueType

NOTHING = pa.scalar(None, pa.string())
DIGITS_MOST = 38
PLACES = r"^[^.]*\.?(?P<places>.*)$"
"""What stands after the point."""
WITHOUT_OFFSET = r"^[^ T]*([ T][0-9:.]*)?$"


def typed(texts: Any, type_: ValueType) -> Any:
    """The texts as values.

    Raises:
        pa.ArrowInvalid: a text is none of the type.
    """
    if type_ == "text":
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    return _CASTS[type_](pc.if_else(pc.equal(trimmed, ""), NOTHING, trimmed))


def first_odd(texts: Any, type_: ValueType) -> int:
    """The place of the first text that is none of the type, where there is one."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(texts.slice(0, middle), type_) else (low, middle)
    return low


def _fits(texts: Any, type_: ValueType) -> bool:
    try:
        typed(texts, type_)
    except pa.ArrowInvalid:
        return False
    return True


def _decimals(texts: Any) -> Any:
    """Decimals of as many places as the longest has: nothing is rounded."""
    places = pc.struct_field(pc.extract_regex(texts, PLACES), "places")
    return texts.cast(pa.decimal128(DIGITS_MOST, min(DIGITS_MOST, pc.max(pc.utf8_length(places)).as_py() or 0)))


def _timestamps(texts: Any) -> Any:
    """Without a zone where none of them has an offset; one without among others is UTC."""
    try:
        return texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        bare = pc.match_substring_regex(texts, WITHOUT_OFFSET)
        marked = pc.if_else(bare, pc.binary_join_element_wise(texts, "Z", ""), texts)
        return marked.cast(pa.timestamp("us", "UTC"))


_CASTS: dict[str, Callable[[Any], Any]] = {
    "integer": lambda texts: texts.cast(pa.int64()),
    "number": lambda texts: texts.cast(pa.float64()),
    "decimal": _decimals,
    "boolean": lambda texts: pc.utf8_lower(texts).cast(pa.bool_()),
    "date": lambda texts: texts.cast(pa.date32()),
    "timestamp": _timestamps,
}
