"""Conditions as Arrow's expressions, to leave out files and row groups in which no row can fit. Pure.

The engine filters again what is read, so that results and errors are those of every other source. An expression must
therefore never be narrower than its condition; a condition whose meaning differs in Arrow has none: to the engine NaN
is the largest number, so `gt` on doubles stays with it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import reduce
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_export.model import Condition, Scalar

COMPARISONS = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}
ON_DOUBLES = frozenset({"eq", "in", "lt", "le", "between"})
"""What says the same of NaN in both."""
EXACT_INTEGER = 2**53
MOST_IN = 50
"""Values of an `in` whose comparisons are worth their time."""
DATE = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?")


def expression_of(where: Sequence[Condition], schema: Any) -> Any:
    """An expression that holds for every row for which all conditions do; None where there is nothing to say.

    Args:
        where: conditions, joined by AND.
        schema: of the rows; columns that are not in it have no say.
    """
    known = [_of_condition(each, schema.field(each.column)) for each in where if each.column in schema.names]
    told = [expression for expression in known if expression is not None]
    return reduce(and_, told) if told else None


def _of_condition(condition: Condition, field: Any) -> Any:
    column = pc.field(field.name)
    if condition.op in {"is_null", "not_null"}:
        return column.is_null() if condition.op == "is_null" else column.is_valid()
    if condition.op == "like" or (pa.types.is_float64(field.type) and condition.op not in ON_DOUBLES):
        return None
    given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    values = [_scalar(value, field.type) for value in given]
    if not values or len(values) > MOST_IN or None in values:
        return None
    if condition.op == "between":
        return (column >= values[0]) & (column <= values[1])
    compare = COMPARISONS["eq" if condition.op == "in" else condition.op]
    return reduce(or_, (compare(column, value) for value in values))


def _scalar(value: Scalar | None, type_: Any) -> Any:
    """The value in the column's type, None where that or its order is not certain to be the engine's."""
    try:
        converted = _converted(value, type_)
        # A moment of more digits than the type's is cut off by `scalar`, refused by `cast`.
        exact = pa.timestamp("us", type_.tz) if pa.types.is_timestamp(type_) else type_
        return None if converted is None else pa.scalar(converted, exact).cast(type_)
    except (ValueError, OverflowError, pa.ArrowException):
        return None


def _converted(value: Scalar | None, type_: Any) -> Any:
    if pa.types.is_boolean(type_):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if pa.types.is_integer(type_):
        return value if isinstance(value, int) else None
    if pa.types.is_float64(type_):
        return value if isinstance(value, int | float) and abs(value) <= EXACT_INTEGER else None
    return _of_text(value, type_) if isinstance(value, str) else None


def _of_text(text: str, type_: Any) -> Any:
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return text
    if pa.types.is_date32(type_) and DATE.fullmatch(text):
        return dt.date.fromisoformat(text)
    # To the engine a moment has microseconds: of finer ones several may be equal.
    if pa.types.is_timestamp(type_) and type_.unit != "ns" and (found := MOMENT.fullmatch(text)):
        moment = dt.datetime.fromisoformat(text)
        if type_.tz is None:
            return None if found[3] else moment
        return moment if found[3] else moment.replace(tzinfo=dt.UTC)
    return None
