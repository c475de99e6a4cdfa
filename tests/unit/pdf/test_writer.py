"""Whole files of plain rows, as other readers see them."""

from __future__ import annotations

import re
import subprocess
from datetime import date
from typing import TYPE_CHECKING, Any

import pikepdf
import pyarrow as pa
import pytest

from spark_export.errors import InvalidField, WriterError
from spark_export.model import PdfOptions
from spark_export.text import Encoder
from spark_export.writers.pdf import PdfWriter

from .conftest import IMPRINT, opened, pdfium_text, words

if TYPE_CHECKING:
    from .conftest import Press

ROWS_A_PAGE = {"landscape": (37, 41), "portrait": (58, 61)}
"""Of A4 with a title, on its first page and the others: rows of 12 points between the title, header and footer."""


def numbered(rows: int) -> Any:
    """Rows that can be told from each other."""
    return pa.table({"id": pa.array(range(rows), pa.int64()), "note": [f"row-{row}-" for row in range(rows)]})


def split(rows: list[int], first: int, others: int) -> list[list[int]]:
    """The rows of each page."""
    rest = rows[first:]
    return [rows[:first], *(rest[start : start + others] for start in range(0, len(rest), others))]


@pytest.mark.parametrize(
    ("orientation", "rows"),
    [
        *(("landscape", rows) for rows in (0, 1, 36, 37, 38, 39, 40, 41, 77, 78, 79, 80, 119, 120, 8191, 8192, 8193)),
        *(("portrait", rows) for rows in (57, 58, 59, 119, 120)),
    ],
)
def test_page_borders(press: Press, orientation: str, rows: int) -> None:
    """Every row is on a page once, in order, every page is full but the last, and says which of how many it is."""
    pages = press.pages(press.make(numbered(rows), orientation=orientation))
    found = [
        [int(number) for number, again in re.findall(r"(?m)^ *(\d+) +row-(\d+)-$", page) if number == again]
        for page in pages
    ]
    assert found == split(list(range(rows)), *ROWS_A_PAGE[orientation])
    assert all(re.search(rf"Page {number} of {len(pages)}\s", page) for number, page in enumerate(pages, 1))
    assert all(re.search(r"\bid +note\b", page) for page in pages)


@pytest.mark.parametrize("overflow", ["ellipsis", "wrap"])
def test_no_rows(press: Press, overflow: str) -> None:
    """A table of no rows is a page with its header that says so."""
    (page,) = press.pages(press.make(numbered(0), overflow=overflow))
    assert re.search(r"id +note", page)
    assert "No rows" in page
    assert "Page 1 of 1" in page


@pytest.mark.parametrize("table", [numbered(1), numbered(500)])
def test_rows_are_no_lack_of_rows(press: Press, table: Any) -> None:
    """Where there are rows no page says that there are none."""
    assert "No rows" not in press.text(press.make(table))


def test_no_columns(press: Press) -> None:
    """A table of no columns is a page that says so."""
    assert "No rows" in press.text(press.make(pa.table({})))


def test_first_chunk(press: Press) -> None:
    """The first bytes hold the first batch's pages, and more follow as the rows do."""
    chunks = press.chunks(numbered(20_000), batch_rows=2000)
    assert chunks[0].startswith(b"%PDF-1.7\n")
    assert b"/Type/Page/" in chunks[0]
    assert len(chunks) > 8


@pytest.mark.parametrize("accessible", [False, True])
def test_failure_midway(press: Press, accessible: bool) -> None:
    """What was written before a failure is no PDF to any reader."""
    failure = RuntimeError("the source is gone")
    broken = b"".join(press.chunks(numbered(20_000), failure=failure, accessible=accessible))
    assert len(broken) > 10_000
    path = press.folder / "broken.pdf"
    path.write_bytes(broken)
    assert subprocess.run(["qpdf", "--check", path], capture_output=True).returncode == 2
    with pytest.raises(pikepdf.PdfError):
        pikepdf.open(path)


@pytest.mark.parametrize("rows", [0, 3, 900])
def test_failure_at_once(press: Press, rows: int) -> None:
    """A source that fails among the first rows leaves nothing that could be sent."""
    assert press.chunks(numbered(rows), failure=RuntimeError("gone")) == []


