"""The formula guard, cell by cell."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.text.guard import guard, guard_label

STARTS = ("=", "+", "-", "@", "\t", "\r")
CELLS = st.lists(st.none() | st.text() | st.builds(str.__add__, st.sampled_from(STARTS), st.text(max_size=3)))


@given(CELLS, st.integers(0, 4))
def test_guard(cells: list[str | None], start: int) -> None:
    """Exactly the texts that begin with a dangerous character get an apostrophe, sliced or not, and are counted."""
    expected = [f"'{cell}" if cell is not None and cell.startswith(STARTS) else cell for cell in cells][start:]
    made, count = guard(pa.array(cells, pa.string()).slice(start))
    assert made.to_pylist() == expected
    assert count == sum(new != old for new, old in zip(expected, cells[start:], strict=True))


@pytest.mark.parametrize("start", STARTS)
def test_guard_label(start: str) -> None:
    """A header is guarded by the same rule."""
    assert guard_label(f"{start}x") == (f"'{start}x", 1)
    assert guard_label(f"x{start}") == (f"x{start}", 0)


def test_guard_behind_missing() -> None:
    """What lies in the buffer behind a missing cell is neither counted nor changed."""
    text = pa.array(["=1", "ok"])
    hidden = pa.StringArray.from_buffers(2, *text.buffers()[1:], pa.py_buffer(bytes([0b10])), 1)
    assert guard(hidden)[1] == 0
