"""Measure and fit: column widths, page geometry, and texts cut to their columns.

Across the page everything is whole thousandths of the cells' font size, the unit in which fonts give advances and TJ
takes its numbers, so that a million rows add up without rounding; down the page it is points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_export.model import PdfOptions
from spark_export.text import Column, Kind
from spark_export.writers.pdf.fonts import Shaped

EM = 1000

PAGE_SIZES_PT = {"A4": (595.28, 841.89), "A3": (841.89, 1190.55), "Letter": (612.0, 792.0), "Legal": (612.0, 1008.0)}

MARGIN_PT = 36.0
"""Left, right and top."""
BOTTOM_PT = 46.0
"""Below the last row; the footer stands in it."""
ROW_EMS = 1.5
HEADER_EMS = 2.0
PADDING = 1300
"""Between two columns; half of it before the first and after the last."""
MOST_PADDING_SHARE = 0.3
NUMBER_ROOM = 2 * 572
"""Numbers often grow below the sample: two more digits come before long texts, two again where there is room."""
LEAST_TEXT = 5 * EM
LEAST_HEADER = 6 * EM
LONGEST_FIXED = 16 * EM
"""Times and the like up to here are kept whole as numbers are; longer ones (JSON) are text."""
LARGEST_SHARE = 3 * EM
"""Of the width left over, for each column: wider, and the eye loses the row."""
SMALLEST_FONT_PT = 4.5
QUANTILE = 0.95
NARROWEST_CHARACTER = 160


@dataclass(frozen=True)
class Slot:
    """Where a column's text stands, in 1/1000 em from the table's left edge.

    Attributes:
        left: edge of its text.
        width: most that its text may take.
        right_aligned: numbers.
    """

    left: int
    width: int
    right_aligned: bool

    @property
    def right(self) -> int:
        """Edge of its text."""
        return self.left + self.width

    @property
    def most_characters(self) -> int:
        """More than this many do not fit."""
        return self.width // NARROWEST_CHARACTER + 16


@dataclass(frozen=True)
class Layout:
    """Where everything stands on the pages of one document, in points from the lower left corner.

    Attributes:
        width_pt, height_pt: of the page.
        font_pt: size of the cells' font.
        title_ems: height of the title block on the first page in ems of that font, 0 for none.
        slots: the columns.
        table_width: in 1/1000 em.
    """

    width_pt: float
    height_pt: float
    font_pt: float
    title_ems: float
    slots: tuple[Slot, ...]
    table_width: int

    @property
    def row_pt(self) -> float:
        """Height of a row."""
        return self.font_pt * ROW_EMS

    @property
    def header_pt(self) -> float:
        """Height of the header row."""
        return self.font_pt * HEADER_EMS

    @property
    def table_width_pt(self) -> float:
        """From the first column's left to the last one's right."""
        return self.points(self.table_width)

    @property
    def right_pt(self) -> float:
        """Right margin."""
        return self.width_pt - MARGIN_PT

    def points(self, units: float) -> float:
        """1/1000 em of the cells' font in points."""
        return units * self.font_pt / EM

    def top_pt(self, first: bool) -> float:
        """Upper edge of the first row."""
        return self.height_pt - MARGIN_PT - self.header_pt - (self.title_ems * self.font_pt if first else 0)

    def rows(self, first: bool) -> int:
        """How many rows a page holds."""
        return max(1, int((self.top_pt(first) - BOTTOM_PT) / self.row_pt + 1e-6))


@dataclass(frozen=True)
class Want:
    """The widths a column asks for, in 1/1000 em: least <= typical <= whole."""

    least: int
    typical: int
    whole: int


def want(column: Column, header: int, sample: npt.NDArray[np.int64]) -> Want:
    """What a column asks for, by its header's width and those of a sample of its cells."""
    longest = int(sample.max(initial=0))
    if column.kind is Kind.NUMBER:
        typical, whole = max(longest + NUMBER_ROOM, header), max(longest + 2 * NUMBER_ROOM, header)
        return Want(max(longest, min(header, LEAST_HEADER)), typical, whole)
    whole = max(longest, header)
    if column.kind is Kind.OTHER and longest <= LONGEST_FIXED:
        return Want(max(longest, min(header, LEAST_HEADER)), whole, whole)
    usual = int(np.quantile(sample, QUANTILE, method="higher")) if len(sample) else 0
    return Want(min(whole, LEAST_TEXT), min(whole, max(usual, header, LEAST_TEXT)), whole)


