"""Batches cut into pieces of bounded rows, cells and bytes, so that memory is bounded whatever a source hands over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

FIRST_ROWS = 1000
"""Of the first piece, so that the first byte does not wait for more: 10 to 20 ms earlier."""
EARLY_ROWS = 2048
EARLY_UNTIL_ROWS = 131_072
"""Pieces stay small until so many rows have gone: by then a client that reads slowly has filled the kernel's buffers
(some 3 MB) and what waits for it, five pieces or so, is small: 50 such clients took 5 MB each else, not 1.5."""
ROWS_MOST = 16_384
BYTES_MOST = 4 * 2**20
CELLS_MOST = 2**18
"""Nulls take no bytes in a batch, and each takes up to 200 in a file."""


def cut(batch: Any, before: int = EARLY_UNTIL_ROWS) -> Iterator[Any]:
    """The batch in slices, without a copy; an empty one as it is.

    Args:
        batch: a record batch.
        before: rows that went before it.
    """
    rows = len(batch)
    most = max(1, min(CELLS_MOST // max(batch.num_columns, 1), rows * BYTES_MOST // max(batch.nbytes, 1)))
    start = 0
    while start < rows or start == 0:
        step = min(most, _rows_after(before + start))
        yield batch.slice(start, step)
        start += step


def _rows_after(before: int) -> int:
    if before == 0:
        return FIRST_ROWS
    return EARLY_ROWS if before < EARLY_UNTIL_ROWS else ROWS_MOST


class Sample:
    """The first rows of a stream, as many as one piece may have cells and bytes, and no more than asked for.

    Args:
        rows: at most so many.

    Attributes:
        batches: the rows.
        more: whether some were left out.
    """

    def __init__(self, rows: int) -> None:
        self.batches: list[Any] = []
        self.more = False
        self._rows = rows
        self._bytes = BYTES_MOST
        self._cells = CELLS_MOST

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def add(self, batch: Any) -> bool:
        """Take of the next rows what there is room for; whether that was all."""
        for piece in cut(batch, 0) if len(batch) else ():
            taken = piece.slice(0, self._rows)
            self._bytes -= taken.nbytes
            self._cells -= len(taken) * taken.num_columns
            fits = not self.batches or (self._bytes >= 0 and self._cells >= 0)
            if len(taken) and fits:
                self.batches.append(taken)
                self._rows -= len(taken)
            self.more = not fits or len(taken) < len(piece)
            if self.more:
                return False
        return True