def test_broken_text(press: Press) -> None:
    """A text that is no UTF-8 is an error of the writer, and no file."""
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    with pytest.raises(WriterError, match="UTF-8"):
        press.make(pa.table({"a": broken}))


def test_control_characters(press: Press) -> None:
    """NUL, line breaks and brackets break neither the file nor the row, for poppler and PDFium."""
    pdf = press.make(pa.table({"a": ["x\x00y", "one\r\ntwo\tthree", "(a) \\ ((b", "c]TJ ET"], "b": [*"1234"]}))
    text = press.text(pdf)
    assert re.search(r"x\ufffdy +1", text)
    assert re.search(r"one +two +three +2", text)
    assert re.search(r"\(a\) \\ \(\(b +3", text)
    assert re.search(r"c\]TJ ET +4", text)
    assert {"x\ufffdy", "\\", "((b", "c]TJ"} <= set(words(pdfium_text(pdf)))


def test_every_ascii_character(press: Press) -> None:
    """Every character of ASCII that can be seen reads back, for poppler and PDFium."""
    shown = "".join(map(chr, range(0x21, 0x7F)))
    pdf = press.make(pa.table({"a": [shown]}))
    assert shown in press.text(pdf)
    assert shown in words(pdfium_text(pdf))


def test_long_text(press: Press) -> None:
    """A text wider than the page ends in an ellipsis and leaves its neighbours whole."""
    pdf = press.make(pa.table({"n": [123456789], "t": ["lorem " * 5000], "d": [date(2026, 1, 5)]}))
    assert re.search(r"123456789 +lorem [lorem ]+… +2026-01-05", press.text(pdf))


def test_nothing_is_cut_that_fits(press: Press) -> None:
    """Where the columns have room no cell ends in an ellipsis."""
    table = pa.table({f"c{index}": [f"cell {index} of {row}" for row in range(50)] for index in range(5)})
    text = press.text(press.make(table))
    assert "…" not in text
    assert all(re.search(" +".join(f"cell {index} of {row}" for index in range(5)), text) for row in range(50))


def test_null_text(press: Press) -> None:
    """A missing value shows as nothing, and the row stays in place."""
    table = pa.table({"a": ["x", None, "z"], "b": [1, None, 3]})
    assert re.search(r"x +1\n\s*\n* *z +3", press.text(press.make(table)))


def test_bookmarks(press: Press) -> None:
    """A document of more than ten pages has bookmarks that together name all its rows and lead to their pages."""
    rows = 41 * 40
    with opened(press.make(numbered(rows), orientation="landscape")) as document, document.open_outline() as outline:
        items = [(item.title, page_of(document, item)) for item in outline.root]
        texts = [page.Contents.read_bytes() for page in document.pages]
    assert len(items) > 10
    following = 1
    for title, page in items:
        first, last = (int(each.replace(",", "")) for each in re.findall(r"rows ([\d,]+)–([\d,]+)", title)[0])
        assert first == following
        assert f"row-{first - 1}-".encode() in texts[page]
        following = last + 1
    assert following == rows + 1


def page_of(document: pikepdf.Pdf, item: pikepdf.OutlineItem) -> int:
    """The place of the page that a bookmark leads to."""
    assert isinstance(item.destination, pikepdf.Array)
    return document.pages.index(pikepdf.Page(item.destination[0]))


@pytest.mark.parametrize(("rows", "has"), [(0, False), (37 + 9 * 41, False), (37 + 9 * 41 + 1, True)])
def test_few_pages_have_no_bookmarks(press: Press, rows: int, has: bool) -> None:
    """Ten pages have no bookmarks, eleven do."""
    with opened(press.make(numbered(rows), orientation="landscape")) as document:
        assert ("/Outlines" in document.Root) is has
        assert (len(document.pages) > 10) is has


def test_unknown_total(press: Press) -> None:
    """A total of no numeric column is refused before there is a writer, and its place among the totals is named."""
    with pytest.raises(InvalidField) as caught:
        PdfWriter(
            Encoder(numbered(1).schema),
            PdfOptions(totals=("id", "note")),
            IMPRINT,
            fonts=lambda: press.fonts,
            threads=press.threads,
        )
    assert caught.value.field == "pdf.totals[1]"
