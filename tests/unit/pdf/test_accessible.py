"""The tagged document (ISO 32000-1 14.7, ISO 14289-1), as pikepdf and poppler read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pikepdf
import pyarrow as pa
import pytest

from spark_export.writers.pdf import Imprint

from .conftest import MADE_AT, letters, opened

if TYPE_CHECKING:
    from .conftest import Press

CONTENT = tuple[int, int]
"""A page's place in the document and an MCID on it."""


def grid(rows: int, columns: int) -> Any:
    """Cells that can be told from each other."""
    return pa.table({f"column-{index}": [f"r{row}c{index}" for row in range(rows)] for index in range(columns)})


def lined(rows: int) -> Any:
    """Rows of some number of lines, of which one is higher than a small page."""
    counts = [60 if row == 7 else 1 + row * 5 % 7 for row in range(rows)]
    return pa.table(
        {
            "id": [f"id{row}" for row in range(rows)],
            "text": ["\n".join(f"r{row}w{line}" for line in range(count)) for row, count in enumerate(counts)],
        }
    )


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (grid(100, 3), {}),
    "one cell": (grid(1, 1), {}),
    "full page": (grid(58, 2), {}),
    "full page and totals": (pa.table({"a": ["x"] * 58, "n": [1] * 58}), {"totals": ["n"]}),
    "totals": (pa.table({"a": ["x"] * 70, "n": [1] * 70}), {"totals": ["n"], "subtitle": "below"}),
    "bands": (grid(90, 60), {"page_size": "A4"}),
    "bands and totals": (
        pa.table({"a": ["x"] * 40} | {f"n{index}": [index] * 40 for index in range(70)}),
        {"totals": ["n0", "n69"], "page_size": "A4"},
    ),
    "rows over pages": (lined(20), {"overflow": "wrap", "page_size": "100x100mm"}),
    "rows over pages, bands and totals": (
        pa.table({"n": [1] * 20} | {f"text {index}": lined(20)["text"] for index in range(9)}),
        {"overflow": "wrap", "page_size": "120x100mm", "totals": ["n"]},
    ),
    "many pages": (grid(4100, 2), {}),
    "missing values": (pa.table({"a": ["x", None, ""], "b": [None, 1, None]}), {}),
    "no title": (grid(3, 2), {"imprint": Imprint()}),
}


FEW: dict[str, tuple[Any, dict[str, Any]]] = {
    "pages": (grid(20, 3), {"page_size": "80x80mm"}),
    "bands": (grid(20, 7), {"page_size": "80x80mm"}),
    "totals": (pa.table({"a": ["x"] * 9, "n": [1] * 9, "m": [2] * 9}), {"totals": ["m"], "page_size": "80x80mm"}),
    "rows over pages": (lined(9), {"overflow": "wrap", "page_size": "100x100mm"}),
    "rows over pages and bands": (
        pa.table({"n": [1] * 8} | {f"text {index}": lined(8)["text"] for index in range(3)}),
        {"overflow": "wrap", "page_size": "70x100mm", "totals": ["n"]},
    ),
    "scripts": (pa.table({"a": ["ığüş", "漢", "Жλ", "e\u0301"], "b": ["(x)", "", None, "y\\"]}), {}),
    "missing values": CASES["missing values"],
}
"""Tables small enough for poppler, which takes a second for each thousand of cells and pages."""


class Tree:
    """The structure of a document.

    Attributes:
        kids: of the element Document, by their tags.
        groups: the rows of each group of the table: its tag, and for each row its cells.
    """

    def __init__(self, document: pikepdf.Pdf) -> None:
        self._pages = {page.obj.objgen: place for place, page in enumerate(document.pages)}
        self.document = document
        self.root = document.Root.StructTreeRoot
        self.top = self.root.K if isinstance(self.root.K, pikepdf.Dictionary) else self.root.K[0]
        elements = list(self.top.K)
        self.kids = [str(each.S) for each in elements]
        self.table = elements[-1]
        self.groups = [(str(group.S), [list(row.K) for row in group.K]) for group in self.table.K]

    def rows(self, tag: str) -> list[list[pikepdf.Object]]:
        """The cells of all rows of such groups."""
        return [row for group, rows in self.groups if group == tag for row in rows]

    def contents(self, element: pikepdf.Object) -> list[CONTENT]:
        """The marked content of an element that is a leaf."""
        return [(self._pages[kid.Pg.objgen], int(kid.MCID)) for kid in element.K]

    def leaves(self) -> Iterator[pikepdf.Object]:
        """All elements that have marked content."""
        yield from list(self.top.K)[:-1]
        for _, rows in self.groups:
            for row in rows:
                yield from row


