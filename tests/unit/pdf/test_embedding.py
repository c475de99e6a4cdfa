"""What a document says of its fonts, byte by byte and as foreign readers find it."""

from __future__ import annotations

import io
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import pikepdf
import pypdfium2
import pytest

from spark_export.writers.pdf.embedding import code_map_object, font_objects, to_unicode, widths_array
from spark_export.writers.pdf.faces import BOLD, REGULAR, Face, bundled_face
from spark_export.writers.pdf.fonts import STATIC_CODES, FontSubset, code_bytes
from spark_export.writers.pdf.objects import ObjectFile, compress

from .test_faces import CFF_FONT


@pytest.fixture(scope="module")
def face() -> Face:
    """The main face."""
    return bundled_face(REGULAR)


def subset_of(face: Face, text: str) -> tuple[FontSubset, list[int]]:
    """A fresh subset of the text's characters, and their codes."""
    subset = FontSubset(face, b"/F1", has_static=False)
    codes = [subset.code(face.glyph_of(ord(each)), each) for each in text]
    return subset, [code for code in codes if code is not None]


def page_of(subset: FontSubset, codes: list[int]) -> bytes:
    """A file with one page that shows the codes at 100 points."""
    file = ObjectFile()
    catalog, info, code_map, font, tree, page, content = (file.reserve() for _ in range(7))
    text = b"BT /F1 100 Tf 10 20 Td(%s)Tj ET" % b"".join(map(code_bytes, codes))
    entries = (tree, content, font)
    parts = [
        file.start(),
        code_map_object(file, code_map),
        *font_objects(file, font, code_map, subset),
        file.add_stream(content, compress(text)),
        file.add(
            page,
            b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 300 100]/Contents %d 0 R/Resources<</Font<</F1 %d 0 R>>>>>>"
            % entries,
        ),
        file.add(tree, b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % page),
        file.add(catalog, b"<</Type/Catalog/Pages %d 0 R>>" % tree),
        file.add(info, b"<<>>"),
    ]
    return b"".join([*parts, *file.finish(catalog, info)])


def embedded(subset: FontSubset) -> pikepdf.Pdf:
    """A file with that font, opened."""
    return pikepdf.open(io.BytesIO(page_of(subset, [])))


def font_of(pdf: pikepdf.Pdf) -> tuple[Any, Any]:
    """The Type0 font of the only page, and its descendant."""
    font = pdf.pages[0].Resources.Font.F1
    return font, font.DescendantFonts[0]


def widths(descendant: Any) -> dict[int, int]:
    """The W array by code."""
    found: dict[int, int] = {}
    entries = list(descendant.W.as_list())
    for first, advances in zip(entries[0::2], entries[1::2], strict=True):
        found.update({int(first) + place: int(advance) for place, advance in enumerate(advances.as_list())})
    return found


@pytest.mark.parametrize(
    ("advances", "written"),
    [
        ({}, b""),
        ({5: 100}, b"5[100]"),
        ({9: 300, 10: 600, 5: 100, 6: 200, 12: 400}, b"5[100 200]9[300 600]12[400]"),
        ({0: 1, 1: 2, 0xC000: 3}, b"0[1 2]49152[3]"),
    ],
)
def test_widths_array(advances: dict[int, int], written: bytes) -> None:
    """Codes ascend, and those that follow each other share brackets."""
    assert widths_array(advances) == written


def test_to_unicode() -> None:
    """Codes of one and of two bytes map to UTF-16BE, to several characters, and above U+FFFF to a surrogate pair."""
    cmap = to_unicode({0x41: "A", 0xC101: "\U0001f600", 0xFFFF: "fi"})
    assert b"3 beginbfchar\n<41><0041>\n<C101><D83DDE00>\n<FFFF><00660069>\nendbfchar\n" in cmap
    assert b"2 begincodespacerange\n<00><BF>\n<C000><FFFF>\nendcodespacerange\n" in cmap


def test_to_unicode_in_blocks() -> None:
    """A block has a hundred lines at most, the last one what is left."""
    cmap = to_unicode(dict.fromkeys(range(0xC000, 0xC000 + 250), "x"))
    assert [line for line in cmap.splitlines() if line.endswith(b"beginbfchar")] == [
        b"100 beginbfchar",
        b"100 beginbfchar",
        b"50 beginbfchar",
    ]


def test_code_map() -> None:
    """The CID of a code is its number, whether it has one byte or two (ISO 32000-1 9.7.5.3)."""
    file = ObjectFile()
    file.start()
    head, _, rest = code_map_object(file, file.reserve()).partition(b"stream\n")
    assert b"/Type/CMap/CMapName/Spark-Identity-H" in head
    text = zlib.decompressobj().decompress(rest)
    assert b"2 begincodespacerange\n<00><BF>\n<C000><FFFF>\nendcodespacerange\n" in text
    assert b"2 begincidrange\n<00><BF> 0\n<C000><FFFF> 49152\nendcidrange\n" in text


