"""The structure tree of a tagged table, as a foreign reader finds it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.writers.pdf.layout import Band, Slot
from spark_export.writers.pdf.objects import ObjectFile, reference
from spark_export.writers.pdf.structure import NO_ROWS, TOTALS, Structure, Tags

HEADING = (b"H1", b"P")
SLOT = Slot(0, 1, right_aligned=False)


def bands(*columns: Sequence[int]) -> list[Band]:
    """Bands of those columns."""
    return [Band(tuple(each), (SLOT,) * len(each), 1) for each in columns]


@dataclass(frozen=True)
class Element:
    """An element of the structure: its tag, its marked content as page and number, and its kids."""

    tag: str
    number: int
    contents: tuple[tuple[int, int], ...]
    kids: tuple[Element, ...]
    attributes: dict[str, str] = field(compare=False)

    def tree(self) -> Any:
        """Tags alone."""
        return (self.tag, [kid.tree() for kid in self.kids]) if self.kids else self.tag


@dataclass
class Read:
    """A document's structure.

    Attributes:
        document: the element at the top.
        parents: of each page the element of each piece of its marked content.
        keys: of the pages.
    """

    document: Element
    parents: list[list[int]]
    keys: list[int]

    def rows(self, group: str) -> list[list[tuple[tuple[int, int], ...]]]:
        """The contents of each cell of each row of the groups of that tag."""
        table = self.document.kids[-1]
        return [[cell.contents for cell in row.kids] for each in table.kids if each.tag == group for row in each.kids]

    def all_contents(self) -> dict[tuple[int, int], int]:
        """Which element each piece of marked content is of."""
        found: dict[tuple[int, int], int] = {}

        def walk(element: Element) -> None:
            for content in element.contents:
                assert content not in found
                found[content] = element.number
            for kid in element.kids:
                walk(kid)

        walk(self.document)
        return found


def element_of(object_: Any, parent: Any, places: dict[int, int]) -> Element:
    """Reads an element, whose parent must be the one that it is a kid of."""
    assert object_.P.objgen == parent.objgen
    contents, kids = [], []
    for kid in object_.K.as_list() if isinstance(object_.K, pikepdf.Array) else [object_.K]:
        if kid.get("/Type") == "/MCR":
            contents.append((places[kid.Pg.objgen[0]], int(kid.MCID)))
        else:
            kids.append(element_of(kid, object_, places))
    tag = str(object_.S).removeprefix("/")
    attributes = {name: str(value) for name, value in object_.get("/A", pikepdf.Dictionary()).items()}
    return Element(tag, object_.objgen[0], tuple(contents), tuple(kids), attributes)


def made(each: Sequence[Band], columns: int, sheets: Sequence[Sequence[Tags]]) -> Read:
    """The structure of pages, of which there are as many with the same rows as there are bands."""
    file = ObjectFile()
    parts = [file.start()]
    catalog, info, tree = file.reserve(), file.reserve(), file.reserve()
    structure = Structure(file, each, columns)
    pages, keys = [], []
    for tags in (tags for sheet in sheets for tags in sheet):
        pages.append(file.reserve())
        key, objects = structure.add_page(pages[-1], tags)
        keys.append(key)
        parts.append(objects)
        entries = b"/Parent %s/MediaBox[0 0 9 9]/Resources<<>>/StructParents %d" % (reference(tree), key)
        parts.append(file.add(pages[-1], b"<</Type/Page%s>>" % entries))
    parts += structure.finish()
    kids = b" ".join(map(reference, pages))
    parts.append(file.add(tree, b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(pages), kids)))
    root = reference(structure.root)
    parts.append(file.add(catalog, b"<</Type/Catalog/Pages %s/StructTreeRoot %s>>" % (reference(tree), root)))
    parts.append(file.add(info, b"<<>>"))
    with pikepdf.open(io.BytesIO(b"".join([*parts, *file.finish(catalog, info)]))) as pdf:
        top = pdf.Root.StructTreeRoot
        assert top.ParentTreeNextKey == len(pages)
        numbers = pikepdf.NumberTree(top.ParentTree)
        parents = [[one.objgen[0] for one in numbers[key].as_list()] for key in keys]
        assert len(list(numbers.keys())) == len(pages)
        places = {number: place for place, number in enumerate(pages)}
        document = element_of(top.K, top, places)
        assert pdf.get_warnings() == []
    return Read(document, parents, keys)


def lines(*rows: int) -> Any:
    """The row of each line."""
    return np.array(rows, np.int64)


def test_one_page() -> None:
    """A table on one page has its heading, its header, its rows and its totals, in the order of the page."""
    read = made(bands([0, 1]), 2, [[Tags(HEADING, has_header=True, line_rows=lines(0, 1), closing=TOTALS)]])
    assert read.document.tree() == (
        "Document",
        [
            "H1",
            "P",
            (
                "Table",
                [
                    ("THead", [("TR", ["TH", "TH"])]),
                    ("TBody", [("TR", ["TD", "TD"]), ("TR", ["TD", "TD"])]),
                    ("TFoot", [("TR", ["TD", "TD"])]),
                ],
            ),
        ],
    )
    assert [kid.contents for kid in read.document.kids[:2]] == [((0, 0),), ((0, 1),)]
    assert read.rows("THead") == [[((0, 2),), ((0, 3),)]]
    assert read.rows("TBody") == [[((0, 4),), ((0, 5),)], [((0, 6),), ((0, 7),)]]
    assert read.rows("TFoot") == [[((0, 8),), ((0, 9),)]]


def test_headers_are_of_columns() -> None:
    """Each header cell says that it is that of a column (ISO 14289-1 7.5)."""
    table = made(bands([0, 1]), 2, [[Tags(has_header=True, line_rows=lines(0))]]).document.kids[-1]
    header = table.kids[0].kids[0].kids
    assert [cell.attributes for cell in header] == [{"/O": "/Table", "/Scope": "/Column"}] * 2


def test_no_rows() -> None:
    """In place of rows stands one cell over all columns."""
    sheet = [Tags(HEADING, has_header=True, closing=NO_ROWS), Tags(has_header=True, closing=NO_ROWS)]
    read = made(bands([0, 1], [0, 2]), 3, [sheet])
    assert read.rows("TBody") == [[((0, 4),)]]
    (cell,) = read.document.kids[-1].kids[-1].kids[0].kids
    assert cell.attributes == {"/O": "/Table", "/ColSpan": "3"}
    assert read.rows("THead") == [[((0, 2),), ((0, 3),), ((1, 0),)]]
    assert [len(parents) for parents in read.parents] == [5, 1]


def test_a_row_over_several_pages() -> None:
    """A row that goes on over pages has one TR, whose cells have content on all of them."""
    sheets = [
        [Tags(has_header=True, line_rows=lines(0, 1, 1))],
        [Tags(line_rows=lines(1, 1))],
        [Tags(line_rows=lines(1, 2))],
    ]
    read = made(bands([0, 1]), 2, sheets)
    assert read.rows("TBody") == [
        [((0, 2),), ((0, 3),)],
        [
            ((0, 4), (0, 6), (1, 0), (1, 2), (2, 0)),
            ((0, 5), (0, 7), (1, 1), (1, 3), (2, 1)),
        ],
        [((2, 2),), ((2, 3),)],
    ]


def test_bands() -> None:
    """Cells of several bands are one row; a first column that is repeated is no content of its own."""
    sheet = [
        Tags(HEADING[:1], has_header=True, line_rows=lines(0, 1), closing=TOTALS),
        Tags(has_header=True, line_rows=lines(0, 1), closing=TOTALS),
    ]
    read = made(bands([0, 1], [0, 2]), 3, [sheet])
    assert read.rows("THead") == [[((0, 1),), ((0, 2),), ((1, 0),)]]
    assert read.rows("TBody") == [[((0, 3),), ((0, 4),), ((1, 1),)], [((0, 5),), ((0, 6),), ((1, 2),)]]
    assert read.rows("TFoot") == [[((0, 7),), ((0, 8),), ((1, 3),)]]


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[Band], int, list[list[Tags]], list[int]]:
    """Bands, the number of columns, pages that end anywhere among the lines, and the lines of each row."""
    columns = draw(st.integers(1, 4))
    split = draw(st.integers(1, columns))
    each = bands(range(split), *([[0, *range(split, columns)]] if split < columns else []))
    counts = draw(st.lists(st.integers(1, 3), max_size=8))
    all_lines = np.repeat(np.arange(len(counts)), counts)
    ends = sorted(draw(st.lists(st.integers(1, max(1, len(all_lines))), max_size=4, unique=True)))
    parts = [part for part in np.split(all_lines, ends) if len(part)] or [all_lines]
    closing = draw(st.sampled_from([b"", TOTALS])) if counts else NO_ROWS
    if closing == TOTALS and draw(st.booleans()):
        parts.append(np.zeros(0, np.int64))
    sheets = [
        [
            Tags(
                HEADING if place == band == 0 else (),
                place == 0,
                part.astype(np.int64),
                closing if place == len(parts) - 1 else b"",
            )
            for band in range(len(each))
        ]
        for place, part in enumerate(parts)
    ]
    return each, columns, sheets, counts


@given(documents())
def test_any_document(document: tuple[list[Band], int, list[list[Tags]], list[int]]) -> None:
    """Every piece of marked content is that of the element which the tree of parents says; every row is one TR."""
    each, columns, sheets, counts = document
    read = made(each, columns, sheets)
    assert read.keys == list(range(len(sheets) * len(each)))
    listed = {
        (page, mcid): element for page, parents in enumerate(read.parents) for mcid, element in enumerate(parents)
    }
    assert listed == read.all_contents()
    if not counts:
        return
    rows = read.rows("TBody")
    assert [[len(cell) for cell in row] for row in rows] == [[count] * columns for count in counts]
    for row in rows:
        assert all(list(cell) == sorted(cell) for cell in row)


@pytest.mark.parametrize("pages", [63, 64, 65, 130])
def test_many_pages(pages: int) -> None:
    """The tree of parents finds every page of a long document."""
    read = made(bands([0]), 1, [[Tags(line_rows=lines(page))] for page in range(pages)])
    assert [len(parents) for parents in read.parents] == [1] * pages
    assert read.rows("TBody") == [[((page, 0),)] for page in range(pages)]
