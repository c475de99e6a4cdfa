"""Sets text: the characters of columns become codes and advances, cut or broken to the width of their column.

Everything is done for a column at a time; only cells with characters that must be shaped go one by one.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_export.writers.pdf.breaking import Ranges, break_lines, fit
from spark_export.writers.pdf.cells import ELLIPSIS, SHOWN_BEYOND, SHOWN_CONTROLS, Cells, one_cell
from spark_export.writers.pdf.charset import Charset, Measured
from spark_export.writers.pdf.faces import EM, LACKING, Fonts
from spark_export.writers.pdf.fonts import ELLIPSIS_CODE, STATIC_CODES, FontSubset, code_bytes
from spark_export.writers.pdf.objects import real
from spark_export.writers.pdf.shaping import LACKING as LACKING_GLYPH
from spark_export.writers.pdf.shaping import ShapedText
from spark_export.writers.pdf.strings import (
    Positions,
    Typeset,
    code_strings,
    concatenated,
    joined,
    members,
    slices,
    with_ellipses,
)

SHAPED_KEPT = 4096
BYTE_ORDER_MARK = "\ufeff"
"""No code may stand for it (ISO 14289-1 7.21.7)."""
ASCII_CODES = bytes(STATIC_CODES[int(SHOWN_CONTROLS[point])] if point < 0x80 else 0 for point in range(256))
SHOWN = dict(enumerate(SHOWN_CONTROLS.tolist())) | SHOWN_BEYOND


class Typesetter:
    """Sets text at one size. Belongs to kernels that run one at a time.

    Args:
        charset: of the document.
        font_pt: size that the text is shown at.
    """

    def __init__(self, charset: Charset, font_pt: float) -> None:
        self._charset = charset
        self.font_pt = font_pt
        self._switches = [b")]TJ%s %s Tf[(" % (subset.name, real(font_pt)) for subset in charset.subsets]
        self._shaped: dict[tuple[str, int], list[_Shaped]] = {}

    @property
    def name(self) -> bytes:
        """Of the main font among the resources of pages."""
        return self._charset.subsets[0].name

    def measure(self, cells: Cells) -> Positions:
        """Widths of the cells, uncut."""
        column = self._charset.measure(cells)
        widths: Positions = column.before[cells.offsets[1:]] - column.before[cells.offsets[:-1]]
        for row in column.complex_rows():
            widths[row] = self._charset.shaper.shape(_shown_text(cells.text(row))).width
        return widths

    def line(self, text: str, most_pt: float) -> Typeset:
        """One text, cut to the width."""
        return self.set_columns([one_cell(text)], [int(most_pt / self.font_pt * EM)])[0]

    def points(self, units: float) -> float:
        """1/1000 em in points."""
        return units * self.font_pt / EM

    def set_columns(self, columns: Sequence[Cells], widths: Sequence[int], *, wrap: bool = False) -> list[Typeset]:
        """The columns of a piece of rows, each cut to its width or broken into lines of it."""
        prepared = [self._charset.measure(cells) for cells in columns]
        complex_rows = [column.complex_rows() for column in prepared]
        self._charset.learn(prepared)
        shaped = self._shape(columns, complex_rows, widths, wrap=wrap)
        return [
            self._set_column(column, width, rows, lines, wrap=wrap)
            for column, width, rows, lines in zip(prepared, widths, complex_rows, shaped, strict=True)
        ]

    def _set_column(
        self, column: Measured, width: int, complex_rows: Positions, shaped: list[list[_Shaped]], *, wrap: bool
    ) -> Typeset:
        starts, ends = column.cells.offsets[:-1], column.cells.offsets[1:]
        if len(complex_rows):
            ends = ends.copy()
            ends[complex_rows] = starts[complex_rows]  # shows nothing, and is replaced by what was shaped
        if wrap:
            ranges = break_lines(column.cells.characters, column.before, starts, ends, width)
        else:
            ranges = fit(column.before, starts, ends, width, self._charset.ellipsis_advance)
        lines = None if ranges.cells is None else np.bincount(ranges.cells, minlength=len(column.cells))
        made = Typeset(self._encode(column, ranges), ranges.widths, lines)
        return _insert(made, complex_rows, shaped) if len(complex_rows) else made

    def _encode(self, column: Measured, ranges: Ranges) -> Any:
        if column.points is None or column.classes is None:
            text = (column.cells.ascii or b"").translate(ASCII_CODES)
            codes = with_ellipses(np.frombuffer(text, np.uint8), ranges.cuts, ELLIPSIS_CODE)
            return slices(codes, ranges.starts, ranges.ends)
        points = with_ellipses(column.points, ranges.cuts, ord(ELLIPSIS))
        data, places = code_strings(self._charset.codes(points))
        fonts = column.classes if column.classes.max(initial=0) else None
        if fonts is not None:
            fonts = with_ellipses(np.where(fonts >= LACKING, 0, fonts), ranges.cuts, 0)
        if fonts is not None and fonts.any():
            return self._switching(data, places, fonts, ranges)
        return slices(data, places[ranges.starts], places[ranges.ends])

    def _switching(
        self, data: npt.NDArray[np.uint8], places: Positions, fonts: npt.NDArray[np.uint8], ranges: Ranges
    ) -> Any:
        """Strings with a change of font before each character that has another one than the character before."""
        kept = members(ranges.starts, ranges.ends)
        counts = ranges.ends - ranges.starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        fonts = fonts[kept]
        previous = np.concatenate([[0], fonts[:-1]])
        filled = counts > 0
        previous[offsets[:-1][filled]] = 0
        opening = pa.array([b"", *self._switches]).take(pa.array(np.where(fonts == previous, 0, fonts + 1)))
        last = np.zeros(len(fonts), bool)
        last[offsets[1:][filled] - 1] = True
        closing = pa.array([b"", self._switches[0]]).take(pa.array((last & (fonts != 0)).astype(np.int8)))
        codes = slices(data, places[kept], places[kept + 1])
        return joined(concatenated([opening, codes, closing]), offsets)

    def _shape(
        self, columns: Sequence[Cells], complex_rows: Sequence[Positions], widths: Sequence[int], *, wrap: bool
    ) -> list[list[list[_Shaped]]]:
        """The lines of each column's complex cells; row by row, as their codes are given in that order."""
        lines: list[list[list[_Shaped]]] = [[] for _ in columns]
        order = sorted((row, column) for column, rows in enumerate(complex_rows) for row in rows.tolist())
        for row, column in order:
            shaped = self._shaped_cell(columns[column].text(row), widths[column], wrap=wrap)
            for line in shaped:
                for character in line.lacking:
                    self._charset.note_lacking(character, 1)
            lines[column].append(shaped)
        return lines

    def _shaped_cell(self, text: str, width: int, *, wrap: bool) -> list[_Shaped]:
        """The lines of a cell; tables repeat their values."""
        found = self._shaped.get((text, width))
        if found is None:
            if len(self._shaped) == SHAPED_KEPT:
                self._shaped.clear()
            found = self._shaped[text, width] = self._shape_cell(text, width, wrap=wrap)
        return found

    def _shape_cell(self, text: str, width: int, *, wrap: bool) -> list[_Shaped]:
        # A line feed at the very end begins no further line.
        parts = text.removesuffix("\n").split("\n") if wrap else [text]
        text = "\n".join(map(_shown_text, parts))
        shaped = self._charset.shaper.wrap(text, width) if wrap else [self._charset.shaper.fit(text, width)]
        return [_Shaped(self._glyph_operators(line), line.width, line.right_to_left, line.lacking) for line in shaped]

    def _glyph_operators(self, shaped: ShapedText) -> bytes:
        """The glyphs as they stand between the brackets of a string in TJ, and back in the main font at its end."""
        parts: list[bytes] = []
        font = 0
        for glyph in shaped.glyphs:
            if glyph.font != font:
                font = glyph.font
                parts.append(self._switches[font])
            subset = self._charset.subsets[font]
            text = _copied_text(glyph.text)
            if glyph.glyph == LACKING_GLYPH:
                number, code = self._charset.chain.box, subset.shaped_box_code(text)
            else:
                number, code = glyph.glyph, subset.shaped_code(glyph.glyph, text)
            usual = subset.face.advance(number)
            before, after = -glyph.x_offset, glyph.x_offset + usual - glyph.advance
            rise = glyph.y_offset * self.font_pt / EM
            parts += [
                b")]TJ %s Ts[(" % real(rise) if rise else b"",
                b")%d(" % before if before else b"",
                code_bytes(code),
                b")%d(" % after if after else b"",
                b")]TJ 0 Ts[(" if rise else b"",
            ]
        if font:
            parts.append(self._switches[0])
        return b"".join(parts)


