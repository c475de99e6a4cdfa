"""Content streams: the operators that draw a table's pages (ISO 32000-1 8, 9.4).

Strings hold the two-byte codes of `fonts`, none of which needs escaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.writers.pdf.fonts import FontSubset
from spark_export.writers.pdf.layout import EM, MARGIN_PT, Fitted, Layout, Slot, fit
from spark_export.writers.pdf.objects import real, reals

INK = (0.13, 0.16, 0.2)
MUTED = (0.47, 0.52, 0.58)
STRIPE = (0.965, 0.972, 0.98)
RULE = (0.62, 0.67, 0.72)
HAIRLINE = (0.85, 0.87, 0.9)

RULE_PT = 0.6
HAIRLINE_PT = 0.4
FOOTER_PT = 24.0
"""Baseline of the footer above the page's edge."""
FOOTER_EMS = 0.875
TITLE_EMS = 1.75
META_EMS = 1.0
BASELINE_EMS = 0.36
"""From the middle of a row down to its baseline: half the height of a capital letter."""

REGULAR_NAME, BOLD_NAME = b"/R", b"/B"
"""Of the fonts in the page's resources."""
TOTAL_NAME = b"/N"
"""Of the form that shows the number of pages."""


@dataclass(frozen=True)
class Typeface:
    """A font as content streams use it: its name among the resources and its characters."""

    name: bytes
    subset: FontSubset


@dataclass(frozen=True)
class Heading:
    """What stands above the table on the first page; empty texts take no room."""

    title: str = ""
    subtitle: str = ""
    made: str = ""

    @property
    def height_ems(self) -> float:
        """Height of the block with the space below it; 0 where there is nothing to say."""
        title = TITLE_EMS * 1.2 if self.title else 0
        meta = META_EMS * 1.5 if self.subtitle or self.made else 0
        return title + meta + 1.2 if title or meta else 0.0


def fill(colour: Sequence[float]) -> bytes:
    """Set the colour of texts and rectangles."""
    return b"%s rg\n" % reals(*colour)


def rectangle(x: float, y: float, width: float, height: float) -> bytes:
    """Fill a rectangle."""
    return b"%s re f\n" % reals(x, y, width, height)


def show(name: bytes, size_pt: float, x: float, y: float, codes: bytes) -> bytes:
    """Show a text at a point."""
    return b"BT %s %s Tf %s Td (%s) Tj ET\n" % (name, real(size_pt), reals(x, y), codes)


def text_line(typeface: Typeface, size_pt: float, edge: float, y: float, text: str, most_pt: float) -> bytes:
    """Show a text that takes at most `most_pt`: from `edge` to the right, to the left where that is negative."""
    if not text:
        return b""
    fitted = fit(typeface.subset.shape_text(text), int(abs(most_pt) / size_pt * EM), typeface.subset.ellipsis)
    x = edge if most_pt > 0 else edge - int(fitted.widths[0]) * size_pt / EM
    return show(typeface.name, size_pt, x, y, fitted.texts[0].as_py())


def text_width_pt(typeface: Typeface, size_pt: float, text: str) -> float:
    """Width of a text."""
    return int(typeface.subset.shape_text(text).widths[0]) * size_pt / EM


def heading_operators(heading: Heading, layout: Layout, regular: Typeface, bold: Typeface) -> bytes:
    """The title block, which hangs from the upper margin."""
    room = layout.right_pt - MARGIN_PT
    size = layout.font_pt * META_EMS
    y = layout.height_pt - MARGIN_PT
    parts = []
    if heading.title:
        title_pt = layout.font_pt * TITLE_EMS
        y -= title_pt
        parts += [fill(INK), text_line(bold, title_pt, MARGIN_PT, y, heading.title, room)]
        y -= layout.font_pt * TITLE_EMS * 0.2
    y -= size * 1.2
    made_pt = text_width_pt(regular, size, heading.made) if heading.made else 0.0
    left_pt = room - made_pt - 2 * size
    parts += [fill(MUTED), text_line(regular, size, MARGIN_PT, y, heading.subtitle, left_pt)]
    parts += [text_line(regular, size, layout.right_pt, y, heading.made, -room)]
    return b"".join(parts)


