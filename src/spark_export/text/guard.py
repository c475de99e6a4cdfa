"""The formula guard: a text that a spreadsheet would run as a formula gets a leading apostrophe.

The rule is OWASP's (CSV Injection): a first character of `=`, `+`, `-`, `@`, tab or carriage return. It is for texts
only; a number is never touched (Metabase #17335, Superset #13734).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_export.text import numbers

DANGEROUS = "=+-@\t\r"
_TABLE = np.zeros(256, bool)
_TABLE[[ord(character) for character in DANGEROUS]] = True


def guard(cells: Any, *, untyped: bool = False) -> tuple[Any, int]:
    """The text column with dangerous cells escaped, and how many there were.

    Args:
        cells: of the column.
        untyped: whether a text may be a number that nobody said to be one; it is not touched either.
    """
    dangerous = _dangerous(cells)
    if untyped and dangerous.any():
        dangerous &= ~pc.fill_null(numbers.reads_as_number(cells), fill_value=False).to_numpy(zero_copy_only=False)
    count = int(dangerous.sum())
    if count == 0:
        return cells, 0
    mask = pa.array(dangerous)
    escaped = pc.binary_replace_slice(cells.filter(mask), 0, 0, "'")
    return pc.replace_with_mask(cells, mask, escaped), count


def guard_label(label: str) -> tuple[str, int]:
    """The same for a header."""
    return ("'" + label, 1) if label.startswith(tuple(DANGEROUS)) else (label, 0)


def _dangerous(cells: Any) -> np.ndarray:
    """Which cells begin with a dangerous character; missing and empty ones do not."""
    data = cells.buffers()[2]
    if data is None or data.size == 0 or len(cells) == 0:
        return np.zeros(len(cells), bool)
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    first = np.frombuffer(data, np.uint8)[np.minimum(offsets[:-1], data.size - 1)]
    dangerous: np.ndarray = _TABLE[first] & (offsets[1:] > offsets[:-1])
    if cells.null_count:
        dangerous &= pc.is_valid(cells).to_numpy(zero_copy_only=False)
    return dangerous
