"""What the rows of an export were chosen by, for a reader of its title block."""

from __future__ import annotations

from collections.abc import Iterator

from spark_export.model import Condition, ExportRequest, Scalar

SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "like": "like"}
MOST_VALUES = 5
"""Values of a list that are named."""


def filters_text(request: ExportRequest) -> str:
    """Parameters, conditions and limit of a request; empty where it has none."""
    return " · ".join(_parts(request))


def _parts(request: ExportRequest) -> Iterator[str]:
    for name, value in request.params.items():
        yield f"{name}: {_value(value)}"
    yield from map(_condition, request.where)
    if request.limit is not None:
        yield f"limit {request.limit:,}"


def _condition(condition: Condition) -> str:
    values = [_value(value) for value in condition.values]
    match condition.op:
        case "is_null":
            return f"{condition.column} is missing"
        case "not_null":
            return f"{condition.column} is there"
        case "between":
            return f"{condition.column} {values[0]} to {values[1]}"
        case "in":
            more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
            return f"{condition.column} in {', '.join(values[:MOST_VALUES])}{more}"
        case _:
            return f"{condition.column} {SIGNS[condition.op]} {values[0]}"


def _value(value: Scalar | None) -> str:
    if value is None:
        return "missing"
    return str(value).lower() if isinstance(value, bool) else str(value)
