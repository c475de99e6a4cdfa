"""Arrow's texts as characters."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import WriterError
from spark_export.writers.pdf.cells import SHOWN_CONTROLS, Cells, one_cell, read_cells

texts = st.text(st.one_of(st.characters(codec="ascii"), st.characters(codec="utf-8")), max_size=6)


def strings(*cells: bytes) -> Any:
    """A StringArray of bytes that nobody checked."""
    offsets = np.cumsum([0, *map(len, cells)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(cells), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(cells))])


def shown(cells: Cells) -> list[str]:
    """All the cells."""
    return [cells.text(row) for row in range(len(cells))]


@given(st.lists(st.one_of(st.none(), texts), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_slices(values: list[str | None], start: int, length: int) -> None:
    """The cells of any slice are its texts, and its missing values what stands for them."""
    read = read_cells(pa.array(values, pa.string()).slice(start, length), "ş-", 100)
    assert shown(read) == ["ş-" if value is None else value for value in values[start : start + length]]


@given(st.lists(texts, min_size=1, max_size=5), st.integers(1, 5))
def test_long_cells_are_bounded(values: list[str], most: int) -> None:
    """A cell of more characters than that ends there in an ellipsis; one of just so many is whole."""
    expected = [value if len(value) <= most else value[:most] + "…" for value in values]
    assert shown(read_cells(pa.array(values, pa.string()), "", most)) == expected


def test_bounds_count_characters() -> None:
    """Neither the bytes nor the other cells of a column count against the bound."""
    assert shown(read_cells(pa.array(["x" * 1000, "şş", "ş" * 5, "ş" * 6]), "", 5)) == [
        "xxxxx…",
        "şş",
        "şşşşş",
        "şşşşş…",
    ]


def test_ascii_is_kept_as_bytes() -> None:
    """A column of ASCII alone is told by its bytes, one with any other character by code points."""
    plain, other = read_cells(pa.array(["ab", "c"]), "", 9), read_cells(pa.array(["ab", "ş"]), "", 9)
    assert (plain.ascii, plain.characters.tolist(), plain.offsets.tolist()) == (b"abc", [97, 98, 99], [0, 2, 3])
    assert (other.ascii, other.characters.tolist(), other.offsets.tolist()) == (None, [97, 98, 351], [0, 2, 3])


def test_missing_values() -> None:
    """A missing value reads as the column says; a slice's offsets are its own."""
    cells = read_cells(pa.array(["ab", None, "cd", "e"]).slice(1, 2), "-", 10)
    assert (cells.ascii, cells.offsets.tolist()) == (b"-cd", [0, 1, 3])


def test_no_cells() -> None:
    """A column without rows has no cells."""
    assert shown(read_cells(pa.array([], pa.string()), "", 9)) == []


@pytest.mark.parametrize("broken", [b"a\xff", b"\xc5", b"\x9f", b"\xed\xa0\x80", b"x" * 50 + b"\xff"])
def test_invalid_utf8(broken: bytes) -> None:
    """A text that is no UTF-8 cannot be written."""
    with pytest.raises(WriterError, match="UTF-8"):
        read_cells(strings(b"a", broken), "", 100)


def test_invalid_utf8_that_the_next_cell_mends() -> None:
    """Two texts that are UTF-8 only together cannot be written."""
    with pytest.raises(WriterError, match="UTF-8"):
        read_cells(strings("ş".encode()[:1], "ş".encode()[1:]), "", 100)


@pytest.mark.parametrize("text", ["", "a", "ş\U0001f600", "a\0b\n"])
def test_one_cell(text: str) -> None:
    """One text is a column of one cell, with a character above U+FFFF as one."""
    cells = one_cell(text)
    assert (shown(cells), cells.offsets.tolist()) == ([text], [0, len(text)])


@pytest.mark.parametrize(("text", "whole"), [("\ud800x", "\ufffdx"), ("x\udc00", "x\ufffd"), ("\ud83d\ude00", "😀")])
def test_lone_surrogates(text: str, whole: str) -> None:
    """A surrogate without its other half shows as U+FFFD."""
    assert one_cell(text).text(0) == whole


def test_shown_controls() -> None:
    """Line breaks and tabs show as spaces, all other controls of ASCII and Latin-1 as U+FFFD, all else as itself."""
    spaces = set("\t\n\v\f\r\x85")
    controls = {chr(point) for point in (*range(0x20), *range(0x7F, 0xA0))}
    for point, shown_point in enumerate(SHOWN_CONTROLS.tolist()):
        character = chr(point)
        expected = " " if character in spaces else "\ufffd" if character in controls else character
        assert chr(shown_point) == expected
    assert len(SHOWN_CONTROLS) == 0xA0 < sys.maxunicode
