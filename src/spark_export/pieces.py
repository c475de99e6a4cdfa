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
