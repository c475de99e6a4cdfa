"""How wide columns are: what each asks for, and what it gets of the room there is; all in 1/1000 em."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spark_export.text import Column, Kind
from spark_export.writers.pdf.faces import EM

DIGIT = 572
NUMBER_ROOM = 2 * DIGIT
"""Numbers often grow below the sample: two more digits come before long texts, two again where there is room."""
TOTAL_ROOM = 5 * DIGIT
"""The sum of a million rows has six digits more than each, of which the least are seldom shown."""
LEAST_TEXT = 5 * EM
LEAST_HEADER = 9 * EM
LONGEST_FIXED = 16 * EM
"""Times and the like up to here are kept whole as numbers are; longer ones (JSON) are text."""
SHORT_TEXT = 8 * EM
SHORT_TEXT_ROOM = EM
"""Codes and names that are all short are kept whole, and one that is longer than the sample's may come."""
LARGEST_SHARE = 3 * EM
"""Of the width left over, for each column: wider, and the eye loses the row."""
QUANTILE = 0.95


@dataclass(frozen=True)
class Want:
    """The widths a column asks for, in 1/1000 em: least <= typical <= whole."""

    least: int
    typical: int
    whole: int


def want(column: Column, header: int, sample: npt.NDArray[np.int64], *, is_totalled: bool = False) -> Want:
    """What a column asks for, by its header's width and those of a sample of its cells."""
    longest = int(sample.max(initial=0))
    if column.kind is Kind.NUMBER:
        longest += TOTAL_ROOM if is_totalled else 0
        typical, whole = max(longest + NUMBER_ROOM, header), max(longest + 2 * NUMBER_ROOM, header)
        return Want(max(longest, min(header, LEAST_HEADER)), typical, whole)
    whole = max(longest, header)
    if column.kind is Kind.OTHER and longest <= LONGEST_FIXED:
        return Want(max(longest, min(header, LEAST_HEADER)), whole, whole)
    if longest <= SHORT_TEXT:
        return Want(max(longest, min(header, LEAST_HEADER)), whole, max(longest + SHORT_TEXT_ROOM, header))
    usual = int(np.quantile(sample, QUANTILE, method="higher")) if len(sample) else 0
    return Want(min(whole, LEAST_TEXT), min(whole, max(usual, header, LEAST_TEXT)), whole)


def share(wants: Sequence[Want], room: int) -> list[int]:
    """Widths of the columns that together take at most `room`.

    All get what they ask for, and something more, where there is room. Else long texts shrink first, all to one
    width; then numbers and times too.
    """
    least, typical, whole = ([getattr(each, name) for each in wants] for name in ("least", "typical", "whole"))
    if sum(whole) <= room:
        extra = min(LARGEST_SHARE, (room - sum(whole)) // max(1, len(whole)))
        return [width + extra for width in whole]
    for lows, highs in ((typical, whole), (least, typical)):
        if sum(lows) <= room:
            return _levelled(lows, highs, room)
    return _levelled([0] * len(wants), least, room)


def _levelled(lows: Sequence[int], highs: Sequence[int], room: int) -> list[int]:
    """Each between its low and its high, and else one level for all: the highest for which there is room."""

    def widths(level: int) -> list[int]:
        return [min(high, max(low, level)) for low, high in zip(lows, highs, strict=True)]

    fits, fails = 0, max(highs) + 1
    while fails - fits > 1:
        level = (fits + fails) // 2
        fits, fails = (level, fails) if sum(widths(level)) <= room else (fits, level)
    return widths(fits)
