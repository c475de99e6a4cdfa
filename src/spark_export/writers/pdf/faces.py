"""Font files: characters, advances, figures and subsets, and the order in which fonts are tried.

A face is parsed once (1 ms of HarfBuzz) and shared by all documents.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import uharfbuzz as hb

from spark_export.writers.pdf.shaping import needs_shaping

REGULAR = "NotoSans-Regular.ttf"
BOLD = "NotoSans-Bold.ttf"
BUNDLED_FALLBACKS = (
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansMath-Subset.ttf",
    "NotoSansSymbols2-Subset.ttf",
)

EM = 1000
UNICODE_LIMIT = 0x110000
BOX = 0x25A1
"""What stands for a character that no font has. PDF/A forbids `.notdef` (ISO 19005-2 6.2.11.8), so the bundled faces
have a copy of theirs here."""

LACKING, COMPLEX = 254, 255
"""Classes of characters that no font of a chain has, and of those that must be shaped."""

CLASS_SHIFT, ADVANCE_MASK = 16, 0xFFFF

INVISIBLE = (0xAD, 0x200B, *range(0x2060, 0x2070), 0xFEFF)
"""Default-ignorable characters: the shaper makes nothing of them, where a table would make boxes."""

SYMBOLIC, FORCE_BOLD = 4, 1 << 18
BOLD_WEIGHT = 600
EMBEDDING_RESTRICTED = 2
"""Of OS/2.fsType: the font must not be embedded."""

DROPPED_TABLES = ("GSUB", "GPOS", "GDEF", "name", "OS/2", "gasp", "post", "cmap", "DSIG", "kern", "STAT", "meta")
"""What a CIDFont does not need of its font program (ISO 32000-1 9.9)."""
PROGRAM_LEVEL = 6


@dataclass(frozen=True)
class Figures:
    """What a font descriptor states (ISO 32000-1 9.8), in 1/1000 em."""

    ascent: int
    descent: int
    cap_height: int
    bbox: tuple[int, int, int, int]
    italic_angle: float
    stem_v: int
    flags: int


@dataclass(frozen=True)
class Program:
    """A subset's font program.

    Attributes:
        data: a TrueType file.
        compressed: the same.
        places: the glyph of each of the face's glyphs in it.
    """

    data: bytes
    compressed: bytes
    places: dict[int, int]


class Face:
    """A TrueType or OpenType face. Immutable, shared by all documents.

    Args:
        data: the font file.
        index: of the face in a collection.

    Attributes:
        name: its PostScript name.
        points, glyphs, advances: its characters, ascending; the glyph and the advance in 1/1000 em of each.

    Raises:
        ValueError: it is no font that can be embedded.
    """

    def __init__(self, data: bytes, index: int = 0) -> None:
        self._face = hb.Face(hb.Blob(data), index)
        tables = set(self._face.table_tags)
        self._is_cff = "CFF " in tables
        if not self._face.glyph_count or not {"head", "cmap", "hhea", "hmtx"} <= tables:
            raise ValueError("is no TrueType or OpenType font")
        if "glyf" not in tables and not self._is_cff:
            raise ValueError("has no outlines that a PDF can hold (glyf or CFF)")
        self._os2 = self._table("OS/2")
        if len(self._os2) >= 10 and struct.unpack_from(">H", self._os2, 8)[0] & 0xF == EMBEDDING_RESTRICTED:
            raise ValueError("may not be embedded, says its licence (OS/2.fsType)")
        self.font = hb.Font(self._face)
        self.name = _postscript_name(self._face)
        points = sorted(self._face.unicodes)
        self.points = np.array(points, np.uint32)
        self.glyphs = np.array([self.font.get_nominal_glyph(point) or 0 for point in points], np.uint32)
        self.advances = np.array([self.advance(int(glyph)) for glyph in self.glyphs], np.uint16)

    def _table(self, tag: str) -> bytes:
        return bytes(self._face.reference_table(tag).data)

    def advance(self, glyph: int) -> int:
        """Of a glyph, in 1/1000 em."""
        return self.scaled(self.font.get_glyph_h_advance(glyph))

    def scaled(self, units: float) -> int:
        """The face's units in 1/1000 em."""
        return round(units * EM / int(self._face.upem))

    def glyph_of(self, point: int) -> int:
        """The glyph of a character that the face has."""
        return int(self.font.get_nominal_glyph(point) or 0)

    @cached_property
    def figures(self) -> Figures:
        """What its descriptor states."""
        extents = self.font.get_font_extents("ltr")
        x_min, y_min, x_max, y_max = struct.unpack_from(">4h", self._table("head"), 36)
        post = self._table("post")
        weight = struct.unpack_from(">H", self._os2, 4)[0] if len(self._os2) >= 6 else 400
        cap_height = self.font.get_metric_position_with_fallback(hb.OTMetricsTag.CAP_HEIGHT)
        return Figures(
            self.scaled(extents.ascender),
            self.scaled(extents.descender),
            self.scaled(cap_height),
            (self.scaled(x_min), self.scaled(y_min), self.scaled(x_max), self.scaled(y_max)),
            struct.unpack_from(">l", post, 4)[0] / 65536 if len(post) >= 8 else 0.0,
            round(50 + (weight / 65) ** 2),
            SYMBOLIC | (FORCE_BOLD if weight >= BOLD_WEIGHT else 0),
        )

    def subset(self, glyphs: Sequence[int]) -> Program:
        """The font program of those glyphs: 0.4 ms, from CFF outlines 0.5 ms a glyph."""
        if self._is_cff:
            return self._converted(glyphs)
        wanted = hb.SubsetInput()
        wanted.sets(hb.SubsetInputSets.GLYPH_INDEX).update(set(glyphs))
        wanted.drop_table_tag_set.update(int.from_bytes(tag.encode().ljust(4), "big") for tag in DROPPED_TABLES)
        flags = hb.SubsetFlags
        wanted.flags = flags.NO_HINTING | flags.NO_LAYOUT_CLOSURE | flags.NOTDEF_OUTLINE
        if self._face.has_var_data:
            wanted.pin_all_axes_to_default(self._face)
        plan = hb.SubsetPlan(self._face, wanted)
        data = bytes(plan.execute().blob.data)
        return _program(data, dict(plan.old_to_new_glyph_mapping))

    def _converted(self, glyphs: Sequence[int]) -> Program:
        """The subset of a CFF face with TrueType outlines.

        MuPDF finds the text of a CFF font's codes only where they are its CIDs, which they cannot be.
        """
        from fontTools.fontBuilder import FontBuilder  # 60 ms, for operators' fonts only

        places = {glyph: place for place, glyph in enumerate(sorted({0, *glyphs}))}
        outlines = {f"glyph{place}": self._outline(glyph) for glyph, place in places.items()}
        names = list(outlines)
        advances = [self.font.get_glyph_h_advance(glyph) for glyph in places]
        builder = FontBuilder(self._face.upem, isTTF=True)
        builder.font.recalcTimestamp = False
        builder.updateHead(created=0, modified=0)
        builder.setupGlyphOrder(names)
        builder.setupGlyf(outlines)
        lefts = [getattr(outline, "xMin", 0) for outline in outlines.values()]
        builder.setupHorizontalMetrics(dict(zip(names, zip(advances, lefts, strict=True), strict=True)))
        extents = self.font.get_font_extents("ltr")
        builder.setupHorizontalHeader(ascent=extents.ascender, descent=extents.descender)
        made = io.BytesIO()
        builder.save(made)
        return _program(made.getvalue(), places)

    def _outline(self, glyph: int) -> Any:
        from fontTools.pens.cu2quPen import Cu2QuPen
        from fontTools.pens.ttGlyphPen import TTGlyphPen

        pen = TTGlyphPen(None)
        # Contours of CFF and TrueType run in opposite directions.
        self.font.draw_glyph_with_pen(glyph, Cu2QuPen(pen, max_err=self._face.upem / EM, reverse_direction=True))
        return pen.glyph()


