"""A subset font's objects at the end of the file (ISO 32000-1 9.6-9.10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spark_export.writers.pdf.faces import Face, Program
from spark_export.writers.pdf.fonts import LEAD, FontSubset, Use, code_bytes
from spark_export.writers.pdf.objects import ObjectFile, compress_alike, real, reals, reference

BLOCK_LINES = 100
"""Most lines of one block of a CMap (Adobe Technical Note 5014)."""

KEPT_PARTS = 32
"""Documents mostly use the same characters: ASCII makes the same parts each time."""

CODE_SPACE = b"2 begincodespacerange\n<00><%02X>\n<%02X00><FFFF>\nendcodespacerange\n" % (LEAD - 1, LEAD)
"""Codes of one byte and of two."""
SYSTEM_INFO = b"<</Registry(Adobe)/Ordering(%s)/Supplement 0>>"
CMAP_HEAD = b"/CIDInit/ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo %s def\n/CMapName/%s def\n"
CMAP_TAIL = b"endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"

CMAP_NAME = b"Spark-Identity-H"


def code_map_object(file: ObjectFile, number: int) -> bytes:
    """The CMap of all fonts (9.7.5.3): the CID of a code is its number, and CIDToGIDMap leads from there to a glyph."""
    ranges = [b"<00><%02X> 0" % (LEAD - 1), b"<%02X00><FFFF> %d" % (LEAD, LEAD << 8)]
    head = CMAP_HEAD % (SYSTEM_INFO % b"Identity", CMAP_NAME) + b"/CMapType 1 def\n/WMode 0 def\n" + CODE_SPACE
    entries = b"/Type/CMap/CMapName/%s/CIDSystemInfo%s/WMode 0" % (CMAP_NAME, SYSTEM_INFO % b"Identity")
    return file.add_stream(number, compress_alike(head + _blocks(b"cidrange", ranges) + CMAP_TAIL), entries)


@dataclass(frozen=True)
class _Parts:
    """What is made of the uses of a face, compressed where it goes into a stream."""

    program: Program
    tag: bytes
    unicode_map: bytes
    glyph_map: bytes
    widths: bytes


@lru_cache(KEPT_PARTS)
def _parts(face: Face, uses: tuple[tuple[int, Use], ...]) -> _Parts:
    glyphs = [use.glyph for _, use in uses]
    codes = [code for code, _ in uses]
    program = face.subset(glyphs)
    places = [program.places[glyph] for glyph in glyphs]
    return _Parts(
        program,
        _subset_tag(glyphs),
        compress_alike(to_unicode({code: use.text for code, use in uses})),
        compress_alike(_glyph_map(codes, places)),
        widths_array({code: face.advance(use.glyph) for code, use in uses}),
    )


def font_objects(file: ObjectFile, number: int, code_map: int, subset: FontSubset) -> Iterator[bytes]:
    """Everything of a document's font, the Type0 font with the number reserved for it."""
    face = subset.face
    parts = _parts(face, tuple(subset.uses()))
    name = parts.tag + b"+" + face.name.encode("ascii")
    program_number, descriptor, descendant, glyph_map, unicode_map = (file.reserve() for _ in range(5))
    yield file.add_stream(program_number, parts.program.compressed, b"/Length1 %d" % len(parts.program.data))
    yield file.add(descriptor, _descriptor(face, name, program_number))
    yield file.add_stream(glyph_map, parts.glyph_map)
    yield file.add_stream(unicode_map, parts.unicode_map)
    entries = (name, SYSTEM_INFO % b"Identity", reference(descriptor), reference(glyph_map), parts.widths)
    yield file.add(
        descendant,
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo%s/FontDescriptor %s/CIDToGIDMap %s/DW 0/W[%s]>>"
        % entries,
    )
    yield file.add(
        number,
        b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding %s/DescendantFonts[%s]/ToUnicode %s>>"
        % (name, reference(code_map), reference(descendant), reference(unicode_map)),
    )


def _subset_tag(glyphs: Sequence[int]) -> bytes:
    """Six letters that tell this subset from others of the face (9.6.4)."""
    digest = hashlib.blake2b(np.array(glyphs, ">u4").tobytes(), digest_size=6).digest()
    return bytes(ord("A") + byte % 26 for byte in digest)


def _descriptor(face: Face, name: bytes, program_number: int) -> bytes:
    figures = face.figures
    return (
        b"<</Type/FontDescriptor/FontName/%s/Flags %d/FontBBox[%s]/ItalicAngle %s/Ascent %d/Descent %d"
        b"/CapHeight %d/StemV %d/FontFile2 %s>>"
    ) % (
        name,
        figures.flags,
        reals(*figures.bbox),
        real(figures.italic_angle),
        figures.ascent,
        figures.descent,
        figures.cap_height,
        figures.stem_v,
        reference(program_number),
    )


def _glyph_map(codes: Sequence[int], glyphs: Sequence[int]) -> bytes:
    """Glyph of each code, two bytes each (9.7.4.2); codes that are not in use show .notdef."""
    table = np.zeros(max(codes, default=0) + 1, ">u2")
    table[list(codes)] = glyphs
    return table.tobytes()


def widths_array(advances: dict[int, int]) -> bytes:
    """The W array (9.7.4.3) of each CID's advance: runs of CIDs that follow each other."""
    parts: list[bytes] = []
    following = -1
    for cid, advance in sorted(advances.items()):
        parts.append(b" %d" % advance if cid == following else b"]%d[%d" % (cid, advance))
        following = cid + 1
    return b"".join(parts).removeprefix(b"]") + b"]" if parts else b""


def to_unicode(texts: dict[int, str]) -> bytes:
    """The ToUnicode CMap (9.10.3): UTF-16BE of each code's text, surrogate pairs above U+FFFF."""
    lines = [
        b"<%s><%s>" % (_hex(code), text.encode("utf-16-be").hex().upper().encode()) for code, text in texts.items()
    ]
    head = CMAP_HEAD % (SYSTEM_INFO % b"UCS", b"Adobe-Identity-UCS") + b"/CMapType 2 def\n" + CODE_SPACE
    return head + _blocks(b"bfchar", lines) + CMAP_TAIL


def _hex(code: int) -> bytes:
    return code_bytes(code).hex().upper().encode()


def _blocks(kind: bytes, lines: Sequence[bytes]) -> bytes:
    blocks = []
    for start in range(0, len(lines), BLOCK_LINES):
        block = lines[start : start + BLOCK_LINES]
        blocks.append(b"%d begin%s\n%s\nend%s\n" % (len(block), kind, b"\n".join(block), kind))
    return b"".join(blocks)
