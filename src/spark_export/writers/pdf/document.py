"""One document as it grows: rows become page contents, page contents become objects, and the rest comes at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from spark_export.model import PdfOptions
from spark_export.text import Column
from spark_export.writers.pdf.cells import Cells, read_cells
from spark_export.writers.pdf.content import (
    BOLD_NAME,
    REGULAR_NAME,
    TOTAL_NAME,
    Footer,
    Heading,
    Typeface,
    empty_operators,
    frame_operators,
    heading_operators,
    row_operators,
    rows_start,
)
from spark_export.writers.pdf.embedding import font_objects
from spark_export.writers.pdf.fonts import BOLD, REGULAR, FontSubset, load_face
from spark_export.writers.pdf.layout import Layout, fit, plan, want
from spark_export.writers.pdf.objects import ObjectFile, PageTree, compress, date_string, reals, reference, text_string

SAMPLE_ROWS = 1000
"""Rows by which the columns' widths are set; always the first, however they are batched."""
SAMPLE_CHARACTERS = 400

FRAME_NAMES = {True: b"/F", False: b"/G"}
"""Forms of the first page's frame and of the later pages'."""


class Pages:
    """Turns rows into page contents. Not thread-safe: batches come one after another, in the order of the rows.

    Args:
        columns: of the table.
        sample: a StringArray for each column, of the first SAMPLE_ROWS rows.
        options: how the pages look.
        heading: what stands above the table.

    Attributes:
        lacking: characters so far that the font lacks.
    """

    def __init__(self, columns: Sequence[Column], sample: Sequence[Any], options: PdfOptions, heading: Heading) -> None:
        self.regular = Typeface(REGULAR_NAME, FontSubset(load_face(REGULAR)))
        self.bold = Typeface(BOLD_NAME, FontSubset(load_face(BOLD)))
        self._nulls = [column.null or "" for column in columns]
        self._heading = heading
        labels = [self.bold.subset.shape_text(column.label) for column in columns]
        self.layout = self._plan(columns, sample, options, [int(label.widths[0]) for label in labels])
        self._labels = [
            fit(label, slot.width, self.bold.subset.ellipsis)
            for label, slot in zip(labels, self.layout.slots, strict=True)
        ]
        self.footer = Footer(self.layout, self.regular)
        self.lacking = 0
        self.count = 0
        self._rest: list[bytes] = []
        self._rest_rows = 0

    def _plan(
        self, columns: Sequence[Column], sample: Sequence[Any], options: PdfOptions, headers: Sequence[int]
    ) -> Layout:
        cells = self._read(sample, [SAMPLE_CHARACTERS] * len(columns))
        wants = [
            want(column, header, shaped.widths)
            for column, header, shaped in zip(columns, headers, self.regular.subset.shape(cells), strict=True)
        ]
        return plan(columns, wants, options, self._heading.height_ems)

    def _read(self, texts: Sequence[Any], most_characters: Sequence[int]) -> list[Cells]:
        return [
            read_cells(column, null, most)
            for column, null, most in zip(texts, self._nulls, most_characters, strict=True)
        ]

    def add(self, texts: Sequence[Any]) -> list[bytes]:
        """Contents of the pages that are full with these rows."""
        if not texts or not len(texts[0]):
            return []
        rows = self._operators(texts)
        _, offsets, data = rows.buffers()
        ends = memoryview(offsets).cast("i")[rows.offset :]
        operators = memoryview(data)
        done = []
        taken = 0
        while taken < len(rows):
            wanted = self.layout.rows(self._is_first) - self._rest_rows
            taking = min(wanted, len(rows) - taken)
            self._rest.append(bytes(operators[ends[taken] : ends[taken + taking]]))
            self._rest_rows += taking
            taken += taking
            if taking == wanted:
                done.append(self._turn(b"%s Do\n" % FRAME_NAMES[self._is_first]))
        return done

    def finish(self) -> list[bytes]:
        """Content of the last page, where rows are left, or of the only one, where there are none."""
        if not self._rest_rows and self.count:
            return []
        frame = self.frame(self._is_first, self._rest_rows)
        return [self._turn(frame if self._rest_rows else frame + empty_operators(self.layout, self.regular, "No rows"))]

    def frame(self, first: bool, rows: int | None = None) -> bytes:
        """What rows are drawn on: of a full page unless told for how many."""
        rows = self.layout.rows(first) if rows is None else rows
        drawn = frame_operators(self.layout, rows, self._labels, self.bold, first)
        return heading_operators(self._heading, self.layout, self.regular, self.bold) + drawn if first else drawn

    @property
    def _is_first(self) -> bool:
        return self.count == 0

    def _operators(self, texts: Sequence[Any]) -> Any:
        slots = self.layout.slots
        subset = self.regular.subset
        shaped = subset.shape(self._read(texts, [slot.most_characters for slot in slots]))
        self.lacking += sum(column.lacking for column in shaped)
        fitted = [fit(column, slot.width, subset.ellipsis) for column, slot in zip(shaped, slots, strict=True)]
        return row_operators(fitted, slots)

    def _turn(self, frame: bytes) -> bytes:
        content = [frame, rows_start(self.layout, self._is_first), *self._rest, b"ET\n"]
        self.count += 1
        content.append(self.footer.operators(self.count))
        self._rest, self._rest_rows = [], 0
        return b"".join(content)


