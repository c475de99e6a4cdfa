"""Content streams: the operators that draw lines, texts and rows (ISO 32000-1 8, 9.4, 14.6).

Strings hold the codes of `fonts`, none of which needs escaping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_export.writers.pdf.layout import Slot
from spark_export.writers.pdf.objects import real, reals
from spark_export.writers.pdf.strings import Typeset, concatenated, decimals, picked

Colour = tuple[float, float, float]

INK: Colour = (0.13, 0.16, 0.2)
MUTED: Colour = (0.42, 0.46, 0.52)

TABLE_OF_MOVES = 1 << 16
"""Moves to the right that a look-up makes text of, at 6 ns instead of 17; more than most pages are wide."""


def colour_of(name: str) -> Colour:
    """Of `#rrggbb`."""
    red, green, blue = bytes.fromhex(name.removeprefix("#"))
    return red / 255, green / 255, blue / 255


def fill(colour: Sequence[float]) -> bytes:
    """Set the colour of texts and rectangles."""
    return b"%s rg\n" % reals(*colour)


def rectangle(x: float, y: float, width: float, height: float) -> bytes:
    """Fill a rectangle."""
    return b"%s re f\n" % reals(x, y, width, height)


def rectangles(x: float, ys: npt.NDArray[np.float64], width: float, heights: npt.NDArray[np.float64]) -> bytes:
    """Fill rectangles of one width, one above the other."""
    if not len(ys):
        return b""
    y, height = (decimals(np.round(each, 2)) for each in (ys, heights))
    lines = concatenated([b"%s " % real(x), y, b" %s " % real(width), height, b" re\n"])
    drawn: bytes = lines.buffers()[2].to_pybytes()
    return drawn + b"f\n"


def show(name: bytes, size_pt: float, x: float, y: float, codes: bytes) -> bytes:
    """Show a text at a point."""
    return b"BT %s %s Tf %s Td[(%s)]TJ ET\n" % (name, real(size_pt), reals(x, y), codes)


def marked(tag: bytes, mcid: int, operators: bytes) -> bytes:
    """Content of a structure element (14.6.2)."""
    return b"/%s<</MCID %d>>BDC\n%sEMC\n" % (tag, mcid, operators)


def artifact(operators: bytes) -> bytes:
    """Content that is no part of the document: rules, stripes, page numbers (14.8.2.2)."""
    return b"/Artifact BMC\n%sEMC\n" % operators if operators else b""


@cache
def _table_of_moves() -> Any:
    """`)-n(` for each n: 3 ms, once."""
    return concatenated([b")-", decimals(np.arange(TABLE_OF_MOVES)), b"("])


def row_operators(
    columns: Sequence[Typeset], slots: Sequence[Slot], begin: Any, marks: Sequence[Any] | None = None
) -> Any:
    """A BinaryArray of each line's operators, whose data buffer is the text of all lines.

    Without marks `begin[(cell)-k(cell)]TJ`. A line's texts follow each other, so that copy and paste follows the rows.
    The number before a cell moves the pen, to the right where it is negative, in 1/1000 em.

    Args:
        columns: one text a line each.
        slots: where each stands.
        begin: operators that bring the pen to the line's beginning, for all or for each; `T*`.
        marks: for each column what begins its marked content, for each line; cells that are None are artifacts.
    """
    if marks is None:
        parts = [begin, b"[("]
        for column, move in zip(columns, _moves(columns, slots), strict=True):
            parts += [move, column.codes]
        return concatenated([*parts, b")]TJ\n"])
    parts = [begin]
    for column, move, mark in zip(columns, _moves(columns, slots), marks, strict=True):
        parts += [mark, b"[(", move, column.codes, b")]TJ EMC\n"]
    return concatenated(parts)


def _moves(columns: Sequence[Typeset], slots: Sequence[Slot]) -> Iterable[Any]:
    """Text of the pen's moves to each cell, from the end of the cell before it."""
    pen: int | npt.NDArray[np.int64] = 0
    for column, slot in zip(columns, slots, strict=True):
        starts = _starts(column, slot)
        yield _move_text(starts - pen)
        pen = slot.right if slot.right_aligned else starts + column.widths


def _starts(column: Typeset, slot: Slot) -> int | npt.NDArray[np.int64]:
    if slot.right_aligned:
        return slot.right - column.widths
    if column.right_to_left is not None:
        return np.where(column.right_to_left, slot.right - column.widths, slot.left)
    return slot.left


def _move_text(moves: int | npt.NDArray[np.int64]) -> Any:
    """Moves to the right as text: one for all lines where they are all the same, as after a right-aligned column."""
    if isinstance(moves, int | np.integer):
        return b")%d(" % -moves
    least, most = (int(moves.min()), int(moves.max())) if len(moves) else (0, 0)
    if least == most:
        return b")%d(" % -least
    if least >= 0 and most < TABLE_OF_MOVES:
        return picked(_table_of_moves(), moves)
    return concatenated([b")", decimals(-moves), b"("])