class Typefaces:
    """What one document uses of the fonts.

    Attributes:
        subsets: of every face that may be used: the two main ones, then those that stand in for both.
        lacking: characters that no font has, and how often each was met.
    """

    def __init__(self, fonts: Fonts) -> None:
        self._regular = FontSubset(fonts.regular.faces[0], b"/R", has_static=True)
        self._bold = FontSubset(fonts.bold.faces[0], b"/B", has_static=True)
        self._fallbacks = [
            FontSubset(face, b"/F%d" % number, has_static=False)
            for number, face in enumerate(fonts.regular.faces[1:], 1)
        ]
        self.lacking: Counter[str] = Counter()
        self._regular_charset = Charset(fonts.regular, [self._regular, *self._fallbacks], self.lacking)
        self._bold_charset = Charset(fonts.bold, [self._bold, *self._fallbacks], self.lacking)

    @property
    def subsets(self) -> list[FontSubset]:
        """Those that are in use."""
        return [subset for subset in (self._regular, self._bold, *self._fallbacks) if any(subset.uses())]

    def regular(self, font_pt: float) -> Typesetter:
        """Sets text at that size."""
        return Typesetter(self._regular_charset, font_pt)

    def bold(self, font_pt: float) -> Typesetter:
        """Sets bold text at that size."""
        return Typesetter(self._bold_charset, font_pt)


