"""What rows were chosen by, in words."""

from __future__ import annotations

from typing import Any

import pytest

from spark_export.model import ExportRequest
from spark_export.writers.pdf.filters import filters_text


def text(**request: Any) -> str:
    """Of a request."""
    return filters_text(ExportRequest.model_validate(request))


def test_no_filters() -> None:
    """A request for all rows says nothing."""
    assert text(dataset="trades") == ""


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ({"column": "n", "op": "eq", "value": 5}, "n = 5"),
        ({"column": "n", "op": "ne", "value": 5}, "n ≠ 5"),
        ({"column": "n", "op": "lt", "value": 2.5}, "n < 2.5"),
        ({"column": "n", "op": "le", "value": 5}, "n ≤ 5"),
        ({"column": "n", "op": "gt", "value": 5}, "n > 5"),
        ({"column": "n", "op": "ge", "value": 5}, "n ≥ 5"),
        ({"column": "name", "op": "like", "value": "A%"}, "name like A%"),
        ({"column": "n", "op": "between", "value": [1, 9]}, "n 1 to 9"),
        ({"column": "ok", "op": "eq", "value": True}, "ok = true"),
        ({"column": "n", "op": "is_null"}, "n is missing"),
        ({"column": "n", "op": "not_null"}, "n is there"),
        ({"column": "n", "op": "in", "value": [1]}, "n in 1"),
        ({"column": "n", "op": "in", "value": [1, 2, 3, 4, 5]}, "n in 1, 2, 3, 4, 5"),
        ({"column": "n", "op": "in", "value": [1, 2, 3, 4, 5, 6]}, "n in 1, 2, 3, 4, 5 and 1 more"),
        ({"column": "n", "op": "in", "value": list(range(50))}, "n in 0, 1, 2, 3, 4 and 45 more"),
    ],
)
def test_conditions(condition: dict[str, Any], shown: str) -> None:
    """Each condition reads as it is meant; of long lists the first five values."""
    assert text(where=[condition]) == shown


def test_parameters() -> None:
    """Parameters are named with their values, booleans and missing ones in lower case."""
    assert (
        text(params={"day": "2026-01-05", "all": False, "desk": None}) == "day: 2026-01-05 · all: false · desk: missing"
    )


def test_all_of_them() -> None:
    """Parameters come first, then conditions, then the limit."""
    conditions = [{"column": "n", "op": "gt", "value": 5}, {"column": "m", "op": "is_null"}]
    assert text(params={"a": 1}, where=conditions, limit=12000) == "a: 1 · n > 5 · m is missing · limit 12,000"


def test_limit_of_nothing() -> None:
    """A limit of no rows is a limit."""
    assert text(limit=0) == "limit 0"