def _program(data: bytes, places: dict[int, int]) -> Program:
    return Program(data, zlib.compress(data, PROGRAM_LEVEL), places)


def _postscript_name(face: Any) -> str:
    """Name 6, with what a PDF name may hold without escapes."""
    name = face.get_name(6) or face.get_name(4) or "Font"
    return "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "-_+")) or "Font"


class Chain:
    """A main face and those that are tried, in order, for what it lacks. Immutable, shared by all documents.

    Attributes:
        faces: the main one first.
        traits: of each code point: in the upper half its class, the index of the first face that has it, LACKING, or
            COMPLEX; in the lower half its advance in 1/1000 em, where it needs no shaping.
        box: glyph of the main face that stands for what all lack.
    """

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = tuple(faces)
        main = self.faces[0]
        self.box = main.glyph_of(BOX)
        self.box_advance = main.advance(self.box)
        classes = np.full(UNICODE_LIMIT, LACKING, np.uint32)
        advances = np.full(UNICODE_LIMIT, self.box_advance, np.uint32)
        for index in reversed(range(len(self.faces))):
            face = self.faces[index]
            classes[face.points] = index
            advances[face.points] = face.advances
        classes[needs_shaping()] = COMPLEX
        classes[list(INVISIBLE)] = COMPLEX
        self.traits = classes << CLASS_SHIFT | advances

    def advance_of(self, point: int) -> int:
        """Of a character that needs no shaping."""
        return int(self.traits[point]) & ADVANCE_MASK


@dataclass(frozen=True)
class Fonts:
    """The fonts of all documents.

    Attributes:
        regular, bold: chains of faces for cells, and for headers and totals.
    """

    regular: Chain
    bold: Chain


def bundled_face(name: str) -> Face:
    """A face that comes with the package."""
    return Face(resources.files("spark_export.fonts").joinpath(name).read_bytes())


def load_face(path: str) -> Face:
    """An operator's face; `path#1` names the second one of a collection.

    Raises:
        ValueError: there is no such file, or it is no font that can be embedded.
    """
    name, _, index = path.rpartition("#") if path.rpartition("#")[2].isdigit() else (path, "", "0")
    try:
        return Face(Path(name).read_bytes(), int(index))
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def load_fonts(fallbacks: Sequence[Face] = ()) -> Fonts:
    """The bundled fonts, and the operator's after the main one: 40 ms."""
    rest = (*fallbacks, *map(bundled_face, BUNDLED_FALLBACKS))
    return Fonts(Chain((bundled_face(REGULAR), *rest)), Chain((bundled_face(BOLD), *rest)))
