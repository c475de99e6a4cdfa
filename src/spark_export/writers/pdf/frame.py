"""What stands around the rows: the header row with rules and stripes, the totals, the footer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.cells import one_cell
from spark_export.writers.pdf.content import INK, MUTED, Colour, fill, rectangle, rectangles, show
from spark_export.writers.pdf.faces import EM
from spark_export.writers.pdf.layout import MARGIN_PT, Band, Layout, Slot
from spark_export.writers.pdf.objects import real, reals
from spark_export.writers.pdf.strings import Typeset
from spark_export.writers.pdf.typeset import Typesetter
from spark_export.writers.pdf.words import Words

STRIPE: Colour = (0.961, 0.969, 0.978)
HAIRLINE: Colour = (0.82, 0.85, 0.88)

RULE_PT = 0.8
HAIRLINE_PT = 0.4
FOOTER_PT = 24.0
"""Baseline of the footer above the page's edge."""
FOOTER_EMS = 0.875
FOOTER_TITLE_SHARE = 0.5

BASELINE_EMS = 0.36
"""From the middle of a row down to its baseline: half the height of a capital letter."""
NEVER_CUT = 10**9

TOTAL_NAME = b"/N"
"""Of the form that shows the number of pages, among the resources."""


class Frame:
    """The header row, rules, stripes and totals of one band's pages.

    Args:
        layout: of the document.
        band: of the table.
        labels: of all the table's columns.
        bold: sets them.
        accent: colour of the rules below the header and above the totals.
        stripes: whether every other row is shaded.
    """

    def __init__(
        self, layout: Layout, band: Band, labels: Sequence[str], bold: Typesetter, accent: Colour, *, stripes: bool
    ) -> None:
        self._layout = layout
        self._band = band
        self._bold = bold
        self._accent = accent
        self._stripes = stripes
        self._width_pt = layout.points(band.width)
        self._labels = self._set([labels[index] for index in band.columns])

    def header_rule(self, *, first: bool) -> bytes:
        """The line below the header row."""
        return fill(self._accent) + rectangle(MARGIN_PT, self._layout.top_pt(first=first), self._width_pt, RULE_PT)

    def labels(self, *, first: bool) -> list[bytes]:
        """The header's texts, one after another."""
        y = self._baseline(self._layout.top_pt(first=first) + self._layout.header_pt / 2)
        return [self._show(label, slot, y) for label, slot in zip(self._labels, self._band.slots, strict=True)]

    def rows(self, heights: npt.NDArray[np.float64], *, first: bool) -> bytes:
        """Stripes behind rows of those heights, and the line below the last one."""
        if not len(heights):
            return b""
        bottoms = self._layout.top_pt(first=first) - np.cumsum(heights)
        stripes = rectangles(MARGIN_PT, bottoms[1::2], self._width_pt, heights[1::2]) if self._stripes else b""
        drawn = fill(STRIPE) + stripes if stripes else b""
        line = rectangle(MARGIN_PT, float(bottoms[-1]) - HAIRLINE_PT, self._width_pt, HAIRLINE_PT)
        return drawn + fill(HAIRLINE) + line

    def totals_rule(self, top_pt: float) -> bytes:
        """The line above the totals, in the place of the one below the last row."""
        return fill(self._accent) + rectangle(MARGIN_PT, top_pt - RULE_PT, self._width_pt, RULE_PT)

    def totals(self, top_pt: float, texts: Sequence[str]) -> list[bytes]:
        """The band's texts of the totals row that hangs from `top_pt`, of one text for each of the table's columns."""
        y = self._baseline(top_pt - self._layout.row_pt / 2 - RULE_PT)
        own = self._set([texts[index] for index in self._band.columns], whole=True)
        return [self._show(text, slot, y) for text, slot in zip(own, self._band.slots, strict=True)]

    def _set(self, texts: Sequence[str], *, whole: bool = False) -> list[Typeset]:
        """The texts, cut to their columns, or whole: a part of a sum is a wrong sum."""
        widths = [NEVER_CUT if whole else slot.width for slot in self._band.slots]
        return self._bold.set_columns([one_cell(text) for text in texts], widths)

    def _baseline(self, middle_pt: float) -> float:
        return middle_pt - BASELINE_EMS * self._layout.font_pt

    def _show(self, text: Typeset, slot: Slot, y: float) -> bytes:
        """A text in its column; one that is too wide for it is shown smaller."""
        width = int(text.widths[0])
        size_pt = self._bold.font_pt * min(1.0, slot.width / max(width, 1))
        at_right = slot.right_aligned or text.right_to_left is not None
        x = self._layout.points(slot.right) - width * size_pt / EM if at_right else self._layout.points(slot.left)
        return fill(INK) + show(self._bold.name, size_pt, MARGIN_PT + x, y, text.operand)


