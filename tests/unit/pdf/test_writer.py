"""Whole files, as other readers see them."""

from __future__ import annotations

import io
import re
import subprocess
from datetime import date
from typing import TYPE_CHECKING

import pikepdf
import pyarrow as pa
import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from .conftest import Press

FIRST_PAGE_ROWS, PAGE_ROWS = 38, 41
"""Of A4 on its side, with a title."""


def numbered(rows: int) -> pa.Table:
    """Rows that can be told from each other."""
    return pa.table({"id": pa.array(range(rows), pa.int64()), "note": [f"row-{row}-" for row in range(rows)]})


def expected_pages(rows: int) -> int:
    """How many pages hold the rows."""
    return 1 + max(0, -(-(rows - FIRST_PAGE_ROWS) // PAGE_ROWS))


@pytest.mark.parametrize("rows", [0, 1, 37, 38, 39, 40, 41, 78, 79, 80, 8191, 8192, 8193])
def test_page_borders(press: Press, rows: int) -> None:
    """Every row is on a page once, in order, and every page is full but the last."""
    pdf = press.make(numbered(rows), orientation="landscape")
    text = press.text(pdf)
    assert re.findall(r"(?m)^ *(\d+) +row-(\d+)-$", text) == [(str(row), str(row)) for row in range(rows)]
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert len(document.pages) == expected_pages(rows)
    pages = text.split("\f")[:-1]
    assert len(pages) == expected_pages(rows)
    assert all(f"Page {number} of {len(pages)}" in page for number, page in enumerate(pages, 1))
    assert all(re.search(r"\bid +note\b", page) for page in pages)


def test_no_rows(press: Press) -> None:
    """A table of no rows is a page with its header that says so."""
    text = press.text(press.make(numbered(0)))
    assert re.search(r"id +note", text)
    assert "No rows" in text
    assert "Page 1 of 1" in text


def test_no_columns(press: Press) -> None:
    """A table of no columns is a page that says so."""
    assert "No rows" in press.text(press.make(pa.table({})))


@pytest.mark.parametrize("batch_rows", [1, 7, 41, 5000])
def test_batches_do_not_show(press: Press, batch_rows: int) -> None:
    """The same rows give the same bytes, whatever the size of the batches."""
    texts = ["ş漢\U0001f600"[row % 3] * (row % 50) for row in range(1500)]
    table = pa.table({"n": range(1500), "漢": texts})
    assert press.make(table, batch_rows=batch_rows) == press.make(table, batch_rows=1500)


def test_first_chunk(press: Press) -> None:
    """The first bytes hold the first batch's pages, and more follow as the rows do."""
    chunks = press.chunks(numbered(20_000), batch_rows=2000)
    assert chunks[0].startswith(b"%PDF-1.7\n")
    assert b"/Type/Page/" in chunks[0]
    assert len(chunks) > 8


def test_failure_midway(press: Press) -> None:
    """What was written before a failure is no PDF to any reader."""
    broken = b"".join(press.chunks(numbered(20_000), failure=RuntimeError("the source is gone")))
    assert len(broken) > 10_000
    path = press.folder / "broken.pdf"
    path.write_bytes(broken)
    assert subprocess.run(["qpdf", "--check", path], capture_output=True).returncode == 2
    with pytest.raises(pikepdf.PdfError):
        pikepdf.open(path)


def test_turkish(press: Press) -> None:
    """Turkish letters read back, in headers, in cells and in the title."""
    letters = "İıŞşĞğÇçÖöÜü"
    pdf = press.make(pa.table({f"başlık {letters}": [f"İstanbul şubesi {letters}"]}), title=f"Öğle {letters}")
    text = press.text(pdf)
    assert f"başlık {letters}" in text
    assert f"İstanbul şubesi {letters}" in text
    assert f"Öğle {letters}" in text
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert str(document.docinfo["/Title"]) == f"Öğle {letters}"


def test_lacking_characters(press: Press) -> None:
    """Characters that the font lacks copy out as themselves, show as a box and are counted."""
    text = press.text(press.make(pa.table({"name": ["漢字 \U0001f600 ok", "日本"]})))
    assert "漢字 \U0001f600 ok" in text
    assert "日本" in text
    assert press.replaced_characters == 5


def test_control_characters(press: Press) -> None:
    """NUL, line breaks and brackets break neither the file nor the row."""
    pdf = press.make(pa.table({"a": ["x\x00y", "one\r\ntwo\tthree", "(a) \\ ((b"], "b": ["1st", "2nd", "3rd"]}))
    text = press.text(pdf)
    assert re.search(r"x\ufffdy +1st", text)
    assert re.search(r"one +two +three +2nd", text)
    assert re.search(r"\(a\) \\ \(\(b +3rd", text)


def test_many_characters(press: Press) -> None:
    """More different characters than fit in one byte read back."""
    letters = [chr(point) for point in (*range(0xC0, 0x17F), *range(0x391, 0x3A0), *range(0x410, 0x450))]
    lines = ["".join(letters[start : start + 25]) for start in range(0, len(letters), 25)]
    text = press.text(press.make(pa.table({"letters": lines})))
    assert len(letters) > 250
    assert [line for line in lines if line not in text] == []


def test_pdfium_reads_the_same(press: Press) -> None:
    """PDFium finds the cells too."""
    document = pypdfium2.PdfDocument(press.make(pa.table({"n": [1.5, None], "t": ["ığüş", "漢"]})))
    page = document[0]
    words = page.get_textpage().get_text_range().split()
    document.close()
    assert {"1.5", "ığüş", "漢", "Page", "Trades"} <= set(words)


def test_long_text(press: Press) -> None:
    """A text wider than the page ends in an ellipsis and leaves its neighbours whole."""
    pdf = press.make(pa.table({"n": [123456789], "t": ["lorem " * 5000], "d": [date(2026, 1, 5)]}))
    assert re.search(r"123456789 +lorem [lorem ]+… +2026-01-05", press.text(pdf))


@pytest.mark.parametrize("count", [40, 200])
def test_many_columns(press: Press, count: int) -> None:
    """Columns that cannot fit still make a sound page."""
    pdf = press.make(pa.table({f"column {index}": [index, None] for index in range(count)}))
    assert "Page 1 of 1" in press.text(pdf)


def test_long_and_empty_headings(press: Press) -> None:
    """A title longer than the page is cut; an empty one takes no room."""
    assert "…" in press.text(press.make(numbered(3), title="word " * 200, subtitle="more " * 300))
    assert "Trades" not in press.text(press.make(numbered(3), title=""))


def test_metadata(press: Press) -> None:
    """The document says when it was made, and has an identifier."""
    with pikepdf.open(io.BytesIO(press.make(numbered(3)))) as document:
        assert str(document.docinfo["/CreationDate"]) == "D:20260105140300+00'00'"
        assert len(bytes(document.trailer["/ID"][0])) == 16
        assert document.pages[0].Contents is not None


def test_null_text(press: Press) -> None:
    """A missing value shows as nothing, and the row stays in place."""
    table = pa.table({"a": ["x", None, "z"], "b": [1, None, 3]})
    assert re.search(r"x +1\n\s*\n* *z +3", press.text(press.make(table)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=20), st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=60))
def test_any_table(press: Press, rows: list[tuple[str, int | None]]) -> None:
    """Any table of any text makes a sound file in which every number is found."""
    table = pa.table(
        {
            "text": pa.array([text.encode("utf-8", "replace").decode() for text, _ in rows], pa.string()),
            "number": pa.array([number for _, number in rows], pa.int64()),
        }
    )
    text = press.text(press.make(table))
    assert [number for _, number in rows if number is not None and str(number) not in text] == []