def parents(document: pikepdf.Pdf) -> dict[CONTENT, tuple[int, int]]:
    """The element of each marked content, as the tree of parents has it."""
    arrays = dict(numbers(document.Root.StructTreeRoot.ParentTree))
    return {
        (place, mcid): element.objgen
        for place, page in enumerate(document.pages)
        for mcid, element in enumerate(arrays[int(page.obj.StructParents)])
    }


def numbers(node: pikepdf.Object) -> Iterator[tuple[int, pikepdf.Object]]:
    """The entries of a number tree, within the limits that it states."""
    for kid in node.get("/Kids", []):
        yield from numbers(kid)
    entries = list(node.get("/Nums", []))
    for key, value in zip(entries[::2], entries[1::2], strict=True):
        assert int(node.Limits[0]) <= int(key) <= int(node.Limits[1])
        yield int(key), value


def marks(document: pikepdf.Pdf) -> dict[CONTENT, str]:
    """The tag of each marked content on the pages; nothing else is shown outside of artifacts."""
    found: dict[CONTENT, str] = {}
    for place, page in enumerate(document.pages):
        open_marks = 0
        for each in pikepdf.parse_content_stream(page):
            operands: Any = each.operands
            operator = str(each.operator)
            if operator == "BDC":
                key = (place, int(operands[1].MCID))
                assert key not in found
                found[key] = str(operands[0])
            assert not (operator in ("BDC", "BMC") and open_marks)
            open_marks += {"BDC": 1, "BMC": 1, "EMC": -1}.get(operator, 0)
            assert open_marks or operator not in ("TJ", "Do", "f", "sh", "S")
        assert open_marks == 0
    return found


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest, press: Press) -> tuple[Any, dict[str, Any], bytes]:
    """One document after the other."""
    table, options = CASES[request.param]
    return table, options, press.make(table, accessible=True, **options)


def test_rows_and_cells(press: Press, case: tuple[Any, dict[str, Any], bytes]) -> None:
    """A TR for each row and a TD for each cell, a TH for each column, and a row of totals where asked for."""
    table, options, pdf = case
    press.check(pdf)
    with opened(pdf) as document:
        tree = Tree(document)
        assert [len(row) for row in tree.rows("/THead")] == [table.num_columns]
        assert [len(row) for row in tree.rows("/TBody")] == [table.num_columns] * table.num_rows
        assert [len(row) for row in tree.rows("/TFoot")] == [table.num_columns] * bool(options.get("totals"))
        for cell in tree.rows("/THead")[0]:
            assert (str(cell.S), str(cell.A.O), str(cell.A.Scope)) == ("/TH", "/Table", "/Column")
        assert {str(cell.S) for tag in ("/TBody", "/TFoot") for row in tree.rows(tag) for cell in row} == {"/TD"}
        assert [tag for tag, _ in tree.groups] == sorted(
            (tag for tag, _ in tree.groups), key=["/THead", "/TBody", "/TFoot"].index
        )


def test_parents_and_kids_agree(case: tuple[Any, dict[str, Any], bytes]) -> None:
    """Each marked content on a page has one element, which has it among its kids, and elements have no other."""
    with opened(case[2]) as document:
        tree = Tree(document)
        found = {
            content: (element.objgen, str(element.S)) for element in tree.leaves() for content in tree.contents(element)
        }
        assert sum(len(element.K) for element in tree.leaves()) == len(found)
        assert parents(document) == {content: number for content, (number, _) in found.items()}
        assert marks(document) == {content: tag for content, (_, tag) in found.items()}
        assert int(tree.root.ParentTreeNextKey) > max(int(page.obj.StructParents) for page in document.pages)


def test_every_element_knows_its_parent(case: tuple[Any, dict[str, Any], bytes]) -> None:
    """P of each element is the element that has it among its kids, up to the root."""
    with opened(case[2]) as document:
        tree = Tree(document)
        assert tree.top.P.objgen == tree.root.objgen
        assert str(tree.top.S) == "/Document"
        level = [tree.top]
        while level:
            kids = [(each, kid) for each in level for kid in each.K if "/S" in kid]
            assert all(kid.P.objgen == each.objgen for each, kid in kids)
            level = [kid for _, kid in kids]


