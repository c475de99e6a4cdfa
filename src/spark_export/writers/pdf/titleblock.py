"""What stands above the table on the first page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spark_export.writers.pdf.content import INK, MUTED, Colour, fill, show
from spark_export.writers.pdf.layout import MARGIN_PT, Layout
from spark_export.writers.pdf.objects import reals
from spark_export.writers.pdf.typeset import Typefaces

TITLE_EMS, SUBTITLE_EMS, NOTE_EMS = 2.0, 1.125, 0.9375
LEADING = 1.45
"""Of the lines of the title block, to their size."""
TITLE_GAP_EMS = 1.25
"""Between the title block and the table."""
LOGO_EMS = (18.0, 4.0)
"""Largest width and height of the logo."""
LOGO_GAP_EMS = 2.0
ASCENT_EMS = 0.8
"""From the top of a line of the title block down to its baseline."""

LOGO_NAME = b"/L"
"""Of the logo among the resources."""


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
