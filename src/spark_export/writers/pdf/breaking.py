"""Where text ends: cut to the width of its column, or broken into lines, all cells of a column at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.cells import SPACES
from spark_export.writers.pdf.strings import Positions

LINE_FEED = 0x0A
BLANKS = (0x20, *(point for point in SPACES if point != LINE_FEED))
"""What shows as a space, and as nothing at a line's end."""
BREAKS_AFTER = tuple(map(ord, " -/,;|&?!\u2010\u2013\u2014\u200b"))
"""A line may end after these; it breaks anywhere between ideographs, and else only where a word is wider than it."""
IDEOGRAPHIC = ((0x2E80, 0xA4CF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))
"""CJK, kana and Hangul."""


@dataclass(frozen=True)
class Ranges:
    """Parts of a column's characters, in order, that are shown: a line each.

    Attributes:
        starts, ends: in characters.
        widths: in 1/1000 em.
        cells: which cell each belongs to; None for one each.
        cuts: characters that an ellipsis takes the place of.
    """

    starts: Positions
    ends: Positions
    widths: Positions
    cells: Positions | None = None
    cuts: Positions | None = None


def fit(before: Positions, starts: Positions, ends: Positions, width: int, ellipsis_advance: int) -> Ranges:
    """The cells, those wider than `width` cut so that an ellipsis has room in the place of their last character."""
    widths = (before[ends] - before[starts]).astype(np.int64)
    over = np.flatnonzero(widths > width)
    if not len(over):
        return Ranges(starts, ends, widths)
    begins = before[starts[over]]
    cuts = np.searchsorted(before, begins + (width - ellipsis_advance), side="right") - 1
    cuts = np.clip(cuts, starts[over], ends[over] - 1)
    widths[over] = before[cuts] - begins + ellipsis_advance
    ends = ends.copy()
    ends[over] = cuts + 1
    return Ranges(starts, ends, widths, cuts=cuts)


def break_lines(
    characters: npt.NDArray[Any], before: Positions, starts: Positions, ends: Positions, width: int
) -> Ranges:
    """Lines no wider than `width`, greedily filled, each cell at least one; a single character may be wider.

    Spaces at a break belong to no line. Each round finds the next line of all cells that have one.

    Args:
        characters: of the column, ASCII or code points.
        before: the advance before each, and of all at the end.
        starts: of the cells, in characters.
        ends: of the cells.
        width: of the column.
    """
    marks = _Marks(characters)
    cells = np.arange(len(starts))
    lines: list[tuple[Positions, Positions, Positions]] = []
    while len(cells):
        line_ends, nexts = _one_line(marks, before, starts, ends, width)
        lines.append((starts, line_ends, cells))
        # A line feed at the very end begins no further line.
        left = nexts < ends
        starts, ends, cells = nexts[left], ends[left], cells[left]
    found = [np.concatenate(each) for each in zip(*lines, strict=True)] if lines else [starts, ends, cells]
    order = np.lexsort((found[0], found[2]))
    line_starts, line_ends, line_cells = (each[order] for each in found)
    return Ranges(line_starts, line_ends, (before[line_ends] - before[line_starts]).astype(np.int64), line_cells)


class _Marks:
    """For each position among the characters, what a line that begins or ends there needs to know."""

    def __init__(self, characters: npt.NDArray[Any]) -> None:
        count = len(characters)
        places = np.arange(count + 1)
        may = np.isin(characters, BREAKS_AFTER)
        if characters.dtype != np.uint8:
            wide = np.zeros(count, bool)
            for low, high in IDEOGRAPHIC:
                wide |= (characters >= low) & (characters <= high)
            may |= wide
            may[:-1] |= wide[1:]
        space = np.isin(characters, BLANKS)
        self.space = np.append(space, False)
        self.last_break = np.maximum.accumulate(np.append(0, np.where(may, places[1:], 0)))
        """The last position up to each before which a line may begin."""
        self.last_ink = np.maximum.accumulate(np.append(0, np.where(space, 0, places[1:])))
        """The end of a line that would end here, without the spaces at its end."""
        later = np.where(np.append(space, False), count, places)
        self.next_ink = np.minimum.accumulate(later[::-1])[::-1]
        feeds = np.where(np.append(characters == LINE_FEED, True), places, count)
        self.next_feed = np.minimum.accumulate(feeds[::-1])[::-1]


def _one_line(
    marks: _Marks, before: Positions, starts: Positions, ends: Positions, width: int
) -> tuple[Positions, Positions]:
    """Where the next line of each cell ends, and where the one after it begins."""
    reach = np.searchsorted(before, before[starts].astype(np.int64) + width, side="right") - 1
    reach = np.minimum(np.maximum(reach, starts + 1), ends)
    feed = marks.next_feed[starts]
    fed = (feed <= reach) & (feed < ends)
    stop = np.where(fed, feed, reach)
    # A word that goes on beyond the line moves to the next one, unless it is all the line has.
    broken = ~fed & (stop < ends) & ~marks.space[stop]
    softer = marks.last_break[stop]
    stop = np.where(broken & (softer > starts), softer, stop)
    line_ends = np.maximum(marks.last_ink[stop], starts)
    nexts = np.where(stop < ends, np.minimum(marks.next_ink[stop], ends), ends)
    # The line feed after spaces that hang over the line's end is this line's.
    fed |= (nexts < ends) & (marks.next_feed[nexts] == nexts)
    nexts = np.where(fed, nexts + 1, nexts)
    return line_ends, nexts
