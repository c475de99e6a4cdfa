"""The characters of one document: their advances, their codes, and those that no font has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_export.writers.pdf.cells import CONTROLS_END, ELLIPSIS, SHOWN_BEYOND, SHOWN_CONTROLS, Cells
from spark_export.writers.pdf.faces import ADVANCE_MASK, CLASS_SHIFT, COMPLEX, LACKING, Chain
from spark_export.writers.pdf.fonts import STATIC_CODES, FontSubset
from spark_export.writers.pdf.shaping import Shaper
from spark_export.writers.pdf.strings import Positions, members, picked, summed

MOST_LACKING_KINDS = 1000
"""Different lacking characters that are told apart; the rest are counted as `…`."""
FIRST_CODES = 0x600
"""Code points of Latin, Greek, Cyrillic and Hebrew; the table grows where others come."""

NO_ROWS: Positions = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Measured:
    """A column's characters with their traits.

    Attributes:
        cells: the characters.
        before: the advance of all characters before each, and of all at the end, in 1/1000 em.
        points, classes: what is shown, and the class of each; None where all are ASCII.
    """

    cells: Cells
    before: npt.NDArray[Any]
    points: npt.NDArray[np.uint32] | None = None
    classes: npt.NDArray[np.uint8] | None = None

    def complex_rows(self) -> Positions:
        """Cells with a character that must be shaped."""
        if self.classes is None or self.classes.max(initial=0) < COMPLEX:
            return NO_ROWS
        found = np.flatnonzero(self.classes == COMPLEX)
        return np.unique(np.searchsorted(self.cells.offsets, found, side="right") - 1)

    def plain(self) -> npt.NDArray[np.bool_]:
        """Characters of all other cells."""
        found = np.ones(len(self.cells.characters), bool)
        rows = self.complex_rows()
        found[members(self.cells.offsets[rows], self.cells.offsets[rows + 1])] = False
        return found


class Charset:
    """What a document shows in a chain of fonts. Belongs to kernels that run one at a time.

    Args:
        chain: the fonts.
        subsets: what the document uses of each.
        lacking: counts characters that no font has.
    """

    def __init__(self, chain: Chain, subsets: Sequence[FontSubset], lacking: Counter[str]) -> None:
        self.chain = chain
        self.subsets = tuple(subsets)
        self.ellipsis_advance = chain.advance_of(ord(ELLIPSIS))
        self._lacking = lacking
        self._codes = np.zeros(FIRST_CODES, np.uint16)
        self._cover(max(STATIC_CODES))
        self._codes[list(STATIC_CODES)] = list(STATIC_CODES.values())
        advances = chain.traits[SHOWN_CONTROLS[:0x80]] & ADVANCE_MASK
        self._ascii_advances = pa.array(advances.astype(np.uint16))

    @cached_property
    def shaper(self) -> Shaper:
        """Shapes what needs it."""
        return Shaper([face.font for face in self.chain.faces], self.chain.box_advance)

    def measure(self, cells: Cells) -> Measured:
        """The cells' advances and classes."""
        if cells.ascii is not None:
            taken = picked(self._ascii_advances, cells.characters)
            advances = np.frombuffer(taken.buffers()[1], np.uint16, len(taken))
            return Measured(cells, summed(advances))
        points = shown(cells.characters)
        traits = self.chain.traits[points]
        classes = (traits >> CLASS_SHIFT).astype(np.uint8)
        return Measured(cells, summed((traits & ADVANCE_MASK).astype(np.uint16)), points, classes)

    def codes(self, points: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
        """Of characters that were learned."""
        return self._codes[points]

    def learn(self, columns: Sequence[Measured]) -> None:
        """Give codes to characters that have none, in the order in which a reader of the rows meets them."""
        met: list[tuple[int, int, int, int]] = []
        for place, column in enumerate(columns):
            if column.points is None or column.classes is None:
                continue
            self._cover(int(column.points.max(initial=0)))
            plain = column.plain()
            self._count_lacking(column.points[plain & (column.classes == LACKING)])
            fresh = np.flatnonzero(plain & (self._codes[column.points] == 0))
            different, first = np.unique(column.points[fresh], return_index=True)
            at = fresh[first]
            rows = np.searchsorted(column.cells.offsets, at, side="right") - 1
            met.extend(zip(rows.tolist(), [place] * len(at), at.tolist(), different.tolist(), strict=True))
        for *_, point in sorted(met):
            self._codes[point] = self._codes[point] or self._new_code(point)

    def _cover(self, point: int) -> None:
        """Make the table reach to the point."""
        if point >= len(self._codes):
            self._codes = np.pad(self._codes, (0, max(point + 1, 2 * len(self._codes)) - len(self._codes)))

    def _new_code(self, point: int) -> int:
        index = int(self.chain.traits[point]) >> CLASS_SHIFT
        if index == LACKING:
            return self.subsets[0].box_code(chr(point))
        subset = self.subsets[index]
        return subset.code(subset.face.glyph_of(point), chr(point))

    def _count_lacking(self, points: npt.NDArray[np.uint32]) -> None:
        if not len(points):
            return
        for point, count in zip(*(each.tolist() for each in np.unique(points, return_counts=True)), strict=True):
            self.note_lacking(chr(point), count)

    def note_lacking(self, character: str, count: int) -> None:
        """Count a character that no font has."""
        known = character in self._lacking or len(self._lacking) < MOST_LACKING_KINDS
        self._lacking[character if known else ELLIPSIS] += count


def shown(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Code points with what shows in place of control characters."""
    controls = (points < CONTROLS_END) & ((points < 0x20) | (points > 0x7E))
    beyond = [(points == point, seen) for point, seen in SHOWN_BEYOND.items()]
    if not (controls.any() or any(found.any() for found, _ in beyond)):
        return points
    points = points.copy()
    points[controls] = SHOWN_CONTROLS[points[controls]]
    for found, seen in beyond:
        points[found] = seen
    return points