def test_every_code_is_its_glyph(face: Face) -> None:
    """Each code of a font, and no other, has the width, the glyph and the text that it stands for."""
    subset = FontSubset(face, b"/R", has_static=True)
    code = subset.shaped_code(face.glyph_of(ord("ş")), "ş") or 0
    uses = dict(subset.uses())
    places = face.subset([use.glyph for use in uses.values()]).places
    with embedded(subset) as pdf:
        font, descendant = font_of(pdf)
        glyphs = np.frombuffer(descendant.CIDToGIDMap.read_bytes(), ">u2")
        assert (font.Subtype, descendant.Subtype, descendant.DW) == ("/Type0", "/CIDFontType2", 0)
        assert widths(descendant) == {code: face.advance(use.glyph) for code, use in uses.items()}
        assert {code: int(glyphs[code]) for code in uses} == {code: places[use.glyph] for code, use in uses.items()}
        assert (len(glyphs), int(np.count_nonzero(glyphs))) == (code + 1, len(uses))
        lines = font.ToUnicode.read_bytes().splitlines()
        assert b"<%X><015F>" % code in lines
        assert sum(line.startswith(b"<") for line in lines) == len(uses) + 2  # and two ranges of the codespace


def test_glyphs_show_and_copy_out(face: Face) -> None:
    """A foreign reader shows as much ink as each letter has, and copies out the text."""
    with pypdfium2.PdfDocument(page_of(*subset_of(face, "lş."))) as pdf:
        dark = pdf[0].render().to_numpy()[:, :, 0] < 128
        assert pdf[0].get_textpage().get_text_range() == "lş."
    lefts = [10, 10 + 26, 10 + 26 + 48, 10 + 26 + 48 + 27]
    heights = [int(dark[:, left:right].any(axis=1).sum()) for left, right in pairwise(lefts)]
    assert heights == pytest.approx([76, 78, 12], abs=4)


@pytest.mark.parametrize(("name", "flags"), [(REGULAR, 4), (BOLD, 4 | 1 << 18)])
def test_descriptor(name: str, flags: int) -> None:
    """The descriptor states the face's figures; the names are one, six letters and the face's own."""
    face = bundled_face(name)
    with embedded(FontSubset(face, b"/R", has_static=True)) as pdf:
        font, descendant = font_of(pdf)
        descriptor = descendant.FontDescriptor
        tag, _, base = str(font.BaseFont).removeprefix("/").partition("+")
        assert (len(tag), tag.isalpha(), tag.isupper(), base) == (6, True, True, face.name)
        assert str(font.BaseFont) == str(descendant.BaseFont) == str(descriptor.FontName)
        assert (descriptor.Flags, descriptor.Ascent, descriptor.Descent) == (flags, 1069, -293)
        assert [int(each) for each in descriptor.FontBBox.as_list()] == list(face.figures.bbox)
        assert (descriptor.CapHeight, descriptor.StemV) == (714, face.figures.stem_v)


def test_tags_tell_subsets_apart(face: Face) -> None:
    """Another set of glyphs has another tag; the same one has the same."""

    def tag(text: str) -> str:
        with embedded(subset_of(face, text)[0]) as pdf:
            return str(font_of(pdf)[0].BaseFont)[1:7]

    assert tag("ab") == tag("ab") != tag("ac")


def test_length_of_the_program(face: Face) -> None:
    """A TrueType program says how long it is (9.9)."""
    with embedded(subset_of(face, "abc")[0]) as pdf:
        program = font_of(pdf)[1].FontDescriptor.FontFile2
        assert int(program.Length1) == len(program.read_bytes())


def test_cff_glyphs_show() -> None:
    """The codes of a CFF face show its glyphs, triangles 40, 30 and 20 points high, and copy out as its texts."""
    with pypdfium2.PdfDocument(page_of(*subset_of(Face(CFF_FONT), "日字漢"))) as pdf:
        dark = pdf[0].render().to_numpy()[:, :, 0] < 128
        assert pdf[0].get_textpage().get_text_range() == "日字漢"
    lefts = [10, 10 + 80, 10 + 80 + 70]
    assert [int(dark[:, x : x + 12].any(axis=1).sum()) for x in lefts] == pytest.approx([40, 30, 20], abs=2)


def test_cff_widths() -> None:
    """The widths of a CFF face's codes are its own."""
    subset, codes = subset_of(Face(CFF_FONT), "日字漢")
    with embedded(subset) as pdf:
        assert widths(font_of(pdf)[1]) == dict(zip(codes, [800, 700, 600], strict=True))


def test_the_same_uses_of_another_document(face: Face) -> None:
    """Two documents with the same uses of a face have the same bytes of it; another text of one code has others."""
    assert page_of(*subset_of(face, "abc")) == page_of(*subset_of(face, "abc"))
    changed = FontSubset(face, b"/F1", has_static=False)
    codes = [changed.code(face.glyph_of(ord(each)), text) or 0 for each, text in zip("abc", "abx", strict=True)]
    assert page_of(changed, codes) != page_of(*subset_of(face, "abc"))


def test_static_codes_are_in_every_main_font(face: Face) -> None:
    """The font of a document of ASCII alone holds the static codes and nothing else."""
    with embedded(FontSubset(face, b"/R", has_static=True)) as pdf:
        assert set(widths(font_of(pdf)[1])) == set(STATIC_CODES.values())
