"""Texts wider than their column, broken into lines."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from spark_export.writers.pdf import Imprint

from .conftest import contents, letters, pdfium_text, words

if TYPE_CHECKING:
    from .conftest import Press

SMALL: dict[str, Any] = {"overflow": "wrap", "page_size": "100x100mm", "imprint": Imprint()}
"""A page without a title, 185.46 points of which hold rows."""
ROW_PT, LINE_PT, ROOM_PT = 12, 10, 100 * 72 / 25.4 - 36 - 16 - 46


def numbered_words(cell: str, count: int) -> str:
    """Words that can be told from each other and from those of other cells."""
    return " ".join(f"{cell}w{number}" for number in range(count))


def own_words(text: str, cell: str) -> list[int]:
    """The numbers of a cell's words, as they come."""
    return [int(number) for number in re.findall(rf"\b{cell}w(\d+)\b", text)]


def test_every_word_reads_back(press: Press) -> None:
    """Every word of every cell is on the pages once, and those of a cell are in order, for poppler and PDFium."""
    counts = {(row, column): (row * 13 + column * 7) % 60 for row in range(40) for column in range(3)}
    table = pa.table(
        {
            f"column {column}": [numbered_words(f"r{row}c{column}", counts[row, column]) for row in range(40)]
            for column in range(3)
        }
    )
    pdf = press.make(table, overflow="wrap")
    for text in (press.stream(pdf), press.text(pdf), pdfium_text(pdf)):
        assert {cell: own_words(text, "r{}c{}".format(*cell)) for cell in counts} == {
            cell: list(range(count)) for cell, count in counts.items()
        }
        assert "…" not in text


def test_no_line_is_wider_than_its_column(press: Press) -> None:
    """The words of one column stay left of those of the next."""
    table = pa.table({"a": [numbered_words("a", 200)] * 3, "b": [numbered_words("b", 200)] * 3})
    boxes = [
        (float(left), float(right), word)
        for left, right, word in re.findall(
            r'<word xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)" yMax="[\d.]+">([ab]w\d+)</word>',
            press.run("pdftotext", "-bbox", press.check(press.make(table, overflow="wrap")), "-"),
        )
    ]
    assert len(boxes) == 2 * 3 * 200
    assert max(right for _, right, word in boxes if word[0] == "a") < min(
        left for left, _, word in boxes if word[0] == "b"
    )


def test_a_cell_may_take_many_pages(press: Press) -> None:
    """A cell higher than the page goes on over as many pages as it needs, and the rows around it are there."""
    table = pa.table({"id": ["before", "itself", "after"], "text": ["x", numbered_words("long", 1500), "z"]})
    pages = press.pages(press.make(table, **SMALL))
    assert len(pages) > 10
    assert own_words("".join(pages), "long") == list(range(1500))
    assert "before" in pages[0]
    assert "after" in pages[-1]
    assert all(len(own_words(page, "long")) > 40 for page in pages[1:-1])


def test_a_word_wider_than_its_column_is_broken(press: Press) -> None:
    """A word that no line can hold fills lines, and no letter of it is lost."""
    word = "".join(chr(ord("a") + place % 26) for place in range(2000))
    text = press.stream(press.make(pa.table({"text": [word]}), **SMALL))
    lines = [line for line in words(text) if line in word and len(line) > 20]
    assert "".join(lines) == word
    assert len(lines) > 20


def test_line_feeds_break_lines(press: Press) -> None:
    """A line feed begins a line, two an empty one, and one at the end none."""
    table = pa.table({"n": [1, 2, 3], "text": ["a1\na2\n\na4", "b1\n", "\nc2"]})
    lines = press.text(press.make(table, **SMALL)).splitlines()
    shown = [words(line) for line in lines if re.search(r"\b[abc]\d|^ *[123]\b", line)]
    assert shown == [["1", "a1"], ["a2"], ["a4"], ["2", "b1"], ["3"], ["c2"]]
    boxes = {
        word: float(top)
        for top, word in re.findall(
            r'yMin="([\d.]+)" xMax="[\d.]+" yMax="[\d.]+">(\w+)</word>',
            press.run("pdftotext", "-bbox", press.check(press.make(table, **SMALL)), "-"),
        )
    }
    line_pt = boxes["a2"] - boxes["a1"]
    assert boxes["a4"] - boxes["a2"] == pytest.approx(2 * line_pt, abs=0.01)
    assert boxes["b1"] - boxes["a4"] == pytest.approx(boxes["3"] - boxes["b1"], abs=0.01)
    assert boxes["c2"] - boxes["3"] == pytest.approx(line_pt, abs=0.01)


