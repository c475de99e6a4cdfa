r"""Characters to codes and advances: the bundled faces, parsed once, and what one document uses of them.

A document's strings hold two-byte codes of our own (Identity-H, ISO 32000-1 9.7.5.2). No code holds a byte that means
something in a literal string (`(`, `)`, `\`, CR, LF), so that operands need no escaping. Characters of the face have
the same code in every document; characters that it lacks get one as they first appear, row by row, so that each copies
out as itself although all show as the `.notdef` box. Tab, line breaks and the like show as a space; other control
characters as U+FFFD.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.cells import ELLIPSIS, Cells, one_cell

REGULAR = "NotoSans-Regular.ttf"
BOLD = "NotoSans-Bold.ttf"

FORBIDDEN_BYTES = b"()\\\r\n"
CODE_LIMIT = 0x10000
UNICODE_LIMIT = 0x110000
REPLACEMENT = 0xFFFD

SPACES = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029)
CONTROLS = tuple(point for point in (*range(0x20), *range(0x7F, 0xA0)) if point not in SPACES)
ASCII_CODES = {**{point: point for point in range(0x20, 0x7F)}, ord("("): 1, ord(")"): 2, ord("\\"): 3, REPLACEMENT: 4}
"""High byte 0: ASCII text becomes codes by `bytes.translate`, at 0.6 ns a character."""


def _higher_codes() -> npt.NDArray[np.uint16]:
    allowed = np.array([byte for byte in range(256) if byte not in FORBIDDEN_BYTES], np.uint16)
    return (allowed[1:, None] * 256 + allowed[None, :]).ravel().astype(np.uint16)


@dataclass(frozen=True)
class Shaped:
    """Cells as codes of a font.

    Attributes:
        codes: two bytes a character, high byte first.
        advances: of each character, in 1/1000 em.
        offsets: where each cell begins, in characters; one more for the end.
        lacking: how many of the characters the face lacks.
    """

    codes: npt.NDArray[np.uint16]
    advances: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    lacking: int

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """Of each cell, in 1/1000 em."""
        padded = np.append(self.advances, np.uint16(0))
        widths = np.add.reduceat(padded, self.offsets[:-1], dtype=np.int64) if len(self.offsets) > 1 else np.zeros(0)
        widths[self.offsets[1:] == self.offsets[:-1]] = 0  # reduceat gives an empty range its first element
        return widths.astype(np.int64)


class Face:
    """A TrueType face: its characters' codes and advances, figures and subsets. Immutable, shared by all documents.

    Args:
        name: of a file in `spark_export.fonts`.
    """

    def __init__(self, name: str) -> None:
        # Half of the process's idle memory would be reportlab's: it is loaded with the first PDF.
        from reportlab.pdfbase.ttfonts import TTFontFace

        self._lock = threading.Lock()
        self._parsed = TTFontFace(io.BytesIO(resources.files("spark_export.fonts").joinpath(name).read_bytes()))
        self.name: str = self._parsed.name.decode("ascii")
        glyphs: dict[int, int] = self._parsed.charToGlyph
        known = sorted(point for point, glyph in glyphs.items() if glyph and point not in SPACES + CONTROLS)
        higher = _higher_codes()
        others = [point for point in known if point not in ASCII_CODES]
        code_of = {point: ASCII_CODES[point] for point in known if point in ASCII_CODES}
        code_of |= dict(zip(others, map(int, higher), strict=False))
        self.spare_codes = higher[len(others) :]
        self.notdef_advance = round(self._parsed.defaultWidth)
        self.points = np.full(CODE_LIMIT, REPLACEMENT, np.uint32)
        self.advances = np.full(CODE_LIMIT, self.notdef_advance, np.uint16)
        for point, code in code_of.items():
            self.points[code] = point
            self.advances[code] = round(self._parsed.charWidths[point])
        code_of |= dict.fromkeys(SPACES, code_of[0x20]) | dict.fromkeys(CONTROLS, code_of[REPLACEMENT])
        self.known = np.array(list(code_of), np.uint32)
        self.known_codes = np.array(list(code_of.values()), np.uint16)
        self.ascii_codes = bytes(code_of[point] if point < 0x80 else 0 for point in range(256))
        self.ascii_advances = self.advances[np.frombuffer(self.ascii_codes, np.uint8)]

    @property
    def figures(self) -> Any:
        """What a font descriptor needs: ascent, descent, capHeight, bbox, italicAngle, stemV."""
        return self._parsed

    def subset(self, points: Sequence[int]) -> tuple[bytes, list[int]]:
        """A TrueType file of those characters, and the glyph of each in it."""
        with self._lock:  # the parser has one reading position
            program = self._parsed.makeSubset(list(points))
        places: dict[int, int] = {0: 0}
        glyphs = self._parsed.charToGlyph
        return program, [places.setdefault(glyphs.get(point, 0), len(places)) for point in points]


_faces: dict[str, Face] = {}
_faces_lock = threading.Lock()


def load_face(name: str) -> Face:
    """The bundled face of that file name, parsed when it is first asked for: 10 ms, and reportlab's import."""
    with _faces_lock:
        if name not in _faces:
            _faces[name] = Face(name)
        return _faces[name]


