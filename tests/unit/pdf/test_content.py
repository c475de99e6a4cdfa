"""Operators, byte by byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_export.writers.pdf.content import (
    TABLE_OF_MOVES,
    artifact,
    colour_of,
    fill,
    marked,
    rectangle,
    rectangles,
    row_operators,
    show,
)
from spark_export.writers.pdf.layout import Slot
from spark_export.writers.pdf.strings import Typeset


def column(*cells: tuple[bytes, int], right_to_left: list[bool] | None = None) -> Typeset:
    """A column of cells with their widths."""
    reading = None if right_to_left is None else np.array(right_to_left)
    return Typeset(
        pa.array([text for text, _ in cells], pa.binary()), np.array([width for _, width in cells]), None, reading
    )


def left(at: int, width: int) -> Slot:
    """Where a text stands."""
    return Slot(at, width, right_aligned=False)


def right(at: int, width: int) -> Slot:
    """Where a number stands."""
    return Slot(at, width, right_aligned=True)


def written(columns: list[Typeset], slots: list[Slot], begin: Any = b"T*") -> list[bytes]:
    """The operators of each line."""
    lines: list[bytes] = row_operators(columns, slots, begin).to_pylist()
    return lines


def test_drawing() -> None:
    """Colours, rectangles and texts are one operator each."""
    assert fill((0, 0.5, 1)) == b"0 0.5 1 rg\n"
    assert rectangle(36, 100, 10.5, 0.4) == b"36 100 10.5 0.4 re f\n"
    assert show(b"/R", 8, 36, 24, b"\1A") == b"BT /R 8 Tf 36 24 Td[(\1A)]TJ ET\n"


def test_colours() -> None:
    """A colour is three parts of one."""
    assert colour_of("#00ff33") == (0, 1, 0.2)


def test_rectangles() -> None:
    """Rectangles one above the other are filled at once; no rectangles are no operators."""
    assert rectangles(36, np.array([700.0, 676.254]), 100.5, np.array([12.0, 24.0])) == (
        b"36 700 100.5 12 re\n36 676.25 100.5 24 re\nf\n"
    )
    assert rectangles(36, np.array([]), 100, np.array([])) == b""


def test_marked_content() -> None:
    """Content of the structure says its number, other content that it is none; nothing is no artifact."""
    assert marked(b"TD", 7, b"f\n") == b"/TD<</MCID 7>>BDC\nf\nEMC\n"
    assert artifact(b"f\n") == b"/Artifact BMC\nf\nEMC\n"
    assert artifact(b"") == b""


def test_rows() -> None:
    """Each row is one line of text in the order of its columns; numbers end at their column's right edge."""
    columns = [column((b"ab", 1000), (b"", 0)), column((b"1", 572), (b"12", 1144)), column((b"x", 500), (b"y", 500))]
    assert written(columns, [left(500, 4000), right(5000, 2000), left(8000, 900)]) == [
        b"T*[()-500(ab)-4928(1)-1000(x)]TJ\n",
        b"T*[()-500()-5356(12)-1000(y)]TJ\n",
    ]


def test_rows_that_begin_with_a_number() -> None:
    """The first column may be right-aligned too."""
    assert written([column((b"1", 572), (b"12", 1144))], [right(500, 2000)]) == [
        b"T*[()-1928(1)]TJ\n",
        b"T*[()-1356(12)]TJ\n",
    ]


def test_texts_that_read_from_the_right() -> None:
    """A right-to-left text ends at the right edge of its column, others of the column begin at the left one."""
    columns = [column((b"ab", 900), (b"cd", 800), right_to_left=[True, False]), column((b"x", 500), (b"y", 500))]
    assert written(columns, [left(500, 4000), left(5000, 900)]) == [
        b"T*[()-3600(ab)-500(x)]TJ\n",
        b"T*[()-500(cd)-3700(y)]TJ\n",
    ]


def test_moves_to_the_left() -> None:
    """After a text wider than its column the pen goes back."""
    columns = [column((b"W", 1500), (b"i", 100)), column((b"x", 500), (b"y", 500))]
    assert written(columns, [left(0, 300), left(1000, 900)]) == [b"T*[()0(W)500(x)]TJ\n", b"T*[()0(i)-900(y)]TJ\n"]


@pytest.mark.parametrize("far", [TABLE_OF_MOVES - 1, TABLE_OF_MOVES, 10**7])
def test_moves_of_any_length(far: int) -> None:
    """The pen moves as far as it must, beyond what a look-up holds too."""
    columns = [column((b"a", 0), (b"b", 1)), column((b"x", 500), (b"y", 500))]
    assert written(columns, [left(0, 1), left(far, 900)]) == [
        b"T*[()0(a)-%d(x)]TJ\n" % far,
        b"T*[()0(b)-%d(y)]TJ\n" % (far - 1),
    ]


def test_where_each_line_begins() -> None:
    """Lines may begin each in their own way."""
    begins = pa.array([b"T*", b"0 -10 Td"], pa.binary())
    assert written([column((b"a", 500), (b"b", 500))], [left(0, 900)], begins) == [
        b"T*[()0(a)]TJ\n",
        b"0 -10 Td[()0(b)]TJ\n",
    ]


def test_marks() -> None:
    """Each cell of a tagged row is marked content of its own; the pen goes on from cell to cell."""
    columns = [column((b"k", 500), (b"l", 600)), column((b"a", 700), (b"b", 700))]
    mcids = pa.array([b"/TD<</MCID 4>>BDC", b"/TD<</MCID 5>>BDC"], pa.binary())
    lines = row_operators(columns, [left(100, 900), left(2000, 900)], b"T*", [b"/Artifact BMC", mcids])
    assert lines.to_pylist() == [
        b"T*/Artifact BMC[()-100(k)]TJ EMC\n/TD<</MCID 4>>BDC[()-1400(a)]TJ EMC\n",
        b"T*/Artifact BMC[()-100(l)]TJ EMC\n/TD<</MCID 5>>BDC[()-1300(b)]TJ EMC\n",
    ]


def test_rows_are_one_buffer() -> None:
    """The rows' operators stand one behind the other, so that a page's are a slice."""
    lines = row_operators([column(*[(b"x", 500)] * 3)], [left(0, 900)], b"T*")
    offsets = np.frombuffer(lines.buffers()[1], np.int32, 4, lines.offset * 4)
    assert lines.buffers()[2].to_pybytes()[offsets[0] : offsets[3]] == b"T*[()0(x)]TJ\n" * 3


def test_no_rows() -> None:
    """No lines have no operators."""
    assert written([column(), column()], [left(0, 900), right(1000, 900)]) == []
