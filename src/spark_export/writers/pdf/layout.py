"""Where everything stands: page geometry, column widths, and what to do where columns do not fit.

Across the page everything is whole thousandths of the cells' font size, the unit in which fonts give advances and TJ
takes its numbers, so that a million rows add up without rounding; down the page it is points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from spark_export.errors import InvalidField
from spark_export.model import PdfOptions
from spark_export.text import Column, Kind
from spark_export.values import MM_PT
from spark_export.writers.pdf.columns import Want, share
from spark_export.writers.pdf.faces import EM

PAGE_SIZES_PT = {"A4": (595.28, 841.89), "A3": (841.89, 1190.55), "Letter": (612.0, 792.0), "Legal": (612.0, 1008.0)}
AUTO_SIZES = ("A4", "A3")
"""A table too wide for the first goes on the second."""

MARGIN_PT = 36.0
"""Left, right and top."""
BOTTOM_PT = 46.0
"""Below the last row; the footer stands in it."""
ROW_EMS = 1.5
LEAST_ROW_EMS = 1.2
LINE_EMS = 1.25
"""From one line of a wrapped cell to the next."""
HEADER_ROWS = 4 / 3
"""Height of the header row in rows."""
PADDING = 1300
"""Between two columns; half of it before the first and after the last."""
MOST_PADDING_SHARE = 0.3
LEAST_PAGE = 6 * EM
"""A word's width between the margins."""
READABLE_PT = 6.5
"""Columns that fit at this size need no larger page; a smaller one nobody reads on paper."""
LARGEST_KEY_SHARE = 0.4
"""Of a page's width, for the first column where it is repeated on every band."""
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


@dataclass(frozen=True)
class Band:
    """Columns that stand side by side on one page.

    Attributes:
        columns: which ones, in order.
        slots: where each stands.
        width: of the table, in 1/1000 em.
    """

    columns: tuple[int, ...]
    slots: tuple[Slot, ...]
    width: int


@dataclass(frozen=True)
class Layout:
    """Where everything stands on the pages of one document, in points from the lower left corner.

    Attributes:
        width_pt, height_pt: of the page.
        font_pt: size of the cells' font.
        row_pt: height of a row of one line.
        title_pt: height of the title block on the first page, 0 for none.
        bands: of the table; each takes a page for the same rows.
    """

    width_pt: float
    height_pt: float
    font_pt: float
    row_pt: float
    title_pt: float
    bands: tuple[Band, ...]

    @property
    def header_pt(self) -> float:
        """Height of the header row."""
        return self.row_pt * HEADER_ROWS

    @property
    def line_pt(self) -> float:
        """From one line of a wrapped cell to the next."""
        return self.font_pt * LINE_EMS

    @property
    def right_pt(self) -> float:
        """Right margin."""
        return self.width_pt - MARGIN_PT

    def column_widths(self) -> list[int]:
        """Of each column, in 1/1000 em; one that stands on several bands has the same on all."""
        widths = {
            index: slot.width for band in self.bands for index, slot in zip(band.columns, band.slots, strict=True)
        }
        return [width for _, width in sorted(widths.items())]

    def points(self, units: float) -> float:
        """1/1000 em of the cells' font in points."""
        return units * self.font_pt / EM

    def top_pt(self, *, first: bool) -> float:
        """Upper edge of the first row."""
        return self.height_pt - MARGIN_PT - self.header_pt - (self.title_pt if first else 0)

    def room_pt(self, *, first: bool) -> float:
        """Height that a page has for rows."""
        return max(self.row_pt, self.top_pt(first=first) - BOTTOM_PT)

    def rows(self, *, first: bool) -> int:
        """How many rows of one line a page holds."""
        return self._rows[first]

    @cached_property
    def _rows(self) -> dict[bool, int]:
        return {first: int(self.room_pt(first=first) / self.row_pt + 1e-6) for first in (True, False)}


def most_characters(width: int) -> int:
    """More than this many do not fit."""
    return width // NARROWEST_CHARACTER + 16


def page_size_pt(name: str) -> tuple[float, float]:
    """Width and height of a paper's name, or of `100x150mm`."""
    if name in PAGE_SIZES_PT:
        return PAGE_SIZES_PT[name]
    width, height = name.removesuffix("mm").split("x")
    return round(float(width) * MM_PT, 2), round(float(height) * MM_PT, 2)


@dataclass(frozen=True)
class _Fit:
    """A page and the font size at which the columns stand side by side on it."""

    width_pt: float
    height_pt: float
    font_pt: float