class FontSubset:
    """What one document uses of a face. Belongs to one export's kernels, which run one at a time."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self._codes = np.zeros(UNICODE_LIMIT, np.uint16)  # 2 MB that only exist where they are written to
        self._codes[face.known] = face.known_codes
        self._points = face.points.copy()
        self._spare = iter(face.spare_codes)
        self._used = np.zeros(CODE_LIMIT, bool)
        self._used_ascii = b""

    def shape(self, columns: Sequence[Cells]) -> list[Shaped]:
        """Codes and advances of the columns of one batch; batches come in the order of the rows."""
        self._learn(columns)
        return [self._shape(cells) for cells in columns]

    def shape_text(self, text: str) -> Shaped:
        """Codes and advances of one text."""
        return self.shape([one_cell(text)])[0]

    @property
    def ellipsis(self) -> tuple[int, int]:
        """Code and advance of `…`."""
        code = int(self._codes[ord(ELLIPSIS)])
        self._used[code] = True
        return code, int(self.face.advances[code])

    def used(self) -> tuple[list[int], list[int]]:
        """The codes in the document so far, in their order, and the code point of each."""
        self._used[np.frombuffer(self._used_ascii, np.uint8)] = True
        codes = np.flatnonzero(self._used)
        return codes.tolist(), self._points[codes].tolist()

    def _learn(self, columns: Sequence[Cells]) -> None:
        """Give codes to characters that the face lacks, in the order in which a reader of the rows meets them."""
        met: list[tuple[int, int, int, int]] = []
        for column, cells in enumerate(columns):
            if cells.points is None:
                continue
            lacking = np.flatnonzero(self._codes[cells.points] == 0)
            points, first = np.unique(cells.points[lacking], return_index=True)
            at = lacking[first]
            rows = np.searchsorted(cells.offsets, at, side="right") - 1
            met.extend(zip(rows.tolist(), [column] * len(at), at.tolist(), points.tolist(), strict=True))
        for *_, point in sorted(met):
            if self._codes[point] == 0:
                # 60,000 different lacking characters in, the rest share code 0, which copies out as U+FFFD.
                self._codes[point] = code = next(self._spare, 0)
                self._points[code] = point if code else REPLACEMENT

    def _shape(self, cells: Cells) -> Shaped:
        if cells.ascii is not None:
            return self._shape_ascii(cells.ascii, cells.offsets)
        codes = self._codes[cells.points]
        self._used[codes] = True
        spare = self.face.spare_codes
        lacking = np.count_nonzero(codes >= spare[0]) + np.count_nonzero(codes == 0)
        return Shaped(codes.byteswap(), self.face.advances[codes], cells.offsets, int(lacking))

    def _shape_ascii(self, text: bytes, offsets: npt.NDArray[np.int64]) -> Shaped:
        face = self.face
        low = text.translate(face.ascii_codes)
        if fresh := low.translate(None, self._used_ascii):
            self._used_ascii += bytes(set(fresh))
        codes = np.frombuffer(low, np.uint8).astype(">u2").view(np.uint16)
        return Shaped(codes, face.ascii_advances.take(np.frombuffer(text, np.uint8)), offsets, 0)