@pytest.mark.parametrize("name", FEW)
def test_texts_are_in_their_cells(press: Press, name: str) -> None:
    """Poppler reads the table from the structure cell by cell, as it was given."""
    table, options = FEW[name]
    pdf = press.make(table, accessible=True, **options)
    totals = options.get("totals", [])
    rows = read_structure(press.run("pdfinfo", "-struct-text", press.check(pdf)))
    expected = [table.column_names]
    expected += [["" if cell is None else letters(str(cell)) for cell in row.values()] for row in table.to_pylist()]
    if totals:
        sums = [str(sum(table[name].to_pylist())) if name in totals else "" for name in table.column_names]
        expected.append([sums[0] or "Total", *sums[1:]])
    assert [[letters(cell) for cell in row] for row in rows] == [[letters(cell) for cell in row] for row in expected]


def read_structure(text: str) -> list[list[str]]:
    """The cells of poppler's listing, row by row; the lines of a cell one after another."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped == "TR":
            rows.append([])
        elif re.match(r"T[HD]\b", stripped):
            rows[-1].append("")
        elif stripped.startswith('"') and rows:
            rows[-1][-1] += stripped[1:-1]
    return rows


def test_a_body_for_the_rows_of_each_page(press: Press) -> None:
    """Rows are in groups of those that begin on one page."""
    with opened(press.make(grid(150, 2), accessible=True)) as document:
        assert [len(rows) for tag, rows in Tree(document).groups if tag == "/TBody"] == [58, 61, 31]


def test_a_row_goes_on_over_pages(press: Press) -> None:
    """A cell over several pages is one element with content on each of them."""
    table, options = CASES["rows over pages"]
    with opened(press.make(table, accessible=True, **options)) as document:
        tree = Tree(document)
        pages = [sorted({page for page, _ in tree.contents(row[1])}) for row in tree.rows("/TBody")]
    assert len(pages[7]) >= 4
    assert all(each == list(range(each[0], each[-1] + 1)) for each in pages)
    assert [len(each) for row, each in enumerate(pages) if row != 7] == [1] * 19


def test_no_rows(press: Press) -> None:
    """A table of no rows has its header, and a cell over all columns that says so."""
    with opened(press.make(grid(0, 3), accessible=True)) as document:
        tree = Tree(document)
        assert len(tree.rows("/THead")[0]) == 3
        ((cell,),) = tree.rows("/TBody")
        assert int(cell.A.ColSpan) == 3
        assert set(marks(document)) == set(parents(document))


def test_no_columns(press: Press) -> None:
    """Without columns there is no table, whose rows would differ in width, but a paragraph that says so."""
    pdf = press.make(pa.table({}), accessible=True)
    with opened(pdf) as document:
        assert [str(each.S) for each in document.Root.StructTreeRoot.K.K] == ["/H1", "/P", "/P"]
        assert set(marks(document)) == set(parents(document))
    assert "No rows" in press.run("pdfinfo", "-struct-text", press.check(pdf))


def test_heading(press: Press) -> None:
    """The title is a heading, what is below it are paragraphs, in the order in which they are read."""
    imprint = Imprint(MADE_AT, "Trades", "price > 40")
    pdf = press.make(grid(3, 2), accessible=True, subtitle="of today", imprint=imprint)
    with opened(pdf) as document:
        assert Tree(document).kids == ["/H1", "/P", "/P", "/P", "/Table"]
    text = press.run("pdfinfo", "-struct-text", press.check(pdf)).partition("Table")[0]
    assert re.findall('"(.+)"', text)[:2] == ["Trades", "of today"]
    assert set(re.findall('"(.+)"', text)[2:]) == {"price > 40", "2026-01-05 14:03 UTC"}


def test_the_document_says_that_it_is_tagged(press: Press) -> None:
    """MarkInfo, language and title are there; without `accessible` there is no structure."""
    with opened(press.make(grid(3, 2), accessible=True, language="tr")) as document:
        assert bool(document.Root.MarkInfo.Marked)
        assert str(document.Root.Lang) == "tr"
        assert bool(document.Root.ViewerPreferences.DisplayDocTitle)
        assert str(document.docinfo.Title) == "Trades"
    with opened(press.make(grid(3, 2))) as document:
        assert not {"/MarkInfo", "/StructTreeRoot"} & set(document.Root.keys())
        assert "/StructParents" not in document.pages[0].obj


@pytest.mark.parametrize("name", CASES)
def test_tags_do_not_change_the_pages(press: Press, name: str) -> None:
    """A tagged document shows what an untagged one does."""
    table, options = CASES[name]
    assert press.pages(press.make(table, accessible=True, **options)) == press.pages(press.make(table, **options))
