"""A page around its rows: what is drawn before and after them, what pages share, and how it is tagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spark_export.model import PdfOptions
from spark_export.text import Column
from spark_export.writers.pdf.content import INK, artifact, colour_of, fill, marked
from spark_export.writers.pdf.frame import BASELINE_EMS, FOOTER_EMS, TOTAL_NAME, Footer, Frame, no_rows
from spark_export.writers.pdf.layout import MARGIN_PT, Layout
from spark_export.writers.pdf.objects import real, reals
from spark_export.writers.pdf.structure import Tags
from spark_export.writers.pdf.titleblock import Heading, TitleBlock
from spark_export.writers.pdf.typeset import Typefaces
from spark_export.writers.pdf.words import Words

Heights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """A form XObject (8.10): its name among the resources, its BBox and its content."""

    name: bytes
    box: bytes
    content: bytes


class Place(NamedTuple):
    """Which page: of which band of the table, and whether it shows the first rows."""

    band: int
    first: bool

    @property
    def header_name(self) -> bytes:
        """Of the form with the header row, and the title block on first pages."""
        return b"/%s%d" % (b"H" if self.first else b"I", self.band)

    @property
    def stripes_name(self) -> bytes:
        """Of the form with the stripes of full pages."""
        return b"/%s%d" % (b"S" if self.first else b"T", self.band)


class Sheet:
    """Draws all of a page but its rows.

    Args:
        layout: of the document.
        columns: of the table.
        options: how the pages look.
        heading: what stands above the table.
        typefaces: to set it in.
        words: of the document's language.
    """

    def __init__(
        self,
        layout: Layout,
        columns: Sequence[Column],
        options: PdfOptions,
        heading: Heading,
        typefaces: Typefaces,
        words: Words,
    ) -> None:
        self._layout = layout
        self._tagged = options.accessible
        self._words = words
        self._regular = typefaces.regular(layout.font_pt)
        accent = colour_of(options.theme.accent)
        title = TitleBlock(heading, layout, typefaces, options.cell_pt, accent)
        self._heading, self._logo = list(title.texts()), title.logo()
        bold = typefaces.bold(layout.font_pt)
        labels = [column.label for column in columns]
        self._frames = [
            Frame(layout, band, labels, bold, accent, stripes=options.theme.stripes) for band in layout.bands
        ]
        self._full_starts: dict[Place, bytes] = {}
        self._footer = Footer(layout, typefaces.regular(options.cell_pt * FOOTER_EMS), words, heading.title)

    @property
    def box(self) -> bytes:
        """The page, from corner to corner."""
        return reals(0, 0, self._layout.width_pt, self._layout.height_pt)

    def own_columns(self, band: int) -> int:
        """Columns of a band less the first one, where it is repeated."""
        return len(self._layout.bands[band].columns) - (band > 0)

    def first_mcid(self, place: Place) -> int:
        """Marked content that comes before that of the rows: the title block and the header row."""
        if not place.first:
            return 0
        return (0 if place.band else len(self._heading)) + self.own_columns(place.band)

    def full_start(self, place: Place) -> bytes:
        """What comes before the rows of a full page of even rows."""
        if place not in self._full_starts:
            stripes = self._artifact(b"%s Do\n" % place.stripes_name)
            self._full_starts[place] = self._header(place) + stripes + self._text_start(place)
        return self._full_starts[place]

    def start(self, place: Place, heights: Heights) -> bytes:
        """What comes before rows of those heights."""
        stripes = self._artifact(self._frames[place.band].rows(heights, first=place.first))
        return self._header(place) + stripes + (self._text_start(place) if len(heights) else b"")

    def footer(self, page: int) -> bytes:
        """What comes last on a page, counted from 1."""
        return self._artifact(self._footer.operators(page))

    def _artifact(self, operators: bytes) -> bytes:
        return artifact(operators) if self._tagged else operators

    def _header(self, place: Place) -> bytes:
        if not (place.first and self._tagged):
            return self._artifact(b"%s Do\n" % place.header_name)
        frame = self._frames[place.band]
        parts = [artifact(self._logo + frame.header_rule(first=True))]
        texts = [(b"TH", operators) for operators in frame.labels(first=True)]
        if place.band:  # what the first band's page says already
            parts += [artifact(operators) for _, operators in (*self._heading, texts.pop(0))]
        else:
            texts = [*self._heading, *texts]
        return b"".join([*parts, *(marked(tag, mcid, operators) for mcid, (tag, operators) in enumerate(texts))])

    def _text_start(self, place: Place) -> bytes:
        """What begins the text of a page's rows, each of which begins with T*."""
        layout = self._layout
        y = layout.top_pt(first=place.first) + layout.row_pt / 2 - BASELINE_EMS * layout.font_pt
        return b"%sBT %s %s Tf %s TL %s Td\n" % (
            fill(INK),
            self._regular.name,
            real(layout.font_pt),
            real(layout.row_pt),
            reals(MARGIN_PT, y),
        )

    def no_rows(self, place: Place) -> bytes:
        """What stands in the place of rows, once."""
        if place.band:
            return b""
        text = no_rows(self._layout, self._regular, self._words)
        return marked(b"TD", self.first_mcid(place), text) if self._tagged else text

    def totals(self, place: Place, heights: Heights, texts: Sequence[str], mcid: int) -> bytes:
        """The totals below rows of those heights.

        Args:
            place: which page.
            heights: of the rows.
            texts: one for each column of the table.
            mcid: of the first one's marked content, where the document is tagged.
        """
        top_pt = self._layout.top_pt(first=place.first) - float(heights.sum())
        frame = self._frames[place.band]
        rule, shown = frame.totals_rule(top_pt), frame.totals(top_pt, texts)
        if not self._tagged:
            return rule + b"".join(shown)
        if place.band:
            rule += shown.pop(0)
        return artifact(rule) + b"".join(marked(b"TD", mcid + number, text) for number, text in enumerate(shown))

    def tags(self, place: Place, line_rows: npt.NDArray[np.int64], closing: bytes) -> Tags:
        """What a page of a tagged document shows."""
        heading = tuple(tag for tag, _ in self._heading) if place.first and not place.band else ()
        return Tags(heading, place.first, line_rows, closing)

    def form_names(self) -> Iterator[bytes]:
        """Names of the forms."""
        yield TOTAL_NAME
        for place in self._places():
            yield place.header_name
            yield place.stripes_name

    def forms(self, pages: int) -> Iterator[Form]:
        """What pages share, once it is known how many there are."""
        yield Form(TOTAL_NAME, *self._footer.total(pages))
        for place in self._places():
            frame, first = self._frames[place.band], place.first
            texts = [*(operators for _, operators in self._heading), self._logo] if first else [self._footer.title()]
            header = [*texts, *frame.labels(first=first), frame.header_rule(first=first)]
            yield Form(place.header_name, self.box, b"".join(header))
            heights = np.full(self._layout.rows(first=first), self._layout.row_pt)
            yield Form(place.stripes_name, self.box, frame.rows(heights, first=first))

    def _places(self) -> Iterator[Place]:
        for band in range(len(self._frames)):
            yield Place(band, first=True)
            yield Place(band, first=False)
