"""What is left out of files unread: never a row that the engine would keep."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_export.errors import InvalidField
from spark_export.model import Condition
from spark_export.sources.duckdb import Engine
from spark_export.sources.pushdown import expression_of
from spark_export.sources.selection import Selection

NAN = math.nan
MOMENTS = [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 12, 30, 0, 123456), None]  # noqa: DTZ001 - without a zone
DAYS = [dt.date(2024, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)]
NANOSECONDS = 1_704_067_200_000_000_000
ROWS = pa.table(
    {
        "place": pa.array(range(6)),
        "integer": pa.array([0, -1, 2**53 + 1, None, 5, 7]),
        "small": pa.array([0, -1, 127, None, 5, 7], pa.int8()),
        "unsigned": pa.array([0, 2**64 - 1, 2**63, None, 5, 7], pa.uint64()),
        "double": pa.array([0.0, -0.0, NAN, None, math.inf, 1.5]),
        "single": pa.array([0.1, -0.0, NAN, None, math.inf, 1.5], pa.float32()),
        "text": pa.array(["a", "", "Z", None, "ä", "a\U0001f600"]),
        "large": pa.array(["a", "", "Z", None, "5", "2024-01-01"], pa.large_string()),
        "truth": pa.array([True, False, True, None, False, True]),
        "day": pa.array([*DAYS, None, *DAYS[1:]]),
        "moment": pa.array([*MOMENTS, *MOMENTS], pa.timestamp("us")),
        "seconds": pa.array([*MOMENTS[:1], *[None] * 4, *MOMENTS[:1]], pa.timestamp("s")),
        "nanos": pa.array([NANOSECONDS + 1, *[None] * 4, NANOSECONDS], pa.timestamp("ns", "UTC")),
        "zoned": pa.array([*MOMENTS, *MOMENTS], pa.timestamp("us", "Europe/Istanbul")),
        "decimal": pa.array([Decimal("0.10"), Decimal("-1.00"), None, Decimal("5.00"), Decimal("7.00"), None]),
    }
)  # fmt: skip
VALUES = [
    0, 5, -1, 127, 128, 2**53 + 1, 2**64 - 1, 0.0, -0.0, 0.1, 1.5, 5.0, True, False, "a", "", "Z", "ä", "5", "0.1",
    "true",
    "2024-01-01", "2024-01-02", "2024-1-1", "9999-12-31", "2024-01-01T12:30:00.123456", "2024-01-01 12:30:00.123456Z",
    "2024-01-01T03:00:00+03:00", "2024-01-01 00:00:00", "2024-13-01",
]  # fmt: skip
ONE_VALUE = ("eq", "ne", "lt", "le", "gt", "ge")


def conditions(column: str) -> Iterator[Condition]:
    """Every operator but `like` with every value, and some pairs."""
    yield from (Condition(column=column, op=op) for op in ("is_null", "not_null"))
    yield from (Condition(column=column, op=op, value=value) for op in ONE_VALUE for value in VALUES)  # type: ignore[arg-type]
    for pair in pairwise(VALUES):
        yield Condition(column=column, op="in", value=list(pair))
        yield Condition(column=column, op="between", value=list(pair))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine that filters."""
    with ThreadPoolExecutor(1) as threads:
        folder: Path = tmp_path_factory.mktemp("spill")
        made = Engine(
            folder=None, databases={}, memory_bytes=64 * 2**20, query_threads=1, temp_folder=folder, threads=threads
        )
        yield made
        made.close()


async def kept(engine: Engine, where: tuple[Condition, ...]) -> list[int]:
    """Places of the rows that the engine keeps."""
    selection = Selection(columns=("place",), where=where)
    opened = engine.open_arrow(ROWS.schema, iter(ROWS.to_batches()), selection)
    async with opened as source, aclosing(source.batches()) as batches:
        return [place async for batch in batches for place in batch.column(0).to_pylist()]


@pytest.mark.parametrize("column", ROWS.column_names)
def test_no_row_is_lost(engine: Engine, column: str) -> None:
    """Every row that the engine keeps, the expression keeps."""
    for condition in conditions(column):
        expression = expression_of([condition], ROWS.schema)
        if expression is None:
            continue
        with suppress(InvalidField):
            places = asyncio.run(kept(engine, (condition,)))
            assert set(places) <= set(ROWS.filter(expression)["place"].to_pylist()), condition


def test_conditions_are_joined() -> None:
    """Of several conditions those that have an expression narrow it together."""
    where = [Condition(column="integer", op="ge", value=0), Condition(column="text", op="like", value="zz"),
             Condition(column="small", op="lt", value=7)]  # fmt: skip
    assert ROWS.filter(expression_of(where, ROWS.schema))["place"].to_pylist() == [0, 4]


@pytest.mark.parametrize(
    ("column", "op", "value", "places"),
    [
        ("integer", "gt", 5, [2, 5]), ("small", "in", [5, 127], [2, 4]), ("unsigned", "ge", 2**63, [1, 2]),
        ("double", "le", 0, [0, 1]), ("double", "between", [1, 2], [5]), ("text", "ge", "a", [0, 4, 5]),
        ("large", "eq", "Z", [2]), ("truth", "eq", True, [0, 2, 5]), ("day", "lt", "2024-01-02", [0, 1, 4]),
        ("moment", "gt", "2024-01-01T01:00:00", [1, 4]), ("zoned", "le", "2024-01-01", [0, 3]),
        ("text", "is_null", None, [3]), ("text", "not_null", None, [0, 1, 2, 4, 5]),
    ],
)  # fmt: skip
def test_expressions(column: str, op: Any, value: Any, places: list[int]) -> None:
    """A condition becomes an expression that keeps its rows alone."""
    expression = expression_of([Condition(column=column, op=op, value=value)], ROWS.schema)
    assert ROWS.filter(expression)["place"].to_pylist() == places


@pytest.mark.parametrize(
    ("column", "op", "value"),
    [("double", "gt", 1), ("double", "ne", 1), ("double", "ge", 1), ("double", "eq", 2**53 + 2), ("single", "eq", 0.1),
     ("integer", "gt", 1.5), ("integer", "eq", True), ("small", "lt", 128), ("text", "like", "a%"), ("nanos", "eq",
     "2024-01-01"), ("moment", "eq", "2024-01-01T00:00:00Z"), ("seconds", "eq", "2024-01-01T00:00:00.5"),
     ("decimal", "eq", 5), ("day", "eq", "2024-01-01T00:00:00"), ("elsewhere", "eq", 1), ("integer", "in", ["5"])],
)  # fmt: skip
def test_what_stays_with_the_engine(column: str, op: Any, value: Any) -> None:
    """A condition whose meaning may differ in Arrow becomes none."""
    assert expression_of([Condition(column=column, op=op, value=value)], ROWS.schema) is None
