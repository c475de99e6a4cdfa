"""Rows become page contents, a piece of some thousand rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_export.model import PdfOptions
from spark_export.text import Column, Kind
from spark_export.text.numbers import all_read_as_numbers
from spark_export.writers.pdf.cells import Cells, one_cell, read_cells
from spark_export.writers.pdf.columns import want
from spark_export.writers.pdf.content import row_operators
from spark_export.writers.pdf.faces import Fonts
from spark_export.writers.pdf.frame import RULE_PT
from spark_export.writers.pdf.layout import Layout, most_characters, plan
from spark_export.writers.pdf.objects import real
from spark_export.writers.pdf.paging import Lines, Segment, even_segments, row_heights, wrapped_segments
from spark_export.writers.pdf.sheet import Heights, Place, Sheet
from spark_export.writers.pdf.strings import Typeset, align, concatenated, decimals
from spark_export.writers.pdf.structure import NO_ROWS, TOTALS, Tags
from spark_export.writers.pdf.titleblock import Heading
from spark_export.writers.pdf.typeset import Typefaces
from spark_export.writers.pdf.words import words_of

SAMPLE_ROWS = 1000
"""Rows by which the columns' widths are set; always the first, however they are batched."""
SAMPLE_CHARACTERS = 400
BOTTOM_SLACK_PT = 8.0
"""Totals may reach so far below the last row's place rather than stand alone on a page."""
LONGEST_WRAPPED = 1_000_000
"""Characters of one cell that are broken into lines: some 20,000 of them, and it ends in an ellipsis."""


class Page(NamedTuple):
    """A finished page.

    Attributes:
        content: its operators.
        first_row: number of its first row, from 0.
        tags: what it shows, where the document is tagged.
    """

    content: bytes
    first_row: int
    tags: Tags | None = None


@dataclass
class _Pending:
    """The lines of the page that is not full yet.

    Attributes:
        first_row: the row that the page begins with.
        parts: operators, for each band.
        lines: how many.
        line_rows: the row that each line belongs to, where rows may have several, or are tagged.
    """

    first_row: int
    parts: list[list[memoryview]]
    lines: int = 0
    line_rows: list[Lines] = field(default_factory=list)

    def rows(self) -> Lines:
        """The row that each line belongs to."""
        return np.concatenate(self.line_rows) if self.line_rows else np.zeros(0, np.int64)


def _as_shown(column: Column, sample: Any) -> Column:
    """The column, as one of numbers where nobody chose its type and every value of the sample is one."""
    if column.untyped and all_read_as_numbers(sample):
        return replace(column, kind=Kind.NUMBER)
    return column


