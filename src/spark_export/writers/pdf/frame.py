"""What stands around the rows: the title block, the header row with rules and stripes, the totals, the footer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.cells import one_cell
from spark_export.writers.pdf.content import Colour, fill, rectangle, rectangles, show
from spark_export.writers.pdf.faces import EM
from spark_export.writers.pdf.layout import MARGIN_PT, Band, Layout, Slot
from spark_export.writers.pdf.objects import real, reals
from spark_export.writers.pdf.strings import Typeset
from spark_export.writers.pdf.typeset import Typefaces, Typesetter

INK: Colour = (0.13, 0.16, 0.2)
MUTED: Colour = (0.42, 0.46, 0.52)
STRIPE: Colour = (0.961, 0.969, 0.978)
HAIRLINE: Colour = (0.82, 0.85, 0.88)

RULE_PT = 0.8
HAIRLINE_PT = 0.4
FOOTER_PT = 24.0
"""Baseline of the footer above the page's edge."""
FOOTER_EMS = 0.875
FOOTER_TITLE_SHARE = 0.5

TITLE_EMS, SUBTITLE_EMS, NOTE_EMS = 2.0, 1.125, 0.9375
LEADING = 1.45
"""Of the lines of the title block, to their size."""
TITLE_GAP_EMS = 1.25
"""Between the title block and the table."""
LOGO_EMS = (18.0, 4.0)
"""Largest width and height of the logo."""
LOGO_GAP_EMS = 2.0
BASELINE_EMS = 0.36
"""From the middle of a row down to its baseline: half the height of a capital letter."""
ASCENT_EMS = 0.8
"""From the top of a line of the title block down to its baseline."""

NEVER_CUT = 10**9

TOTAL_NAME, LOGO_NAME = b"/N", b"/L"
"""Of the form that shows the number of pages, and of the logo, among the resources."""


@dataclass(frozen=True)
class Words:
    """The few words that are the writer's own."""

    before_page: str
    before_pages: str
    no_rows: str
    total: str
    pages: str
    rows: str


WORDS = {
    "en": Words("Page ", " of ", "No rows", "Total", "Pages", "rows"),
    "tr": Words("Sayfa ", " / ", "Satır yok", "Toplam", "Sayfalar", "satırlar"),
    "de": Words("Seite ", " von ", "Keine Zeilen", "Summe", "Seiten", "Zeilen"),
    "fr": Words("Page ", " sur ", "Aucune ligne", "Total", "Pages", "lignes"),
    "es": Words("Página ", " de ", "Sin filas", "Total", "Páginas", "filas"),
}


def words_of(language: str) -> Words:
    """In the language of a BCP 47 tag, in English where it is not known."""
    return WORDS.get(language.partition("-")[0].lower(), WORDS["en"])


@dataclass(frozen=True)
class Line:
    """A line of the title block: tag of its structure element, size in ems, texts at its left and its right end."""

    tag: bytes
    size_ems: float
    left: str
    right: str = ""


@dataclass(frozen=True)
class Heading:
    """What stands above the table on the first page; empty texts take no room.

    Attributes:
        title, subtitle: texts.
        filters: what the rows were chosen by.
        made: when.
        logo_px: width and height of the logo, None for no logo.
    """

    title: str = ""
    subtitle: str = ""
    filters: str = ""
    made: str = ""
    logo_px: tuple[int, int] | None = None

    def lines(self) -> list[Line]:
        """The texts from top to bottom."""
        notes = (self.filters, self.made) if self.filters else (self.made, "")
        lines = [
            Line(b"H1", TITLE_EMS, self.title),
            Line(b"P", SUBTITLE_EMS, self.subtitle),
            Line(b"P", NOTE_EMS, *notes),
        ]
        return [line for line in lines if line.left]

    def height_pt(self, em_pt: float) -> float:
        """Height of the block with the space below it; 0 where there is nothing to say."""
        lines = sum(line.size_ems for line in self.lines()) * LEADING * em_pt
        block = max(lines, self.logo_size_pt(em_pt)[1])
        return block + TITLE_GAP_EMS * em_pt if block else 0.0

    def logo_size_pt(self, em_pt: float) -> tuple[float, float]:
        """Width and height of the logo."""
        if self.logo_px is None:
            return 0.0, 0.0
        scale = min(most * em_pt / side for most, side in zip(LOGO_EMS, self.logo_px, strict=True))
        return self.logo_px[0] * scale, self.logo_px[1] * scale


class TitleBlock:
    """The title block, which hangs from the upper margin.

    Args:
        heading: what it says.
        layout: of the document.
        typefaces: of the document.
        em_pt: the size that its sizes are multiples of.
        accent: colour of the title.
    """

    def __init__(self, heading: Heading, layout: Layout, typefaces: Typefaces, em_pt: float, accent: Colour) -> None:
        self._heading = heading
        self._layout = layout
        self._typefaces = typefaces
        self._em_pt = em_pt
        self._accent = accent

    def texts(self) -> Iterator[tuple[bytes, bytes]]:
        """Each text from top to bottom: the tag of its structure element, and the operators."""
        logo_width, logo_height = self._heading.logo_size_pt(self._em_pt)
        top = self._layout.height_pt - MARGIN_PT
        logo_bottom = top - logo_height
        for line in self._heading.lines():
            size = line.size_ems * self._em_pt
            y = top - (LEADING - 1) / 2 * size - ASCENT_EMS * size
            beside = logo_width + LOGO_GAP_EMS * self._em_pt if top > logo_bottom else 0.0
            yield from self._line(line, size, y, self._layout.right_pt - beside)
            top -= LEADING * size

    def _line(self, line: Line, size_pt: float, y: float, right_pt: float) -> Iterator[tuple[bytes, bytes]]:
        is_title = line.tag == b"H1"
        setter = self._typefaces.bold(size_pt) if is_title else self._typefaces.regular(size_pt)
        colour = self._accent if is_title else INK if line.size_ems == SUBTITLE_EMS else MUTED
        room = right_pt - MARGIN_PT
        if line.right:
            shown = setter.line(line.right, room)
            x = right_pt - setter.points(int(shown.widths[0]))
            yield line.tag, fill(colour) + show(setter.name, size_pt, x, y, shown.operand)
            room = x - MARGIN_PT - 2 * size_pt
        if room > size_pt:
            codes = setter.line(line.left, room).operand
            yield line.tag, fill(colour) + show(setter.name, size_pt, MARGIN_PT, y, codes)

    def logo(self) -> bytes:
        """The image at the upper right."""
        width, height = self._heading.logo_size_pt(self._em_pt)
        if not width:
            return b""
        x, y = self._layout.right_pt - width, self._layout.height_pt - MARGIN_PT - height
        return b"q %s cm %s Do Q\n" % (reals(width, 0, 0, height, x, y), LOGO_NAME)


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