@dataclass(frozen=True)
class _Shaped:
    """A line of a shaped cell."""

    operators: bytes
    width: int
    right_to_left: bool
    lacking: tuple[str, ...]


def _copied_text(text: str) -> str:
    """What a glyph copies out as: a ligature that reads from the right as it is seen, from the left.

    Poppler, PDFium and MuPDF put a line in logical order character by character, and do not ask which came together.
    """
    text = text.replace(BYTE_ORDER_MARK, "")
    return text[::-1] if len(text) > 1 and unicodedata.bidirectional(text[0]) in {"R", "AL"} else text


def _shown_text(text: str) -> str:
    """The text with what shows in place of control characters."""
    return text.translate(SHOWN)


def _insert(made: Typeset, rows: Positions, shaped: list[list[_Shaped]]) -> Typeset:
    """The column with the shaped lines in the place of the single empty one that stands for each of those rows."""
    counts = made.lines if made.lines is not None else np.ones(len(made.widths), np.int64)
    first = np.cumsum(counts) - counts
    flat = [line for lines in shaped for line in lines]
    extra = np.array([len(lines) for lines in shaped])
    lines = counts.copy()
    lines[rows] = extra
    firsts = np.cumsum(lines) - lines
    # Where the lines that stay come from, and where the shaped ones go.
    order = np.repeat(first - firsts, lines) + np.arange(int(lines.sum()))
    places = members(firsts[rows], firsts[rows] + extra)
    order[places] = len(made.widths) + np.arange(len(flat))
    codes = pa.concat_arrays([made.codes, pa.array([line.operators for line in flat], pa.binary())])
    widths = np.concatenate([made.widths, [line.width for line in flat]]).astype(np.int64)
    reading = np.zeros(len(order), bool)
    reading[places] = [line.right_to_left for line in flat]
    right_to_left = reading if reading.any() else None
    kept = lines if made.lines is not None else None
    return Typeset(codes.take(pa.array(order)), widths[order], kept, right_to_left)
