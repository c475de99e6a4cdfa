"""Where texts end: cut, or broken into lines, against an implementation of one cell at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.breaking import BREAKS_AFTER, IDEOGRAPHIC, Ranges, break_lines, fit
from spark_export.writers.pdf.strings import summed

ELLIPSIS_ADVANCE = 7
ADVANCES = {" ": 3, "\n": 3, "i": 2, "W": 9, "-": 4, "漢": 10, "\u200b": 0}
ASCII_LETTERS = st.sampled_from(" \niWab-")
LETTERS = st.sampled_from(" \niWab-漢字\u200b")
texts = st.one_of(st.text(ASCII_LETTERS, max_size=25), st.text(LETTERS, max_size=25))


def advance(text: str) -> int:
    """Of all its characters; five units each unless told."""
    return sum(ADVANCES.get(character, 5) for character in text)


def prepared(cells: list[str]) -> tuple[Any, Any, Any, Any]:
    """The characters of a column, the advances before each, and where cells begin and end."""
    joined = "".join(cells)
    is_ascii = joined.isascii()
    characters = np.array([ord(each) for each in joined], np.uint8 if is_ascii else np.uint32)
    before = summed(np.array([ADVANCES.get(each, 5) for each in joined], np.uint16))
    offsets = np.cumsum([0, *map(len, cells)])
    return characters, before, offsets[:-1], offsets[1:]


def broken(cells: list[str], width: int) -> list[list[str]]:
    """The lines of each cell."""
    ranges = break_lines(*prepared(cells), width)
    assert ranges.cells is not None
    joined = "".join(cells)
    lines: list[list[str]] = [[] for _ in cells]
    for start, end, taken, cell in zip(ranges.starts, ranges.ends, ranges.widths, ranges.cells, strict=True):
        lines[cell].append(joined[start:end])
        assert taken == advance(joined[start:end])
    return lines


def may_break(text: str, place: int) -> bool:
    """Whether a line may end before that character, though the text would go on."""
    around = (text[place - 1], text[place])
    return ord(around[0]) in BREAKS_AFTER or any(
        low <= ord(each) <= high for each in around for low, high in IDEOGRAPHIC
    )


def simple_lines(text: str, width: int) -> list[str]:
    """The same of one cell, character by character."""
    lines = []
    while True:
        end = 0
        while end < len(text) and text[end] != "\n" and (end == 0 or advance(text[: end + 1]) <= width):
            end += 1
        fed = end < len(text) and text[end] == "\n"
        if not fed and end < len(text) and text[end] != " ":
            end = next((place for place in range(end, 0, -1) if may_break(text, place)), end)
        lines.append(text[:end].rstrip(" "))
        text = text[end + 1 :] if fed else text[end:].lstrip(" ")
        if not text:
            return lines


@given(st.lists(texts, max_size=6), st.integers(1, 60))
def test_lines_of_columns(cells: list[str], width: int) -> None:
    """The lines of a whole column are those of its cells, each broken alone."""
    cells = [re.sub(" +\n", "\n", cell) for cell in cells]  # see test_spaces_before_a_line_feed
    assert broken(cells, width) == [simple_lines(cell, width) for cell in cells]


@given(st.lists(texts, max_size=6), st.integers(1, 60))
def test_nothing_visible_is_lost(cells: list[str], width: int) -> None:
    """Lines lose and add no character but spaces and line feeds, and keep the order."""
    for cell, lines in zip(cells, broken(cells, width), strict=True):
        assert "".join(lines).replace(" ", "") == cell.replace(" ", "").replace("\n", "")


@given(st.lists(texts, max_size=6), st.integers(1, 60))
def test_no_line_is_too_wide(cells: list[str], width: int) -> None:
    """No line is wider than the width, unless it is a single character."""
    for line in (line for lines in broken(cells, width) for line in lines):
        assert advance(line) <= width or len(line.replace("\u200b", "")) == 1


@given(st.lists(texts, max_size=6), st.integers(1, 60))
def test_every_cell_has_a_line(cells: list[str], width: int) -> None:
    """An empty cell has one empty line; no line of any begins at a break with a space or ends with one."""
    for lines in broken(cells, width):
        assert lines
        assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("ab ab", 10, ["ab", "ab"]),
        ("ab ab", 9, ["a", "b", "a", "b"]),
        ("ab ab", 23, ["ab ab"]),
        ("ab ab", 22, ["ab", "ab"]),
        ("ab    ab", 22, ["ab", "ab"]),
        ("ab-ab", 14, ["ab-", "ab"]),
        ("ab-ab", 13, ["ab", "-", "ab"]),
        ("abaab", 15, ["aba", "ab"]),
        ("ab\nab", 100, ["ab", "ab"]),
        ("ab\n\nab", 100, ["ab", "", "ab"]),
        ("ab\n", 100, ["ab"]),
        ("\nab", 100, ["", "ab"]),
        ("  ab", 100, ["  ab"]),
        ("漢漢漢", 20, ["漢漢", "漢"]),
        ("ab漢漢", 20, ["ab漢", "漢"]),
        ("漢ab", 15, ["漢", "ab"]),
        ("WWW", 1, ["W", "W", "W"]),
        ("", 10, [""]),
        ("   ", 5, [""]),
    ],
)
def test_breaks(text: str, width: int, lines: list[str]) -> None:
    """Lines break at spaces, after hyphens, between ideographs, at line feeds, and else only in too wide a word."""
    assert broken([text], width) == [lines]


@pytest.mark.parametrize("break_after", [chr(point) for point in BREAKS_AFTER])
def test_breaks_after(break_after: str) -> None:
    """A line may end after each of the signs that part words."""
    first, second = broken([f"aaa{break_after}bbbb"], advance(f"aaa{break_after}bbb"))[0]
    assert (first.strip(), second) == (f"aaa{break_after}".strip(), "bbbb")


@pytest.mark.parametrize("text", ["ab  \ncd", "ab \ncd"])
def test_spaces_before_a_line_feed(text: str) -> None:
    """Spaces between the end of a full line and a line feed make no line of their own."""
    assert broken([text], 10) == [["ab", "cd"]]


def whole_and_cut(cells: list[str], width: int) -> tuple[Ranges, list[str]]:
    """The ranges, and the cells as they show."""
    _, before, starts, ends = prepared(cells)
    ranges = fit(before, starts, ends, width, ELLIPSIS_ADVANCE)
    joined = list("".join(cells))
    for cut in [] if ranges.cuts is None else ranges.cuts.tolist():
        joined[cut] = "…"
    shown = ["".join(joined[start:end]) for start, end in zip(ranges.starts, ranges.ends, strict=True)]
    return ranges, shown


@given(st.lists(texts, max_size=6), st.integers(ELLIPSIS_ADVANCE, 60))
def test_cut_cells(cells: list[str], width: int) -> None:
    """Nothing is wider than its column; what is cut was too wide, and is the longest beginning with an ellipsis."""
    ranges, shown = whole_and_cut(cells, width)
    for cell, cut, taken in zip(cells, shown, ranges.widths, strict=True):
        assert taken <= width
        if advance(cell) <= width:
            assert (cut, taken) == (cell, advance(cell))
            continue
        kept = cut[:-1]
        assert (cut[-1], taken) == ("…", advance(kept) + ELLIPSIS_ADVANCE)
        assert cell.startswith(kept)
        assert advance(cell[: len(kept) + 1]) + ELLIPSIS_ADVANCE > width


def test_exact_borders() -> None:
    """A text exactly as wide as its column is whole; one unit less, and it is cut."""
    assert whole_and_cut(["abaa", "i"], 20)[1] == ["abaa", "i"]
    assert whole_and_cut(["abaa", "i"], 19)[1] == ["ab…", "i"]
    assert whole_and_cut(["abaa", "i"], 17)[1] == ["ab…", "i"]
    assert whole_and_cut(["abaa", "i"], 16)[1] == ["a…", "i"]


@pytest.mark.parametrize("width", [6, 3, 0, -5])
def test_narrower_than_the_ellipsis(width: int) -> None:
    """In a column narrower than the ellipsis it stands alone, and counts with its width."""
    ranges, shown = whole_and_cut(["W", "aaa", ""], width)
    assert shown[:2] == ["…", "…"]
    assert ranges.widths[:2].tolist() == [ELLIPSIS_ADVANCE] * 2


def test_no_cell_is_cut() -> None:
    """Where all cells fit there is nothing to put in the place of anything."""
    assert whole_and_cut(["a", "", "b"], 100)[0].cuts is None


def test_sums_up_to_the_limit_of_32_bits() -> None:
    """Cells at the end of as many characters as 32 bits can sum are broken as all others are."""
    count = (2**31 - 1) // 1000
    before = summed(np.full(count, 1000, np.uint16))
    letters = np.full(count, ord("a"), np.uint8)
    assert break_lines(letters, before, np.array([count - 6]), np.array([count]), 9_000).widths.tolist() == [6_000]