def no_rows(layout: Layout, regular: Typesetter, words: Words) -> bytes:
    """What stands in place of the rows where there are none."""
    y = layout.top_pt(first=True) - layout.row_pt - BASELINE_EMS * layout.font_pt
    x = MARGIN_PT + layout.font_pt / 2
    line = regular.line(words.no_rows, layout.right_pt - x)
    return fill(MUTED) + show(regular.name, regular.font_pt, x, y, line.operand)


class Footer:
    """`Page X of Y` at the left, X on the page, Y in a form that is written when it is known; the title at the right.

    Args:
        layout: of the document.
        regular: sets it.
        words: around X.
        title: of the document.
    """

    def __init__(self, layout: Layout, regular: Typesetter, words: Words, title: str) -> None:
        self._regular = regular
        self._title = title
        self._layout = layout
        before, after = (regular.line(text, layout.width_pt) for text in (words.before_page, words.before_pages))
        self._before, self._after = before.operand, after.operand
        self._fixed_units = int(before.widths[0] + after.widths[0])
        self._digit_units = int(regular.line("0", layout.width_pt).widths[0])
        self._ends: dict[int, bytes] = {}
        self._start = b"%sBT %s %s Tf %s Td[(%s" % (
            fill(MUTED), regular.name, real(regular.font_pt), reals(MARGIN_PT, FOOTER_PT), self._before
        )  # fmt: skip

    def operators(self, page: int) -> bytes:
        """Of one page; 0.6 us, as the figures of the bundled font have one width and their codes are ASCII."""
        number = b"%d" % page
        if len(number) not in self._ends:
            self._ends[len(number)] = self._end(len(number))
        return b"%s%s%s" % (self._start, number, self._ends[len(number)])

    def _end(self, digits: int) -> bytes:
        """What follows a number of so many digits."""
        x = MARGIN_PT + self._regular.points(self._fixed_units + digits * self._digit_units)
        return b"%s)]TJ ET\nq 1 0 0 1 %s cm %s Do Q\n" % (self._after, reals(x, FOOTER_PT), TOTAL_NAME)

    def title(self) -> bytes:
        """The title, as it stands on every page but the first."""
        if not self._title:
            return b""
        most_pt = (self._layout.right_pt - MARGIN_PT) * FOOTER_TITLE_SHARE
        line = self._regular.line(self._title, most_pt)
        x = self._layout.right_pt - self._regular.points(int(line.widths[0]))
        return fill(MUTED) + show(self._regular.name, self._regular.font_pt, x, FOOTER_PT, line.operand)

    def total(self, pages: int) -> tuple[bytes, bytes]:
        """The form of the number of pages: its BBox and its content."""
        line = self._regular.line(str(pages), self._layout.width_pt)
        size = self._regular.font_pt
        box = reals(0, -size, self._regular.points(int(line.widths[0])), 2 * size)
        return box, fill(MUTED) + show(self._regular.name, size, 0, 0, line.operand)
