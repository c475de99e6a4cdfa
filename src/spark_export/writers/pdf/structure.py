"""The structure of a tagged table (ISO 32000-1 14.7, 14.8; ISO 14289-1 7.5), written a page at a time.

    Document -> H1, P, ..., Table -> THead -> TR -> TH ...
                                     TBody -> TR -> TD ...    one TBody for the rows that begin on a page
                                     TFoot -> TR -> TD ...

Rows and cells go into one object stream a page, of which some numbers stay in memory. The last row of a page waits for
the next page, on which it may go on.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_export.writers.pdf.layout import Band
from spark_export.writers.pdf.objects import ObjectFile, Run, reference
from spark_export.writers.pdf.strings import concatenated, decimals, joined

Numbers = npt.NDArray[np.int64]

TOTALS, NO_ROWS = b"totals", b"no rows"

LEAF_KEYS = 64
"""Pages in a leaf of the number tree by which a reader finds the elements of a page (7.9.7)."""


@dataclass(frozen=True)
class Tags:
    """What a tagged page shows, in the order of its marked content.

    Attributes:
        heading: tags of the texts of the title block.
        has_header: whether the header row is part of the document here, and no artifact.
        line_rows: the row that each line belongs to.
        closing: what follows the rows: TOTALS, NO_ROWS in their place, or nothing.
    """

    heading: tuple[bytes, ...] = ()
    has_header: bool = False
    line_rows: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    closing: bytes = b""


@dataclass(frozen=True)
class _Content:
    """Marked content on a page."""

    page: int
    mcid: int


@dataclass
class _OpenRow:
    """A row that may go on: its TR, the TD of its first column (the others follow), and what they consist of."""

    row: int
    body: int
    element: int
    cells: int
    kids: list[list[bytes]]


@dataclass
class _Objects:
    """Objects for one object stream."""

    runs: list[Run] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def add(self, first: int, bodies: Any) -> None:
        """Objects of consecutive numbers."""
        if len(bodies):
            self.runs.append(Run(first, len(bodies)))
            self.bodies.append(bodies if isinstance(bodies, pa.Array) else pa.array(bodies, pa.binary()))

    def write(self, file: ObjectFile) -> bytes:
        """The stream."""
        return file.add_object_stream(self.runs, pa.concat_arrays(self.bodies))


class Structure:
    """The structure tree of one document.

    Args:
        file: of the objects.
        bands: of the table.
        columns: how many the table has.
    """

    def __init__(self, file: ObjectFile, bands: Sequence[Band], columns: int) -> None:
        self._file = file
        self._own = [band.columns[number > 0 :] for number, band in enumerate(bands)]
        self._columns = columns
        self.root, self._document = file.reserve(), file.reserve()
        self._table = file.reserve() if columns else 0
        self._header: list[tuple[int, _Content]] = []
        self._footer: list[tuple[int, _Content]] = []
        self._instead: list[tuple[int, _Content]] = []
        self._texts: list[tuple[int, bytes, _Content]] = []
        self._bodies = array("Q")
        self._parents = array("Q")
        self._pages: list[tuple[int, Tags]] = []
        self._open: _OpenRow | None = None

    def add_page(self, page: int, tags: Tags) -> tuple[int, bytes]:
        """The page's key in the tree of parents (`StructParents`), and the objects that are finished with it."""
        self._parents.append(self._file.reserve_block(1).first)
        self._pages.append((page, tags))
        key = len(self._parents) - 1
        if len(self._pages) < len(self._own):
            return key, b""
        pages, self._pages = self._pages, []
        return key, self._add_rows(pages, key - len(pages) + 1)

    def _add_rows(self, pages: Sequence[tuple[int, Tags]], first_key: int) -> bytes:
        """Elements of the rows on the pages, one for each band, and the elements of each page."""
        objects = _Objects()
        rows, lines = np.unique(pages[0][1].line_rows, return_counts=True)
        kids = self._kids(pages, lines)
        goes_on = self._open is not None and len(rows) > 0 and self._open.row == rows[0]
        cells = np.zeros((0, self._columns), np.int64)
        if self._open is not None and goes_on:
            cells = self._open.cells + np.arange(self._columns)[None, :]
            for own, more in zip(self._open.kids, kids[: self._columns].to_pylist(), strict=True):
                own.append(more)
        if self._open is not None and len(rows) > goes_on:
            self._close_row(objects)
        if len(rows) > goes_on:
            fresh = self._open_rows(objects, rows[int(goes_on) :], kids[int(goes_on) * self._columns :])
            cells = np.concatenate([cells, fresh])
        for number, (page, tags) in enumerate(pages):
            parents = self._page_elements(number, page, tags, np.repeat(cells, lines, axis=0))
            objects.add(self._parents[first_key + number], [b"[%s]" % _references(parents)])
        return objects.write(self._file)

    def _kids(self, pages: Sequence[tuple[int, Tags]], lines: Numbers) -> Any:
        """What the cells consist of, row by row: a marked-content reference for each of their lines (14.7.4)."""
        made, places = [], []
        firsts = np.cumsum(lines) - lines
        for (page, tags), own in zip(pages, self._own, strict=True):
            starts = _first_mcid(tags, own) + firsts[:, None] * len(own) + np.arange(len(own))[None, :]
            counts = np.repeat(lines, len(own))
            offsets = np.concatenate([[0], np.cumsum(counts)])
            within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
            mcids = decimals(np.repeat(starts.ravel(), counts) + within * len(own))
            made.append(joined(concatenated([b"<</Type/MCR/Pg %s/MCID " % reference(page), mcids, b">>"]), offsets))
            places.append((np.arange(len(lines))[:, None] * self._columns + np.array(own, int)[None, :]).ravel())
        return pa.concat_arrays(made).take(pa.array(np.argsort(np.concatenate(places), kind="stable")))

    def _open_rows(self, objects: _Objects, rows: Numbers, kids: Any) -> Numbers:
        """Elements of rows that begin here, all but the last one finished; the numbers of their cells."""
        count, columns = len(rows), self._columns
        body, elements, cells = (self._file.reserve_block(size).first for size in (1, count, count * columns))
        self._bodies.append(body)
        done = count - 1
        element_numbers = elements + np.arange(done)
        numbers = cells + np.arange(count * columns).reshape(-1, columns)
        objects.add(body, [_element(b"TBody", self._table, _references(elements + np.arange(count)))])
        row_kids = joined(_reference_texts(numbers[:-1]), np.arange(done + 1) * columns, b" ")
        objects.add(elements, concatenated([b"<</S/TR/P %s/K[" % reference(body), row_kids, b"]>>"]))
        parents = decimals(np.repeat(element_numbers, columns))
        done_kids = kids[: done * columns]
        objects.add(cells, concatenated([b"<</S/TD/P ", parents, b" 0 R/K[", done_kids, b"]>>"]))
        last = [[each] for each in kids[done * columns :].to_pylist()]
        self._open = _OpenRow(int(rows[-1]), body, elements + done, cells + done * columns, last)
        return numbers

    def _close_row(self, objects: _Objects) -> None:
        row = self._open
        if row is None:
            return
        self._open = None
        numbers = row.cells + np.arange(self._columns)
        objects.add(row.element, [_element(b"TR", row.body, _references(numbers))])
        objects.add(row.cells, [_element(b"TD", row.element, b"".join(kids)) for kids in row.kids])

    def _page_elements(self, number: int, page: int, tags: Tags, line_cells: Numbers) -> Numbers:
        """The element of each piece of marked content of a page, in order (14.7.4.4)."""
        own = self._own[number]
        mcid = 0
        before: list[int] = []
        for tag in tags.heading:
            before.append(self._add_text(tag, _Content(page, mcid)))
            mcid += 1
        if tags.has_header:
            before += [self._add_cell(self._header, _Content(page, mcid + place)) for place in range(len(own))]
        after: list[int] = []
        mcid = _first_mcid(tags, own) + len(line_cells) * len(own)
        if tags.closing == TOTALS:
            after = [self._add_cell(self._footer, _Content(page, mcid + place)) for place in range(len(own))]
        elif tags.closing == NO_ROWS and not number:
            content = _Content(page, mcid)
            after = [self._add_cell(self._instead, content) if own else self._add_text(b"P", content)]
        own_cells = line_cells[:, list(own)].ravel() if len(line_cells) else np.zeros(0, np.int64)
        return np.concatenate([before, own_cells, after]).astype(np.int64)

    def _add_text(self, tag: bytes, content: _Content) -> int:
        number = self._file.reserve()
        self._texts.append((number, tag, content))
        return number

    def _add_cell(self, row: list[tuple[int, _Content]], content: _Content) -> int:
        number = self._file.reserve()
        row.append((number, content))
        return number

    def finish(self) -> Iterator[bytes]:
        """Everything that is not written yet."""
        objects = _Objects()
        self._close_row(objects)
        if objects.runs:
            yield objects.write(self._file)
        add = self._file.add
        for number, tag, content in self._texts:
            yield add(number, _element(tag, self._document, _kid(content)))
        if self._columns:
            yield from self._table_objects()
        kids = [*(number for number, _, _ in self._texts), *([self._table] if self._columns else [])]
        yield add(self._document, _element(b"Document", self.root, _references(np.array(kids))))
        tree = self._file.reserve()
        yield from self._parent_tree(tree)
        entries = (reference(self._document), reference(tree), len(self._parents))
        yield add(self.root, b"<</Type/StructTreeRoot/K %s/ParentTree %s/ParentTreeNextKey %d>>" % entries)

    def _table_objects(self) -> Iterator[bytes]:
        head = self._file.reserve()
        yield from self._row(b"THead", head, b"TH", self._header)
        groups = [head, *self._bodies]
        for tag, cells in ((b"TBody", self._instead), (b"TFoot", self._footer)):
            if cells:
                groups.append(self._file.reserve())
                yield from self._row(tag, groups[-1], b"TD", cells)
        yield self._file.add(self._table, _element(b"Table", self._document, _references(np.array(groups))))

    def _row(self, tag: bytes, group: int, cell: bytes, cells: Sequence[tuple[int, _Content]]) -> Iterator[bytes]:
        """A group of one row, of cells that are objects of their own."""
        row = self._file.reserve()
        numbers = np.array([number for number, _ in cells], np.int64)
        yield self._file.add(group, _element(tag, self._table, reference(row)))
        yield self._file.add(row, _element(b"TR", group, _references(numbers)))
        attributes = b"/A<</O/Table/Scope/Column>>" if cell == b"TH" else b""
        if len(cells) == 1 and self._columns > 1:
            attributes += b"/A<</O/Table/ColSpan %d>>" % self._columns
        for number, content in cells:
            yield self._file.add(number, _element(cell, row, _kid(content), attributes))

    def _parent_tree(self, number: int) -> Iterator[bytes]:
        leaves = []
        for start in range(0, len(self._parents), LEAF_KEYS):
            arrays = self._parents[start : start + LEAF_KEYS]
            leaf = self._file.reserve()
            leaves.append(leaf)
            entries = b" ".join(b"%d %s" % (start + place, reference(each)) for place, each in enumerate(arrays))
            limits = (start, start + len(arrays) - 1)
            yield self._file.add(leaf, b"<</Limits[%d %d]/Nums[%s]>>" % (*limits, entries))
        yield self._file.add(number, b"<</Kids[%s]>>" % _references(np.array(leaves)))


def _first_mcid(tags: Tags, own: Sequence[int]) -> int:
    """Of the first cell of the rows."""
    return len(tags.heading) + (len(own) if tags.has_header else 0)


def _element(tag: bytes, parent: int, kids: bytes, entries: bytes = b"") -> bytes:
    return b"<</S/%s/P %s/K[%s]%s>>" % (tag, reference(parent), kids, entries)


def _kid(content: _Content) -> bytes:
    return b"<</Type/MCR/Pg %s/MCID %d>>" % (reference(content.page), content.mcid)


def _reference_texts(numbers: Numbers) -> Any:
    return concatenated([decimals(numbers.ravel()), b" 0 R"])


def _references(numbers: Numbers) -> bytes:
    """References to objects, one after another."""
    return b" ".join(_reference_texts(numbers).to_pylist()) if len(numbers) else b""