class Document:
    """Writes the objects of one document, in order; what it returns are the file's bytes.

    Args:
        pages: where the contents come from.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._file = ObjectFile()
        self._tree = PageTree(self._file)
        self._fonts = {name: self._file.reserve() for name in (REGULAR_NAME, BOLD_NAME)}
        self._forms = {name: self._file.reserve() for name in (TOTAL_NAME, *FRAME_NAMES.values())}

    def start(self) -> bytes:
        """The file's first bytes."""
        return self._file.start()

    def add(self, streams: Sequence[bytes]) -> bytes:
        """Pages of those compressed contents."""
        return b"".join(part for stream in streams for part in self._page(stream))

    def _page(self, stream: bytes) -> Iterator[bytes]:
        content, page = self._file.reserve(), self._file.reserve()
        yield self._file.add_stream(content, stream)
        parent, nodes = self._tree.add(page)
        yield nodes
        body = b"<</Type/Page/Parent %s/Contents %s>>" % (reference(parent), reference(content))
        yield self._file.add(page, body)

    def finish(self, title: str, made_at: datetime | None) -> Iterator[bytes]:
        """Everything after the last page."""
        layout = self._pages.layout
        box = reals(0, 0, layout.width_pt, layout.height_pt)
        for first, name in FRAME_NAMES.items():
            yield self._form(name, box, self._pages.frame(first))
        yield self._form(TOTAL_NAME, *self._pages.footer.total(self._tree.pages))
        for typeface in (self._pages.regular, self._pages.bold):
            yield from font_objects(self._file, self._fonts[typeface.name], typeface.subset)
        resources = b"/Resources<<%s/XObject%s>>" % (self._font_resources(), _dictionary(self._forms))
        root, nodes = self._tree.finish(b"/MediaBox[%s]%s" % (box, resources))
        yield nodes
        catalog, info = self._file.reserve(), self._file.reserve()
        preferences = b"/ViewerPreferences<</DisplayDocTitle true>>" if title else b""
        yield self._file.add(catalog, b"<</Type/Catalog/Pages %s%s>>" % (reference(root), preferences))
        yield self._file.add(info, _information(title, made_at))
        yield from self._file.finish(catalog, info)

    def _form(self, name: bytes, box: bytes, content: bytes) -> bytes:
        entries = b"/Type/XObject/Subtype/Form/BBox[%s]/Resources<<%s>>" % (box, self._font_resources())
        return self._file.add_stream(self._forms[name], compress(content), entries)

    def _font_resources(self) -> bytes:
        return b"/Font" + _dictionary(self._fonts)


def _dictionary(numbers: dict[bytes, int]) -> bytes:
    return b"<<%s>>" % b"".join(b"%s %s" % (name, reference(number)) for name, number in numbers.items())


def _information(title: str, made_at: datetime | None) -> bytes:
    """The document information dictionary (14.3.3)."""
    entries = b"/Producer" + text_string("spark-export")
    if title:
        entries += b"/Title" + text_string(title)
    if made_at:
        entries += b"/CreationDate" + date_string(made_at)
    return b"<<%s>>" % entries


def sample_of(head: Sequence[Sequence[Any]], width: int) -> list[Any]:
    """The first SAMPLE_ROWS rows of batches of text columns, `width` columns wide."""
    return [
        pa.concat_arrays([pa.array([], pa.string()), *(texts[column] for texts in head)]).slice(0, SAMPLE_ROWS)
        for column in range(width)
    ]
