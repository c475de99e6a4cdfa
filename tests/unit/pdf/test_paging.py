"""Where pages end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.layout import BOTTOM_PT, MARGIN_PT, Layout
from spark_export.writers.pdf.paging import Segment, even_segments, row_heights, wrapped_segments

ROW_PT, LINE_PT = 12.0, 10.0

rows_of_lines = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=6)
"""The lines of each row, piece by piece."""


def layout(first_rows: int, later_rows: int) -> Layout:
    """Pages with room for so many rows of one line."""
    header_pt = ROW_PT * 4 / 3
    height_pt = MARGIN_PT + header_pt + later_rows * ROW_PT + BOTTOM_PT
    return Layout(500, height_pt, 8, ROW_PT, (later_rows - first_rows) * ROW_PT, ())


def numbered(pieces: Sequence[Sequence[int]]) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The row that each line belongs to, piece by piece."""
    firsts = np.cumsum([0, *map(len, pieces)])
    return [
        np.repeat(np.arange(first, first + len(piece)), piece) for first, piece in zip(firsts, pieces, strict=False)
    ]


def height(rows: Sequence[int]) -> float:
    """Of the lines of a page, by the row of each: a row's first line on the page is as high as a row."""
    return sum(LINE_PT if before == row else ROW_PT for before, row in pairwise([None, *rows]))


def paged(pieces: Sequence[Sequence[int]], of: Layout) -> list[list[int]]:
    """The row of each line, page by page, as pieces come; the last page may be one that is not full."""
    pages: list[list[int]] = [[]]
    for lines in numbered(pieces):
        pending = np.array(pages[-1], np.int64)
        taken = 0
        for segment in wrapped_segments(of, lines, pending, first=len(pages) == 1):
            assert (segment.start, segment.before) == (taken, len(pages[-1]))
            pages[-1] += lines[segment.start : segment.end].tolist()
            taken = segment.end
            if segment.turns:
                pages.append([])
        assert taken == len(lines)
    return pages


@given(rows_of_lines, st.integers(1, 6), st.integers(0, 4))
def test_every_line_is_on_one_page(pieces: list[list[int]], first_rows: int, more: int) -> None:
    """Every line is on exactly one page, in order, and no page but the last is empty unless it is the first."""
    pages = paged(pieces, layout(first_rows, first_rows + more))
    assert [row for page in pages for row in page] == [row for lines in numbered(pieces) for row in lines.tolist()]
    assert all(pages)


@given(rows_of_lines, st.integers(1, 6), st.integers(0, 4))
def test_no_page_is_over_its_height(pieces: list[list[int]], first_rows: int, more: int) -> None:
    """The lines of no page are higher than the page has room."""
    of = layout(first_rows, first_rows + more)
    for number, page in enumerate(paged(pieces, of)):
        assert height(page) <= of.room_pt(first=number == 0) + 1e-6
        assert height(page) == pytest.approx(float(row_heights(of, np.array(page, np.int64)).sum()))


@given(rows_of_lines, st.integers(1, 6), st.integers(0, 4))
def test_rows_are_whole_where_that_is_possible(pieces: list[list[int]], first_rows: int, more: int) -> None:
    """A row goes on over pages only where it begins a page and is higher than it."""
    of = layout(first_rows, first_rows + more)
    pages = paged(pieces, of)
    lines = [count for piece in pieces for count in piece]
    for number, (page, following) in enumerate(pairwise(pages)):
        if page[-1] != following[0]:
            continue
        assert set(page) == {page[-1]}
        if number == 0 or pages[number - 1][-1] != page[-1]:
            assert ROW_PT + (lines[page[-1]] - 1) * LINE_PT > of.room_pt(first=number == 0)


@given(rows_of_lines, st.integers(1, 6), st.integers(0, 4))
def test_pages_are_full(pieces: list[list[int]], first_rows: int, more: int) -> None:
    """A page ends only where the next row, or the next line of a row that fills pages, has no room."""
    of = layout(first_rows, first_rows + more)
    pages = paged(pieces, of)
    everything = [row for page in pages for row in page]
    taken = 0
    for number, page in enumerate(pages[:-1]):
        taken += len(page)
        following = everything[taken]
        whole = [row for row in everything[taken:] if row == following]
        begins = whole if page[-1] != following else whole[:1]
        assert height([*page, *begins]) > of.room_pt(first=number == 0)


@given(rows_of_lines, st.integers(1, 6), st.integers(0, 4))
def test_pages_do_not_depend_on_pieces(pieces: list[list[int]], first_rows: int, more: int) -> None:
    """Pages end at the same lines however the rows are batched."""
    of = layout(first_rows, first_rows + more)
    at_once = [[count for piece in pieces for count in piece]]
    assert paged(pieces, of) == paged(at_once, of)


def test_rows_and_their_further_lines() -> None:
    """A row is as high as a row, each further line adds a line's height; a page full to the point is full."""
    of = layout(3, 3)
    assert row_heights(of, np.array([4, 4, 4, 5])).tolist() == [32, 12]
    assert row_heights(of, np.array([], np.int64)).tolist() == []
    assert paged([[1, 1, 1, 1]], of) == [[0, 1, 2], [3]]
    assert paged([[2, 1, 1]], of) == [[0, 0, 1], [2]]
    assert paged([[1, 3]], of) == [[0], [1, 1, 1]]
    assert paged([[5]], of) == [[0, 0, 0], [0, 0]]


def even(of: Layout, pieces: Sequence[int]) -> list[int]:
    """The rows of each page, as pieces of so many rows come."""
    pages = [0]
    for rows in pieces:
        taken = 0
        for segment in even_segments(of, rows, pages[-1], first=len(pages) == 1):
            assert (segment.start, segment.before) == (taken, pages[-1])
            taken = segment.end
            pages[-1] += segment.end - segment.start
            if segment.turns:
                pages.append(0)
        assert taken == rows
    return pages


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 6), st.integers(0, 4))
def test_even_rows(pieces: list[int], first_rows: int, more: int) -> None:
    """Pages of rows of one line are full but the last, however the rows are batched."""
    of = layout(first_rows, first_rows + more)
    *full, last = even(of, pieces)
    assert full == [first_rows, *[first_rows + more] * (len(full) - 1)][: len(full)]
    assert sum(full) + last == sum(pieces)
    assert last <= of.rows(first=not full)


def test_a_full_page_waits() -> None:
    """A full page turns when another row comes: totals may still find room below the last one."""
    assert list(even_segments(layout(3, 4), 3, 0, first=True)) == [Segment(0, 3, 0, turns=False)]
    assert list(even_segments(layout(3, 4), 1, 3, first=True)) == [
        Segment(0, 0, 3, turns=True),
        Segment(0, 1, 0, turns=False),
    ]
    assert list(even_segments(layout(3, 4), 0, 4, first=False)) == []
