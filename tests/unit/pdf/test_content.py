"""Operators, byte by byte."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from spark_export.writers.pdf.content import REGULAR_NAME, Footer, Typeface, fill, rectangle, row_operators, show
from spark_export.writers.pdf.fonts import REGULAR, FontSubset, load_face
from spark_export.writers.pdf.layout import Fitted, Layout, Slot


def fitted(*cells: tuple[bytes, int]) -> Fitted:
    """A column of cells with their widths."""
    return Fitted(pa.array([text for text, _ in cells], pa.binary()), np.array([width for _, width in cells]))


def test_drawing() -> None:
    """Colours, rectangles and texts are one operator each."""
    assert fill((0, 0.5, 1)) == b"0 0.5 1 rg\n"
    assert rectangle(36, 100, 10.5, 0.4) == b"36 100 10.5 0.4 re f\n"
    assert show(b"/R", 8, 36, 24, b"\0A") == b"BT /R 8 Tf 36 24 Td (\0A) Tj ET\n"


def test_rows() -> None:
    """Each row is one line of text in the order of its columns; numbers end at their column's right edge."""
    rows = row_operators(
        [fitted((b"ab", 1000), (b"", 0)), fitted((b"1", 572), (b"12", 1144)), fitted((b"x", 500), (b"y", 500))],
        [
            Slot(500, 4000, right_aligned=False),
            Slot(5000, 2000, right_aligned=True),
            Slot(8000, 900, right_aligned=False),
        ],
    )
    assert rows.to_pylist() == [
        b"T*[-500(ab)-4928(1)-1000(x)]TJ\n",
        b"T*[-500()-5356(12)-1000(y)]TJ\n",
    ]


def test_rows_that_begin_with_a_number() -> None:
    """The first column may be right-aligned too."""
    rows = row_operators([fitted((b"1", 572), (b"12", 1144))], [Slot(500, 2000, right_aligned=True)])
    assert rows.to_pylist() == [b"T*[-1928(1)]TJ\n", b"T*[-1356(12)]TJ\n"]


def test_rows_are_one_buffer() -> None:
    """The rows' operators stand one behind the other, so that a page's are a slice."""
    rows = row_operators([fitted(*[(b"x", 500)] * 3)], [Slot(0, 900, right_aligned=False)])
    assert rows.buffers()[2].to_pybytes() == b"T*[0(x)]TJ\n" * 3


def test_footer() -> None:
    """The page says its number, and shows the form of the total right after it."""
    footer = Footer(Layout(600, 800, 8, 0, (), 0), Typeface(REGULAR_NAME, FontSubset(load_face(REGULAR))))
    codes = "Page 12 of ".encode("utf-16-be")
    assert footer.operators(12) == (
        b"0.47 0.52 0.58 rg\nBT /R 7 Tf 36 24 Td (%s) Tj ET\nq 1 0 0 1 72.526 24 cm /N Do Q\n" % codes
    )
    assert footer.total(40)[1].endswith(b"Td (\x004\x000) Tj ET\n")