class Pages:
    """Turns rows into pages. Not thread-safe: pieces come one after another, in the order of the rows.

    Args:
        columns: of the table.
        sample: a StringArray for each column, of the first SAMPLE_ROWS rows.
        options: how the pages look.
        heading: what stands above the table.
        fonts: to set it in.

    Attributes:
        columns: of the table.
        layout, sheet, typefaces: see their classes.
        count: pages so far.
        rows: so far.

    Raises:
        InvalidField: a page has no room for a row.
    """

    def __init__(
        self, columns: Sequence[Column], sample: Sequence[Any], options: PdfOptions, heading: Heading, fonts: Fonts
    ) -> None:
        self.columns = tuple(columns)
        self._options = options
        self.typefaces = Typefaces(fonts)
        self.layout = self._plan(sample, heading)
        self.sheet = Sheet(self.layout, columns, options, heading, self.typefaces, words_of(options.language))
        self._setter = self.typefaces.regular(self.layout.font_pt)
        self._widths = self.layout.column_widths()
        self._tracks_rows = self._wraps or options.accessible
        self.count = 0
        self.rows = 0
        self._pending = self._nothing_pending()

    @property
    def lacking(self) -> Counter[str]:
        """Characters so far that no font has, and how often each was met."""
        return self.typefaces.lacking

    @property
    def _wraps(self) -> bool:
        return self._options.overflow == "wrap"

    @property
    def _is_first(self) -> bool:
        return self.count == 0

    def _plan(self, sample: Sequence[Any], heading: Heading) -> Layout:
        regular, bold = self.typefaces.regular(1), self.typefaces.bold(1)
        cells = self._read(sample, [SAMPLE_CHARACTERS] * len(self.columns))
        columns = [_as_shown(column, texts) for column, texts in zip(self.columns, sample, strict=True)]
        wants = [
            want(
                column,
                int(bold.measure(one_cell(column.label))[0]),
                regular.measure(each),
                is_totalled=column.name in self._options.totals,
            )
            for column, each in zip(columns, cells, strict=True)
        ]
        return plan(columns, wants, self._options, heading.height_pt(self._options.cell_pt))

    def _read(self, texts: Sequence[Any], longest: Sequence[int]) -> list[Cells]:
        return [
            read_cells(text, column.null or "", most)
            for text, column, most in zip(texts, self.columns, longest, strict=True)
        ]

    def add(self, texts: Sequence[Any]) -> list[Page]:
        """Pages that are full, and have no room for all these rows."""
        if not texts or not len(texts[0]):
            return []
        sets, line_rows = self._set(texts)
        self.rows += len(texts[0])
        segments = self._segments(line_rows)
        operators = self._operators(sets, line_rows, segments)
        done: list[Page] = []
        for segment in segments:
            self._take(segment, line_rows, operators)
            if segment.turns:
                done += self._turn()
        return done

    def _set(self, texts: Sequence[Any]) -> tuple[list[Typeset], Lines]:
        """The columns, line by line, and the row that each line belongs to."""
        longest = [LONGEST_WRAPPED if self._wraps else most_characters(width) for width in self._widths]
        cells = self._read(texts, longest)
        sets = self._setter.set_columns(cells, self._widths, wrap=self._wraps)
        rows = np.arange(self.rows, self.rows + len(texts[0]))
        if not self._wraps:
            return sets, rows
        sets, lines = align(sets)
        return sets, np.repeat(rows, lines)

    def _segments(self, line_rows: Lines) -> list[Segment]:
        """Which lines go on which page."""
        if self._wraps:
            return list(wrapped_segments(self.layout, line_rows, self._pending.rows(), first=self._is_first))
        return list(even_segments(self.layout, len(line_rows), self._pending.lines, first=self._is_first))

    def _operators(self, sets: Sequence[Typeset], line_rows: Lines, segments: Sequence[Segment]) -> list[_Operators]:
        """For each band."""
        begins = self._begins(line_rows, segments)
        return [
            _Operators(
                row_operators(
                    [sets[index] for index in band.columns], band.slots, begins, self._marks(number, segments)
                )
            )
            for number, band in enumerate(self.layout.bands)
        ]

    def _begins(self, line_rows: Lines, segments: Sequence[Segment]) -> Any:
        """Operators that bring the pen to each line: the next row, or the next line of the same one."""
        if not self._wraps:
            return b"T*"
        next_line = np.append(False, line_rows[1:] == line_rows[:-1])
        next_line[[segment.start for segment in segments if not segment.before]] = False
        choices = pa.array([b"T*", b"0 -%s Td" % real(self.layout.line_pt)])
        return choices.take(pa.array(next_line.astype(np.int8)))

    def _marks(self, band: int, segments: Sequence[Segment]) -> list[Any] | None:
        """What begins each cell's marked content; a first column that is repeated is an artifact."""
        if not self._options.accessible:
            return None
        own = self.sheet.own_columns(band)
        lengths = [segment.end - segment.start for segment in segments]
        lines = np.concatenate(
            [np.arange(length) + segment.before for length, segment in zip(lengths, segments, strict=True)]
        )
        firsts = [self.sheet.first_mcid(Place(band, self._is_first and not number)) for number in range(len(segments))]
        base = np.repeat(firsts, lengths) + lines * own
        marks: list[Any] = [b"/Artifact BMC"] if band else []
        tagged = (concatenated([b"/TD<</MCID ", decimals(base + column), b">>BDC"]) for column in range(own))
        return [*marks, *tagged]

    def _take(self, segment: Segment, line_rows: Lines, operators: Sequence[_Operators]) -> None:
        pending = self._pending
        if not pending.lines:
            pending.first_row = int(line_rows[segment.start])
        for parts, band_operators in zip(pending.parts, operators, strict=True):
            parts.append(band_operators.between(segment.start, segment.end))
        pending.lines += segment.end - segment.start
        if self._tracks_rows:
            pending.line_rows.append(line_rows[segment.start : segment.end])

    def finish(self, totals: Sequence[str] | None = None) -> list[Page]:
        """The last pages: the rows that are left, or where there are none a page that says so; then the totals.

        Args:
            totals: texts of the totals row, one a column; None for no such row.
        """
        if not self.rows:
            totals = None
        done: list[Page] = []
        if totals is not None and self._pending.lines:
            height_pt = float(self._heights().sum()) + self.layout.row_pt + RULE_PT
            if height_pt > self.layout.room_pt(first=self._is_first) + BOTTOM_SLACK_PT:
                done += self._turn()
        if self._pending.lines or self._is_first or totals is not None:
            done += self._turn(totals)
        return done

    def _heights(self) -> Heights:
        """Of the rows on the page that is not full yet."""
        if self._wraps:
            return row_heights(self.layout, self._pending.rows())
        return np.full(self._pending.lines, self.layout.row_pt)

    def _turn(self, totals: Sequence[str] | None = None) -> list[Page]:
        """The page of each band that shows what is pending."""
        pending, first = self._pending, self._is_first
        is_full = not self._wraps and pending.lines == self.layout.rows(first=first)
        heights = None if is_full and totals is None else self._heights()
        closing = b"" if heights is None else self._closing(totals)
        done = []
        for band, parts in enumerate(pending.parts):
            place = Place(band, first)
            self.count += 1
            start = self.sheet.full_start(place) if heights is None else self.sheet.start(place, heights)
            end = self._end(place, heights, totals) if heights is not None and closing else b""
            content = [start, *parts, b"ET\n" if parts else b"", end, self.sheet.footer(self.count)]
            tags = self.sheet.tags(place, pending.rows(), closing) if self._options.accessible else None
            done.append(Page(b"".join(content), pending.first_row, tags))
        self._pending = self._nothing_pending()
        return done

    def _closing(self, totals: Sequence[str] | None) -> bytes:
        """The tag of what follows the rows of the last page."""
        if not self.rows:
            return NO_ROWS
        return TOTALS if totals is not None else b""

    def _end(self, place: Place, heights: Heights, totals: Sequence[str] | None) -> bytes:
        if totals is None:
            return self.sheet.no_rows(place)
        mcid = self.sheet.first_mcid(place) + self._pending.lines * self.sheet.own_columns(place.band)
        return self.sheet.totals(place, heights, totals, mcid)

    def _nothing_pending(self) -> _Pending:
        return _Pending(self.rows, [[] for _ in self.layout.bands])


class _Operators:
    """The operators of a piece's lines, of which pages take slices."""

    def __init__(self, lines: Any) -> None:
        _, offsets, data = lines.buffers()
        self._ends = memoryview(offsets).cast("i")[lines.offset :]
        self._data = memoryview(data)

    def between(self, start: int, end: int) -> memoryview:
        """Of lines that follow each other."""
        return self._data[self._ends[start] : self._ends[end]]


def sample_of(head: Sequence[Sequence[Any]], width: int) -> list[Any]:
    """The first SAMPLE_ROWS rows of batches of text columns, `width` columns wide."""
    return [
        pa.concat_arrays([pa.array([], pa.string()), *(texts[column] for texts in head)]).slice(0, SAMPLE_ROWS)
        for column in range(width)
    ]
