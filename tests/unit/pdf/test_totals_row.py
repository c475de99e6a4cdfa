"""Sums below the last row."""

from __future__ import annotations

import decimal
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_export.model import ColumnSpec

if TYPE_CHECKING:
    from .conftest import Press

WHOLE = {"orientation": "landscape"}


def totals_line(pages: list[str]) -> list[str]:
    """The words of the line that begins with the label, which is on the last page only."""
    found = [[line.split() for line in page.splitlines() if line.split()[:1] == ["Total"]] for page in pages]
    assert found[:-1] == [[]] * (len(pages) - 1)
    ((line,)) = found[-1]
    return line


@pytest.mark.parametrize("rows", [1, 36, 37, 38, 77, 78, 79, 2500])
def test_totals_are_on_the_last_page(press: Press, rows: int) -> None:
    """The totals stand below the last row, or alone where that fills its page."""
    table = pa.table({"name": [f"row {row}" for row in range(rows)], "n": range(rows), "m": [1] * rows})
    pages = press.pages(press.make(table, totals=["n"], **WHOLE))
    assert totals_line(pages) == ["Total", str(sum(range(rows)))]
    assert sum(len(re.findall(r"row \d+", page)) for page in pages) == rows


@pytest.mark.parametrize(
    ("overflow", "orientation", "rows", "more"),
    [
        *((overflow, "landscape", rows, 0) for overflow in ("ellipsis", "wrap") for rows in (35, 36, 37, 38, 39)),
        *((overflow, "portrait", rows, rows == 58) for overflow in ("ellipsis", "wrap") for rows in (57, 58, 59)),
    ],
)
def test_totals_take_a_page_only_when_they_must(
    press: Press, overflow: str, orientation: str, rows: int, more: int
) -> None:
    """Below 37 rows lying there are 9.6 points and the margin's 8 for a row of 12.8; below 58 upright 3.8 and those."""
    table = pa.table({"name": ["x"] * rows, "n": [1] * rows})
    made = [
        press.make(table, totals=totals, overflow=overflow, orientation=orientation, page_size="A4")
        for totals in (["n"], [])
    ]
    assert len(press.sizes(made[0])) - len(press.sizes(made[1])) == more


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.none() | st.decimals(min_value=-(10**18), max_value=10**18, places=4, allow_nan=False),
        min_size=1,
        max_size=40,
    )
)
def test_decimals_add_up_exactly(press: Press, values: list[decimal.Decimal | None]) -> None:
    """The sum of decimals is exact to the last digit, missing values apart."""
    table = pa.table({"name": ["x"] * len(values), "d": pa.array(values, pa.decimal128(38, 4))})
    with decimal.localcontext(prec=100):
        expected = sum((value for value in values if value is not None), decimal.Decimal("0.0000"))
    assert totals_line(press.pages(press.make(table, totals=["d"], batch_rows=7))) == ["Total", f"{expected:f}"]


@pytest.mark.parametrize(
    ("values", "type_", "shown"),
    [
        ([2**63 - 1] * 3, pa.int64(), str(3 * (2**63 - 1))),
        ([2**64 - 1] * 2, pa.uint64(), str(2 * (2**64 - 1))),
        ([200] * 3, pa.uint8(), "600"),
        ([0.1] * 10, pa.float64(), "1"),
        ([0.1, 0.2], pa.float64(), "0.3"),
        ([1e308, 1e308], pa.float64(), "Infinity"),
        ([decimal.Decimal(10**38 - 1)] * 2, pa.decimal128(38, 0), "1" + "9" * 37 + "8"),
        ([None, None], pa.int32(), "0"),
        ([1.5, None], pa.float32(), "1.5"),
    ],
)
def test_sums_hold_more_than_their_columns(press: Press, values: list[Any], type_: Any, shown: str) -> None:
    """A sum may be larger than the column's type holds, and floats show no rounding."""
    table = pa.table({"name": ["x"] * len(values), "v": pa.array(values, type_)})
    assert totals_line(press.pages(press.make(table, totals=["v"]))) == ["Total", shown]


def test_totals_read_as_their_columns_do(press: Press) -> None:
    """Decimals and thousands of the column are the total's too."""
    columns = [ColumnSpec(name="name"), ColumnSpec(name="v", label="Value", decimals=2, thousands=",")]
    table = pa.table({"name": ["x"] * 3, "v": [1000.125, 2000.0, 0.5], "other": [1, 2, 3]})
    assert totals_line(press.pages(press.make(table, columns=columns, totals=["v"]))) == ["Total", "3,000.62"]


def test_a_label_gives_way_to_a_sum(press: Press) -> None:
    """Where the first column is summed its sum stands in the label's place."""
    text = press.text(press.make(pa.table({"n": [40, 2], "m": [1, 1]}), totals=["n"]))
    assert "Total" not in text
    assert re.search(r"(?m)^ *42$", text)


def test_a_sum_is_never_cut(press: Press) -> None:
    """A sum wider than its column is set smaller, whole."""
    rows = 1000
    table: Any = pa.table({f"c{index}": [1] * rows + [10**18] for index in range(12)})
    text = press.text(
        press.make(table, totals=[f"c{index}" for index in range(12)], page_size="A4", orientation="portrait")
    )
    assert text.count(str(10**18 + rows)) == 12


def test_no_rows_have_no_totals(press: Press) -> None:
    """A table of no rows has no totals."""
    assert "Total" not in press.text(press.make(pa.table({"a": ["x"], "n": [1]}).slice(0, 0), totals=["n"]))