def plan(columns: Sequence[Column], wants: Sequence[Want], options: PdfOptions, title_pt: float) -> Layout:
    """The layout of a document.

    It is the first that holds of

    1. upright, then on its side, every column as wide as most of its cells;
    2. on its side, long texts cut; then in a smaller font, down to READABLE_PT;
    3. both again on the next larger page, where the page size is `auto`;
    4. the largest of those pages for each of several bands of columns, of which each begins with the first column.

    Raises:
        InvalidField: the page has no room for a row.
    """
    row_pt = options.theme.row_height or options.cell_pt * ROW_EMS
    if row_pt < options.cell_pt * LEAST_ROW_EMS:
        raise InvalidField(
            f"is at least {LEAST_ROW_EMS:g} times the font size of {options.cell_pt:g} points",
            field="pdf.theme.row_height",
        )
    found = next(_fits(wants, options), None)
    if found is not None:
        bands = [_whole(columns, wants, _units(found))]
    else:
        found = _Fit(*_pages(options)[-1][-1], options.cell_pt)
        bands = list(_bands(columns, wants, _units(found)))
    layout = Layout(
        found.width_pt,
        found.height_pt,
        found.font_pt,
        row_pt * found.font_pt / options.cell_pt,
        title_pt,
        tuple(bands),
    )
    if layout.top_pt(first=True) - BOTTOM_PT < row_pt or _units(found) < LEAST_PAGE:
        raise InvalidField(
            f"{options.page_size} is too small for its margins, its title and one row", field="pdf.page_size"
        )
    return layout


def _fits(wants: Sequence[Want], options: PdfOptions) -> Iterator[_Fit]:
    typical = sum(each.typical + PADDING for each in wants)
    least = sum(each.least + PADDING for each in wants)
    smallest_pt = min(options.cell_pt, READABLE_PT)
    for pages in _pages(options):
        for width_pt, height_pt in pages:
            page = _Fit(width_pt, height_pt, options.cell_pt)
            if typical <= _units(page):
                yield page
        largest_pt = options.cell_pt * min(1.0, _units(page) / max(least, 1))
        if largest_pt >= smallest_pt:
            yield _Fit(page.width_pt, page.height_pt, _floor_to_hundredths(largest_pt))


def _floor_to_hundredths(size_pt: float) -> float:
    return int(size_pt * 100 + 1e-6) / 100


def _pages(options: PdfOptions) -> list[list[tuple[float, float]]]:
    """Pages to try, the size that is liked best first; of each the narrow side up before the wide one."""
    names = AUTO_SIZES if options.page_size == "auto" else (options.page_size,)
    pages = []
    for name in names:
        size = page_size_pt(name)
        upright, lying = (min(size), max(size)), (max(size), min(size))
        is_custom = name not in PAGE_SIZES_PT
        as_told = [size] if is_custom else [upright, lying]
        pages.append({"portrait": [upright], "landscape": [lying], "auto": as_told}[options.orientation])
    return pages


def _units(page: _Fit) -> int:
    """Width between the margins in 1/1000 em."""
    return int((page.width_pt - 2 * MARGIN_PT) / page.font_pt * EM)


def _split(wants: Sequence[Want], room: int, key: int) -> list[tuple[int, ...]]:
    """Columns in bands, each with the first column and as many others as stand in the room at their typical width."""
    bands: list[list[int]] = []
    left = 0
    for index in range(1, len(wants)):
        needed = min(wants[index].typical + PADDING, room - key)
        if needed > left:
            bands.append([0])
            left = room - key
        bands[-1].append(index)
        left -= needed
    return [tuple(band) for band in bands] or [(0,)]


def _bands(columns: Sequence[Column], wants: Sequence[Want], room: int) -> Iterator[Band]:
    if len(wants) == 1:
        yield _whole(columns, wants, room)
        return
    key = min(wants[0].typical, int(room * LARGEST_KEY_SHARE))
    for indices in _split(wants, room, key + PADDING):
        rest = share([wants[index] for index in indices[1:]], room - key - PADDING * len(indices))
        yield _band(indices, columns, [key, *rest], PADDING)


def _whole(columns: Sequence[Column], wants: Sequence[Want], room: int) -> Band:
    """All columns side by side."""
    padding = min(PADDING, int(room * MOST_PADDING_SHARE) // max(1, len(wants)))
    widths = share(wants, room - padding * len(wants))
    return _band(range(len(columns)), columns, widths, padding)


def _band(indices: Sequence[int], columns: Sequence[Column], widths: Sequence[int], padding: int) -> Band:
    lefts = [padding // 2 + sum(widths[:place]) + padding * place for place in range(len(widths))]
    slots = tuple(
        Slot(left, width, columns[index].kind is Kind.NUMBER)
        for left, width, index in zip(lefts, widths, indices, strict=True)
    )
    return Band(tuple(indices), slots, sum(widths) + padding * len(widths))
