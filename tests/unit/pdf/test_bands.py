"""Tables too wide for one page stand on several side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from .conftest import words

if TYPE_CHECKING:
    from .conftest import Press

A3_LYING, A4_LYING = (1190.55, 841.89), (841.89, 595.28)


def wide(columns: int, rows: int) -> Any:
    """Cells that can be told from each other."""
    return pa.table({f"column-{index}": [f"r{row}c{index}" for row in range(rows)] for index in range(columns)})


@pytest.mark.parametrize(("page_size", "size"), [("auto", A3_LYING), ("A4", A4_LYING), ("A3", A3_LYING)])
def test_every_cell_of_200_columns_is_there(press: Press, page_size: str, size: tuple[float, float]) -> None:
    """Every header and every cell is whole, on a page that has its row's first cell; `auto` takes A3 lying."""
    table = wide(200, 90)
    pdf = press.make(table, page_size=page_size)
    assert set(press.sizes(pdf)) == {size}
    pages = press.pages(pdf)
    shown = [words(page) for page in pages]
    assert all("column-0" in page for page in shown)
    headers = [[word for word in page if word.startswith("column-")] for page in shown]
    assert {word for page in headers for word in page} == set(table.column_names)
    cells = [{word for word in page if re.fullmatch(r"r\d+c\d+", word)} for page in shown]
    assert set().union(*cells) == {f"r{row}c{index}" for row in range(90) for index in range(200)}
    for header, page in zip(headers, cells, strict=True):
        rows = {word.partition("c")[0] for word in page}
        assert page == {f"{row}c{label.partition('-')[2]}" for row in rows for label in header}
    assert "…" not in "".join(pages)


def test_bands_follow_each_other(press: Press) -> None:
    """All bands of some rows come before the next rows, each column but the first once, in order."""
    pages = [words(page) for page in press.pages(press.make(wide(60, 100), page_size="A4"))]
    firsts = [next(word for word in page if re.fullmatch(r"r\d+c0", word)) for page in pages]
    bands = firsts.index("r" + re.findall(r"\d+", next(each for each in firsts if each != "r0c0"))[0] + "c0")
    assert bands > 1
    assert firsts == [firsts[place - place % bands] for place in range(len(firsts))]
    columns = [word for page in pages[:bands] for word in page if word.startswith("column-") and word != "column-0"]
    assert columns == [f"column-{index}" for index in range(1, 60)]


def test_a_narrower_table_stays_on_one_page(press: Press) -> None:
    """Columns that fit in a font that can be read need no second page."""
    pdf = press.make(wide(16, 3))
    assert len(press.sizes(pdf)) == 1
    assert set(wide(16, 3).column_names) <= set(words(press.text(pdf)))


def test_the_title_is_on_the_first_rows_pages(press: Press) -> None:
    """Each band's first page has the title block, later ones the title in their footer."""
    pages = press.pages(press.make(wide(60, 100), page_size="A4", subtitle="of the day"))
    assert ["of the day" in page for page in pages] == ["r0c0" in words(page) for page in pages]
    assert all("Trades" in page for page in pages)


def test_totals_of_bands(press: Press) -> None:
    """Each sum stands in its column's band, on its last page, and the label on each of them."""
    table = pa.table({"name": ["x"] * 30} | {f"column {index}": [index] * 30 for index in range(1, 80)})
    totals = [f"column {index}" for index in (1, 40, 79)]
    pages = press.pages(press.make(table, totals=totals, page_size="A4"))
    lines = [line.split() for page in pages for line in page.splitlines() if line.split()[:1] == ["Total"]]
    assert lines
    assert [word for line in lines for word in line if word != "Total"] == ["30", "1200", "2370"]
    last = len(pages) - len(lines)
    assert all("Total" in words(page) for page in pages[last:])


def test_wrapped_bands(press: Press) -> None:
    """The bands of broken rows show the same rows, and every line of them."""
    texts = [f"r{row}begin {'and more ' * (row % 9)}r{row}end" for row in range(40)]
    table = pa.table({"id": [f"id{row}" for row in range(40)]} | {f"text {index}": texts for index in range(30)})
    pages = press.pages(press.make(table, overflow="wrap", page_size="A4"))
    bands = [int(found) for found in re.findall(r"text (\d+)", " ".join(pages))]
    assert set(bands) == set(range(30))
    begins = [sorted(set(re.findall(r"r(\d+)begin", page))) for page in pages]
    assert all(sorted(set(re.findall(r"\bid(\d+)", page))) == each for page, each in zip(pages, begins, strict=True))
    for end in ("begin", "end"):
        assert [len(re.findall(rf"r{row}{end}", "".join(pages))) for row in range(40)] == [30] * 40


def test_a_long_first_column_leaves_room(press: Press) -> None:
    """A first column that is repeated takes a part of the width alone."""
    table = pa.table(
        {"key": ["k" * 300] * 2} | {f"column-{index}": ["a text of some width"] * 2 for index in range(50)}
    )
    shown = words(press.text(press.make(table, page_size="A4")))
    assert {f"column-{index}" for index in range(50)} <= set(shown)
    assert any(re.fullmatch(r"k{10,}…", word) for word in shown)


def test_one_column_wider_than_the_page(press: Press) -> None:
    """A single column is one band, however wide it is."""
    pages = press.pages(press.make(pa.table({"a": ["word " * 100]}), page_size="60x60mm"))
    assert len(pages) == 1
    assert "…" in pages[0]


def test_no_rows_of_many_columns(press: Press) -> None:
    """A wide table of no rows shows all its headers, and says once that there are none."""
    text = press.text(press.make(wide(100, 0)))
    assert {f"column-{index}" for index in range(100)} <= set(words(text))
    assert text.count("No rows") == 1
