"""A subset font's objects at the end of the file (ISO 32000-1 9.6-9.10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from spark_export.writers.pdf.fonts import FontSubset
from spark_export.writers.pdf.objects import ObjectFile, compress, reals, reference

SYMBOLIC = 4
FORCE_BOLD = 262144
BFCHAR_LIMIT = 100
"""Most lines of one bfchar block (Adobe Technical Note 5014)."""

CMAP_HEAD = b"""/CIDInit/ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def
/CMapName/Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000><FFFF>
endcodespacerange
"""
CMAP_TAIL = b"endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"


def font_objects(file: ObjectFile, number: int, subset: FontSubset) -> Iterator[bytes]:
    """Everything of a document's font, the Type0 font with the number reserved for it."""
    codes, points = subset.used()
    program, glyphs = subset.face.subset(points)
    name = _subset_tag(points) + b"+" + subset.face.name.encode("ascii")
    program_number, descriptor, descendant, glyph_map, unicode_map = (file.reserve() for _ in range(5))
    yield file.add_stream(program_number, compress(program), b"/Length1 %d" % len(program))
    yield file.add(descriptor, _descriptor(subset, name, program_number))
    yield file.add_stream(glyph_map, compress(_glyph_map(codes, glyphs)))
    yield file.add_stream(unicode_map, compress(to_unicode(codes, points)))
    yield file.add(
        descendant,
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/%s"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
        b"/FontDescriptor %s/CIDToGIDMap %s/DW %d/W[%s]>>"
        % (
            name,
            reference(descriptor),
            reference(glyph_map),
            subset.face.notdef_advance,
            widths_array(codes, subset.face.advances[codes].tolist(), subset.face.notdef_advance),
        ),
    )
    yield file.add(
        number,
        b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%s]/ToUnicode %s>>"
        % (name, reference(descendant), reference(unicode_map)),
    )


def _subset_tag(points: Sequence[int]) -> bytes:
    """Six letters that tell this subset from others of the face (9.6.4)."""
    digest = hashlib.blake2b(np.array(points, ">u4").tobytes(), digest_size=6).digest()
    return bytes(ord("A") + byte % 26 for byte in digest)


def _descriptor(subset: FontSubset, name: bytes, program_number: int) -> bytes:
    figures = subset.face.figures
    return (
        b"<</Type/FontDescriptor/FontName/%s/Flags %d/FontBBox[%s]/ItalicAngle %s/Ascent %s/Descent %s"
        b"/CapHeight %s/StemV %s/FontFile2 %s>>"
    ) % (
        name,
        SYMBOLIC | (figures.flags & FORCE_BOLD),
        reals(*figures.bbox),
        *(reals(figure) for figure in (figures.italicAngle, figures.ascent, figures.descent)),
        *(reals(figure) for figure in (figures.capHeight, figures.stemV)),
        reference(program_number),
    )


def _glyph_map(codes: Sequence[int], glyphs: Sequence[int]) -> bytes:
    """Glyph of each code, two bytes each (9.7.4.2); codes that are not in use show .notdef."""
    table = np.zeros(max(codes, default=0) + 1, ">u2")
    table[list(codes)] = glyphs
    return table.tobytes()


def widths_array(codes: Sequence[int], advances: Sequence[int], default: int) -> bytes:
    """The W array (9.7.4.3): runs of codes that follow each other; `default` need not be said."""
    parts: list[bytes] = []
    following = -1
    for code, advance in zip(codes, advances, strict=True):
        if advance == default:
            continue
        parts.append(b" %d" % advance if code == following else b"]%d[%d" % (code, advance))
        following = code + 1
    return b"".join(parts).removeprefix(b"]") + b"]" if parts else b""


def to_unicode(codes: Sequence[int], points: Sequence[int]) -> bytes:
    """The ToUnicode CMap (9.10.3): UTF-16BE of each code, a surrogate pair above U+FFFF."""
    lines = [
        b"<%04X><%s>" % (code, chr(point).encode("utf-16-be").hex().upper().encode("ascii"))
        for code, point in zip(codes, points, strict=True)
    ]
    blocks = []
    for start in range(0, len(lines), BFCHAR_LIMIT):
        block = lines[start : start + BFCHAR_LIMIT]
        blocks.append(b"%d beginbfchar\n%s\nendbfchar\n" % (len(block), b"\n".join(block)))
    return CMAP_HEAD + b"".join(blocks) + CMAP_TAIL
