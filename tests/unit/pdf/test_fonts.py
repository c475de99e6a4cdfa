"""Codes: their bytes, their order, and what they copy out as."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spark_export.errors import WriterError
from spark_export.writers.pdf.faces import BOLD, REGULAR, Face, bundled_face
from spark_export.writers.pdf.fonts import (
    BOX_CODE,
    CODES,
    LEAD,
    STATIC_CODES,
    WITHOUT_TEXT,
    FontSubset,
    Use,
    code_bytes,
)

MEANING_BYTES = b"()\\\r\n"
"""Of a literal string (ISO 32000-1 7.3.4.2)."""
ALL_CODES = (*STATIC_CODES.values(), *CODES)


@pytest.fixture(scope="module")
def face() -> Face:
    """The main face."""
    return bundled_face(REGULAR)


@pytest.fixture
def subset(face: Face) -> FontSubset:
    """A fresh document's main font."""
    return FontSubset(face, b"/R", has_static=True)


def glyphs() -> Iterator[int]:
    """Numbers of glyphs without end."""
    return iter(range(10**6, 10**9))


def test_no_code_needs_escaping() -> None:
    """No code that a font can give holds a byte that means something in a literal string."""
    assert not set(b"".join(map(code_bytes, ALL_CODES))) & set(MEANING_BYTES)


def test_codes_are_told_apart_by_their_first_byte() -> None:
    """Codes of one byte are below those bytes that begin a code of two, and no code stands for two things."""
    assert all((code < LEAD) if code < 0x100 else (code >> 8 >= LEAD) for code in ALL_CODES)
    assert len(set(ALL_CODES)) == len(ALL_CODES)


def test_code_bytes() -> None:
    """A code takes one byte below 256, else two, the higher first."""
    assert (code_bytes(0x41), code_bytes(0xC005)) == (b"A", b"\xc0\x05")


def test_printable_ascii_is_its_own_code() -> None:
    """ASCII stands for itself, but for the three characters that a string must escape."""
    kept = {point: code for point, code in STATIC_CODES.items() if point < 0x80 and chr(point) not in "()\\"}
    assert kept == {point: point for point in range(0x20, 0x7F) if chr(point) not in "()\\"}


@pytest.mark.parametrize("name", [REGULAR, BOLD])
def test_static_codes_have_glyphs(name: str) -> None:
    """Both main faces have every character of the codes that all documents share."""
    face = bundled_face(name)
    assert all(face.glyph_of(point) for point in STATIC_CODES)


def test_main_fonts_begin_with_the_static_codes(subset: FontSubset, face: Face) -> None:
    """A main font holds the static codes before any text, and gives them again."""
    assert dict(subset.uses()) == {code: Use(face.glyph_of(point), chr(point)) for point, code in STATIC_CODES.items()}
    assert subset.code(face.glyph_of(ord("(")), "(") == 1
    assert subset.shaped_code(face.glyph_of(ord("A")), "A") == ord("A")


def test_fallback_fonts_begin_empty(face: Face) -> None:
    """A font that stands in for another holds nothing until it is used."""
    assert list(FontSubset(face, b"/F1", has_static=False).uses()) == []


def test_codes_in_order(subset: FontSubset) -> None:
    """Characters take the codes of one byte first, ascending, then those of two; the same one keeps its code."""
    one_byte = [code for code in range(1, 0xC0) if code not in (*b"()\\\r\n", *STATIC_CODES.values())]
    given = [subset.code(glyph, "x") for glyph, _ in zip(glyphs(), range(len(one_byte) + 2), strict=False)]
    assert given == [*one_byte, 0xC000, 0xC001]
    assert subset.code(next(glyphs()), "x") == one_byte[0]


def test_one_glyph_of_two_texts(subset: FontSubset) -> None:
    """A glyph that copies out as two different texts has two codes."""
    first, second = subset.code(7000, "a"), subset.code(7000, "b")
    assert first is not None
    assert second is not None
    assert first != second
    assert [dict(subset.uses())[code] for code in (first, second)] == [Use(7000, "a"), Use(7000, "b")]


def test_shaped_codes_come_from_the_end(subset: FontSubset) -> None:
    """Shaped glyphs take the last codes, so that simple characters have the same whether or not some came before."""
    assert [subset.shaped_code(7000, "a"), subset.shaped_code(7001, "b"), subset.shaped_code(7000, "a")] == [
        0xFFFE,
        0xFFFD,
        0xFFFE,
    ]
    assert subset.code(7000, "a") == CODES[0]


def test_every_code_has_a_text(subset: FontSubset) -> None:
    """The further glyphs of a cluster copy out as an invisible character (ISO 14289-1 7.21.7)."""
    code = subset.shaped_code(7000, "")
    assert code is not None
    assert dict(subset.uses())[code].text == WITHOUT_TEXT


def test_no_code_is_left(subset: FontSubset) -> None:
    """Where all codes are used up further glyphs cannot be shown, save boxes; those that have one keep it."""
    numbers = glyphs()
    for glyph, _ in zip(numbers, range(len(CODES) - 1), strict=False):
        subset.code(glyph, "x")
    subset.shaped_code(next(numbers), "x")
    with pytest.raises(WriterError, match="16,152 different"):
        subset.code(next(numbers), "x")
    with pytest.raises(WriterError, match="16,152 different"):
        subset.shaped_code(next(numbers), "x")
    assert subset.box_code("漢") == subset.shaped_box_code("漢") == BOX_CODE
    assert subset.code(10**6, "x") == CODES[0]
    assert len(dict(subset.uses())) == len(ALL_CODES) + 1


def test_uses_ascend(subset: FontSubset) -> None:
    """Uses are told by ascending codes, as the W array needs them."""
    subset.shaped_code(7000, "a")
    subset.code(7001, "b")
    codes = [code for code, _ in subset.uses()]
    assert codes == sorted(codes)
    assert len(codes) == len(STATIC_CODES) + 2