def frame_operators(layout: Layout, rows: int, labels: Sequence[Fitted], bold: Typeface, first: bool) -> bytes:
    """Stripes, rules and the header row of a page with so many rows, on which the rows are drawn."""
    top, row, width = layout.top_pt(first), layout.row_pt, layout.table_width_pt
    parts = [fill(STRIPE)]
    parts += [rectangle(MARGIN_PT, top - (index + 1) * row, width, row) for index in range(1, rows, 2)]
    parts += [fill(RULE), rectangle(MARGIN_PT, top, width, RULE_PT)]
    parts += [fill(HAIRLINE), rectangle(MARGIN_PT, top - rows * row - HAIRLINE_PT, width, HAIRLINE_PT), fill(INK)]
    y = top + layout.header_pt / 2 - BASELINE_EMS * layout.font_pt
    for slot, label in zip(layout.slots, labels, strict=True):
        x = slot.right - int(label.widths[0]) if slot.right_aligned else slot.left
        parts.append(show(bold.name, layout.font_pt, MARGIN_PT + layout.points(x), y, label.texts[0].as_py()))
    return b"".join(parts)


def empty_operators(layout: Layout, regular: Typeface, text: str) -> bytes:
    """What stands in place of the rows where there are none."""
    y = layout.top_pt(first=True) - layout.row_pt * 1.5 - BASELINE_EMS * layout.font_pt
    x = MARGIN_PT + layout.font_pt / 2
    return fill(MUTED) + text_line(regular, layout.font_pt, x, y, text, layout.right_pt - x)


def rows_start(layout: Layout, first: bool) -> bytes:
    """Begin the text of a page's rows; each row begins with T*."""
    y = layout.top_pt(first) + layout.row_pt / 2 - BASELINE_EMS * layout.font_pt
    return b"%sBT %s %s Tf %s TL %s Td\n" % (
        fill(INK),
        REGULAR_NAME,
        real(layout.font_pt),
        real(layout.row_pt),
        reals(MARGIN_PT, y),
    )


class Footer:
    """`Page X of Y` at the left margin: X on the page, Y in a form that is written when it is known."""

    def __init__(self, layout: Layout, regular: Typeface) -> None:
        self._regular = regular
        self._size = layout.font_pt * FOOTER_EMS
        self._digits = {digit: regular.subset.shape_text(digit) for digit in "0123456789"}
        before, after = regular.subset.shape_text("Page "), regular.subset.shape_text(" of ")
        self._before, self._after = before.codes.tobytes(), after.codes.tobytes()
        self._fixed_units = int(before.widths[0] + after.widths[0])

    def operators(self, page: int) -> bytes:
        """Of one page; 3 us."""
        digits = [self._digits[digit] for digit in str(page)]
        codes = b"".join(digit.codes.tobytes() for digit in digits)
        units = self._fixed_units + sum(int(digit.advances[0]) for digit in digits)
        x = MARGIN_PT + units * self._size / EM
        text = show(
            self._regular.name, self._size, MARGIN_PT, FOOTER_PT, b"%s%s%s" % (self._before, codes, self._after)
        )
        return b"%s%sq 1 0 0 1 %s cm %s Do Q\n" % (fill(MUTED), text, reals(x, FOOTER_PT), TOTAL_NAME)

    def total(self, pages: int) -> tuple[bytes, bytes]:
        """The form of the number of pages: its BBox and its content."""
        shaped = self._regular.subset.shape_text(str(pages))
        box = reals(0, -self._size, int(shaped.widths[0]) * self._size / EM, 2 * self._size)
        return box, fill(MUTED) + show(self._regular.name, self._size, 0, 0, shaped.codes.tobytes())


def row_operators(columns: Sequence[Fitted], slots: Sequence[Slot]) -> Any:
    """A BinaryArray of each row's operators, `T*[k(cell)k(cell)]TJ`, whose data buffer is the text of all rows.

    A row's texts follow each other, so that copy and paste follows the rows. The number before a cell moves the pen,
    to the right where it is negative, in 1/1000 em.
    """
    pieces: list[Any] = []
    pen: Any = 0
    for column, slot in zip(columns, slots, strict=True):
        starts = slot.right - column.widths if slot.right_aligned else slot.left
        move = _move_text(pen - starts, b"" if pieces else b"T*[")
        pieces.append(pc.binary_join_element_wise(move, column.texts, b"("))
        pen = slot.right if slot.right_aligned else slot.left + column.widths
    return pc.binary_join_element_wise(*pieces, b"]TJ\n", b")")


def _move_text(moves: int | npt.NDArray[np.int64], before: bytes) -> Any:
    """The numbers as text: one for all rows where they are all the same, as after a right-aligned column."""
    if isinstance(moves, int):
        return b"%s%d" % (before, moves)
    if len(moves) and moves.min() == moves.max():
        return b"%s%d" % (before, moves[0])
    text = pc.cast(pc.cast(pa.array(moves), pa.string()), pa.binary())
    return pc.binary_join_element_wise(before, text, b"") if before else text
