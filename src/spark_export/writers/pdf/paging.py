"""Where pages end: after so many rows, or where the lines of wrapped cells leave no room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.layout import Layout

Lines = npt.NDArray[np.int64]


class Segment(NamedTuple):
    """Lines of a piece that go on one page.

    Attributes:
        start, end: of them.
        before: lines that are on the page already.
        turns: whether the page is full with them, and more come.
    """

    start: int
    end: int
    before: int
    turns: bool


def row_heights(layout: Layout, line_rows: Lines) -> npt.NDArray[np.float64]:
    """Height of each row of a page, by the row that each of its lines belongs to."""
    _, counts = np.unique(line_rows, return_counts=True)
    return np.asarray(layout.row_pt + (counts - 1) * layout.line_pt, np.float64)


def even_segments(layout: Layout, lines: int, before: int, *, first: bool) -> Iterator[Segment]:
    """Lines that are rows.

    Args:
        layout: of the document.
        lines: of the piece.
        before: lines that are on the page already.
        first: whether that is the first page.
    """
    taken = 0
    while taken < lines:
        full = taken + layout.rows(first=first) - before
        turns = full < lines
        yield Segment(taken, full if turns else lines, before, turns)
        taken, before, first = full, 0, False


def wrapped_segments(layout: Layout, line_rows: Lines, pending: Lines, *, first: bool) -> Iterator[Segment]:
    """Lines of which several may be one row.

    Args:
        layout: of the document.
        line_rows: the row that each line of the piece belongs to.
        pending: the same of the lines that are on the page already.
        first: whether that is the first page.
    """
    finder = _BreakFinder(layout, line_rows)
    taken, before = 0, len(pending)
    used_pt = float(row_heights(layout, pending).sum())
    while taken < len(line_rows):
        end = finder.find(taken, layout.room_pt(first=first) - used_pt, is_empty=before == 0)
        turns = end < len(line_rows)
        yield Segment(taken, end, before, turns)
        taken, before, used_pt, first = end, 0, 0.0, False


class _BreakFinder:
    """Finds where pages end among lines: between rows where that is possible, else inside of a row."""

    def __init__(self, layout: Layout, line_rows: Lines) -> None:
        same = line_rows[1:] == line_rows[:-1]
        heights = np.where(np.append(False, same), layout.line_pt, layout.row_pt)
        self._below = np.concatenate([[0.0], np.cumsum(heights)])
        starts = np.where(np.append(~np.append(False, same), True), np.arange(len(line_rows) + 1), 0)
        self._row_start = np.maximum.accumulate(starts)
        self._extra_pt = layout.row_pt - layout.line_pt

    def find(self, start: int, room_pt: float, *, is_empty: bool) -> int:
        """End of the lines from `start` on that stand in the room; at least one line on an empty page."""
        is_row_start = self._row_start[start] == start
        limit = self._below[start] + room_pt - (0.0 if is_row_start else self._extra_pt) + 1e-6
        end = int(np.searchsorted(self._below, limit, side="right")) - 1
        whole = int(self._row_start[end])
        if whole > start:
            return whole
        return max(end, start + 1) if is_empty else start