def share(wants: Sequence[Want], room: int) -> list[int]:
    """Widths of the columns that together take at most `room`.

    All get what they ask for, and something more, where there is room. Else long texts shrink first, all to one
    width; then numbers and times too.
    """
    least, typical, whole = ([getattr(each, name) for each in wants] for name in ("least", "typical", "whole"))
    if sum(whole) <= room:
        extra = min(LARGEST_SHARE, (room - sum(whole)) // max(1, len(whole)))
        return [width + extra for width in whole]
    for lows, highs in ((typical, whole), (least, typical)):
        if sum(lows) <= room:
            return _levelled(lows, highs, room)
    return _levelled([0] * len(wants), least, room)


def _levelled(lows: Sequence[int], highs: Sequence[int], room: int) -> list[int]:
    """Each between its low and its high, and else one level for all: the highest for which there is room."""

    def widths(level: int) -> list[int]:
        return [min(high, max(low, level)) for low, high in zip(lows, highs, strict=True)]

    fits, fails = 0, max(highs) + 1
    while fails - fits > 1:
        level = (fits + fails) // 2
        fits, fails = (level, fails) if sum(widths(level)) <= room else (fits, level)
    return widths(fits)


def plan(columns: Sequence[Column], wants: Sequence[Want], options: PdfOptions, title_ems: float) -> Layout:
    """The layout of a document.

    Upright unless its columns only fit on the page's side; a smaller font where even that leaves some too little to be
    read. Where that does not help, columns are as narrow as they are.
    """
    short, long = PAGE_SIZES_PT[options.page_size]
    font_pt = options.font_size
    upright = options.orientation == "portrait"
    if options.orientation == "auto":
        upright = sum(each.typical + PADDING for each in wants) <= _units(short, font_pt)
    width_pt, height_pt = (short, long) if upright else (long, short)
    needed = sum(each.least + PADDING for each in wants)
    if needed > _units(width_pt, font_pt):
        smaller = font_pt * _units(width_pt, font_pt) / needed
        font_pt = round(min(font_pt, max(SMALLEST_FONT_PT, smaller)) - 0.005, 2)
    room = _units(width_pt, font_pt)
    padding = min(PADDING, int(room * MOST_PADDING_SHARE) // max(1, len(wants)))
    widths = share(wants, room - padding * len(wants))
    lefts = [padding // 2 + sum(widths[:index]) + padding * index for index in range(len(widths))]
    slots = tuple(
        Slot(left, width, column.kind is Kind.NUMBER)
        for left, width, column in zip(lefts, widths, columns, strict=True)
    )
    return Layout(width_pt, height_pt, font_pt, title_ems, slots, sum(widths) + padding * len(widths))


def _units(page_width_pt: float, font_pt: float) -> int:
    return int((page_width_pt - 2 * MARGIN_PT) / font_pt * EM)


@dataclass(frozen=True)
class Fitted:
    """A column's texts, none wider than its column.

    Attributes:
        texts: a BinaryArray of two-byte codes.
        widths: in 1/1000 em.
    """

    texts: Any
    widths: npt.NDArray[np.int64]


def fit(shaped: Shaped, width: int, ellipsis: tuple[int, int]) -> Fitted:
    """Cut what is wider than `width` so that it ends in the ellipsis, of which code and advance are given."""
    widths = shaped.widths
    over = np.flatnonzero(widths > width)
    if not len(over):
        return Fitted(_binary(shaped.codes, shaped.offsets), widths)
    code, advance = ellipsis
    before = np.zeros(len(shaped.advances) + 1, np.int64)
    np.cumsum(shaped.advances, out=before[1:])
    starts, ends = shaped.offsets[over], shaped.offsets[over + 1]
    cuts = np.searchsorted(before, before[starts] + (width - advance), side="right") - 1
    cuts = np.clip(cuts, starts, ends - 1)
    codes = shaped.codes.copy()
    codes[cuts] = np.uint16(code).byteswap()
    widths[over] = before[cuts] - before[starts] + advance
    # Kept and dropped pieces take turns in one array of twice as many, of which every other one is taken.
    kept_ends = shaped.offsets[1:].copy()
    kept_ends[over] = cuts + 1
    pieces = np.empty(2 * len(widths) + 1, np.int64)
    pieces[0::2], pieces[1::2] = shaped.offsets, kept_ends
    return Fitted(_binary(codes, pieces).take(pa.array(np.arange(0, 2 * len(widths), 2))), widths)


def _binary(codes: npt.NDArray[np.uint16], offsets: npt.NDArray[np.int64]) -> Any:
    ends = pa.py_buffer((offsets * 2).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, ends, pa.py_buffer(codes)])
