"""Codes, advances, and what a document says of its fonts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import WriterError
from spark_export.writers.pdf.cells import one_cell, read_cells
from spark_export.writers.pdf.embedding import to_unicode, widths_array
from spark_export.writers.pdf.fonts import BOLD, FORBIDDEN_BYTES, REGULAR, FontSubset, load_face


def subset() -> FontSubset:
    """A fresh document's."""
    return FontSubset(load_face(REGULAR))


@given(st.text())
def test_codes_need_no_escaping(text: str) -> None:
    """No code of any text holds a byte that means something in a literal string."""
    assert not set(subset().shape_text(text).codes.tobytes()) & set(FORBIDDEN_BYTES)


def test_no_code_of_a_face_needs_escaping() -> None:
    """No code that a face gives or keeps for others holds such a byte."""
    for name in (REGULAR, BOLD):
        face = load_face(name)
        codes = np.concatenate([face.known_codes, face.spare_codes])
        assert not set(codes.tobytes()) & set(FORBIDDEN_BYTES)


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=50))
def test_codes_read_back(text: str) -> None:
    """What was shaped is what the document's codes stand for."""
    fonts = subset()
    shaped = fonts.shape_text(text)
    back = dict(zip(*fonts.used(), strict=True))
    assert "".join(chr(back[code]) for code in shaped.codes.byteswap().tolist()) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\tb\r\nc\u2028d\x85", "a b  c d "), ("a\x00b\x1b\x7f", "a\ufffdb\ufffd\ufffd"), ("\ud800x", "\ufffdx")],
)
def test_controls(text: str, shown: str) -> None:
    """Line breaks and tabs show as spaces, other control characters and lone surrogates as U+FFFD."""
    fonts = subset()
    assert fonts.shape_text(text).codes.tolist() == fonts.shape_text(shown).codes.tolist()
    assert fonts.shape_text(text + "ş").codes.tolist() == fonts.shape_text(shown + "ş").codes.tolist()


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_widths(texts: list[str]) -> None:
    """A cell is as wide as its characters together, empty cells among them."""
    fonts = subset()
    cells = read_cells(pa.array([text.encode("utf-8", "replace").decode() for text in texts]), "", 100)
    alone = [int(fonts.shape_text(text.encode("utf-8", "replace").decode()).advances.sum()) for text in texts]
    assert fonts.shape([cells])[0].widths.tolist() == alone


def test_advances_are_the_fonts() -> None:
    """Advances are those of Noto Sans, in 1/1000 em; a lacking character has that of the .notdef box."""
    assert subset().shape_text("A1ş…\U0001f600").advances.tolist() == [639, 572, 479, 791, 600]


def test_lacking_characters_are_counted() -> None:
    """Characters without a glyph are counted, each time they appear."""
    assert subset().shape_text("aş\U0001f600漢漢").lacking == 3


def test_codes_do_not_depend_on_batches() -> None:
    """Lacking characters get their codes in the order of the rows, however these are batched."""
    left, right = pa.array(["漢", "日", "本"]), pa.array(["語", "漢", "字"])

    def used(step: int) -> tuple[list[int], list[int]]:
        fonts = subset()
        for start in range(0, 3, step):
            fonts.shape([read_cells(column.slice(start, step), "", 9) for column in (left, right)])
        return fonts.used()

    assert used(1) == used(2) == used(3)
    assert [chr(point) for point in used(3)[1]] == list("漢語日本字")


def test_more_lacking_characters_than_codes() -> None:
    """Where codes run out characters still show, as the box."""
    fonts = subset()
    points = [point for point in range(0x20000, 0x30000) if point % 0x10000 < 0xFFFE]
    shaped = fonts.shape_text("".join(map(chr, points)))
    assert shaped.lacking == len(points)
    assert not set(shaped.codes.tobytes()) & set(FORBIDDEN_BYTES)


def test_missing_values() -> None:
    """A missing value reads as the column says; a slice's offsets are its own."""
    cells = read_cells(pa.array(["ab", None, "cd", "e"]).slice(1, 2), "-", 10)
    assert (cells.ascii, cells.offsets.tolist()) == (b"-cd", [0, 1, 3])


def test_long_cells_are_bounded() -> None:
    """A cell longer than any column is cut before it takes memory, and says so."""
    cells = read_cells(pa.array(["x" * 1000, "şş", "ş" * 6]), "", 5)
    assert cells.points is not None
    assert "".join(map(chr, cells.points)) == "xxxxx…şşşşşşş…"
    assert cells.offsets.tolist() == [0, 6, 8, 14]


def test_invalid_utf8() -> None:
    """A text that is no UTF-8 cannot be written."""
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"]).buffers())
    with pytest.raises(WriterError, match="UTF-8"):
        read_cells(broken, "", 10)


def test_one_cell_keeps_astral_characters() -> None:
    """A character above U+FFFF is one character."""
    assert one_cell("\U0001f600").offsets.tolist() == [0, 1]


def test_subset_is_the_glyphs_in_order() -> None:
    """A subset has .notdef first and then each glyph once; lacking characters are .notdef."""
    program, glyphs = load_face(REGULAR).subset([ord("b"), ord("a"), 0x1F600, ord("b")])
    assert glyphs == [1, 2, 0, 1]
    assert program[:4] == b"\0\1\0\0"


def test_widths_array() -> None:
    """Runs of codes share brackets; what has the default width is left out."""
    assert widths_array([5, 6, 9, 10, 12], [100, 200, 300, 600, 400], 600) == b"5[100 200]9[300]12[400]"
    assert widths_array([], [], 600) == b""


def test_to_unicode() -> None:
    """Codes map to UTF-16BE, above U+FFFF to a surrogate pair, a hundred to a block."""
    cmap = to_unicode([0x41, 0x101], [0x41, 0x1F600])
    assert b"2 beginbfchar\n<0041><0041>\n<0101><D83DDE00>\nendbfchar\n" in cmap
    assert to_unicode(range(250), range(250)).count(b"100 beginbfchar") == 2