def test_rows_stay_whole(press: Press) -> None:
    """A row that fits on a page is on one page, and pages end only where the next row would not fit."""
    counts = [1 + row * 7 % 5 for row in range(200)]
    table = pa.table(
        {"text": ["\n".join(f"r{row}w{line}" for line in range(count)) for row, count in enumerate(counts)]}
    )
    pages = press.pages(press.make(table, **SMALL))
    found = [[int(row) for row in dict.fromkeys(re.findall(r"r(\d+)w", page))] for page in pages]
    assert [row for rows in found for row in rows] == list(range(200))
    heights = [ROW_PT + (count - 1) * LINE_PT for count in counts]
    for rows, after in pairwise(found):
        used = sum(heights[row] for row in rows)
        assert used <= ROOM_PT < used + heights[after[0]]


def test_short_rows_are_like_cut_ones(press: Press) -> None:
    """Where every cell fits on a line, wrapping makes the pages that cutting makes."""
    table = pa.table({"id": range(300), "text": [f"row {row}" for row in range(300)]})
    assert press.pages(press.make(table, overflow="wrap")) == press.pages(press.make(table))


def test_stripes_follow_the_rows(press: Press) -> None:
    """Every other row is shaded, over all its lines."""
    table = pa.table({"text": ["a", "b\nb\nb", "c", "d\nd"]})
    operators = contents(press.make(table, **SMALL))[0].decode("latin-1")
    shaded = re.search(r"0\.961 0\.969 0\.978 rg\n((?:[\d. ]+ re\n)+)f", operators)
    assert shaded
    assert [float(line.split()[3]) for line in shaded[1].splitlines()] == [12 + 2 * 10, 12 + 10]


def test_wrapped_scripts(press: Press) -> None:
    """Right-to-left and joined texts are broken into lines too, and no letter is lost."""
    arabic, hebrew = "مرحبا بالعالم " * 40, "שלום עולם " * 40
    table = pa.table({"latin": ["x"], "arabic": [arabic], "hebrew": [hebrew], "marks": ["e\u0301a\u0308 " * 60]})
    # Poppler puts marks of direction around words that read from the right.
    text = re.sub("[\u202a-\u202e]", "", press.stream(press.make(table, overflow="wrap", orientation="portrait")))
    for word, count in (("مرحبا", 40), ("بالعالم", 40), ("שלום", 40), ("עולם", 40), ("e\u0301a\u0308", 60)):
        assert len(re.findall(rf"(?<!\S){word}(?!\S)", text)) == count, word


def test_cells_without_end(press: Press) -> None:
    """A cell of more than a million characters ends in an ellipsis there, and the rows after it follow."""
    table = pa.table({"text": ["x" * 1_100_000, "the next"]})
    text = press.stream(press.make(table, overflow="wrap", font_size=4, title=""))
    assert letters(text).count("x") == pytest.approx(1_000_000, abs=200)
    assert "…" in text
    assert "the next" in text


@pytest.mark.parametrize("accessible", [False, True])
def test_page_borders(press: Press, accessible: bool) -> None:
    """Rows of several lines that just fill pages are there once, in order, whatever is left over."""
    for rows in (4, 5, 6, 9, 10, 11, 12):
        table = pa.table({"text": [f"r{row}w1\nr{row}w2\nr{row}w3" for row in range(rows)]})
        text = press.stream(press.make(table, accessible=accessible, **SMALL))
        found = [(int(row), int(line)) for row, line in re.findall(r"r(\d+)w(\d)", text)]
        assert found == [(row, line) for row in range(rows) for line in (1, 2, 3)]


@pytest.mark.parametrize(("lines", "pages"), [(16, 1), (17, 1), (18, 2), (19, 2), (35, 2), (36, 3)])
def test_totals_stand_below(press: Press, lines: int, pages: int) -> None:
    """The totals stand on the page of the last line where there is room, else alone on one more."""
    table = pa.table({"n": [1], "m": [2], "text": ["\n".join(f"w{line}" for line in range(lines))]})
    found = press.pages(press.make(table, totals=["m"], **SMALL))
    assert len(found) == pages
    assert [len(re.findall(r"\bTotal +2\b", page)) for page in found] == [0] * (pages - 1) + [1]
    assert re.findall(r"w(\d+)", "".join(found)) == [str(line) for line in range(lines)]
