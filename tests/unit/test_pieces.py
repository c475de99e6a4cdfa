"""Pieces of batches: bounded, and end to end what they were cut from."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from spark_export.pieces import BYTES_MOST, CELLS_MOST, EARLY_ROWS, EARLY_UNTIL_ROWS, FIRST_ROWS, ROWS_MOST, Sample, cut


@given(st.integers(0, 100_000), st.integers(0, 3000))
def test_cut(rows: int, width: int) -> None:
    """Slices are of bounded rows and bytes, and end to end they are the batch."""
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(bytes(rows * width))])
    batch = pa.record_batch([pa.array(range(rows), pa.int32()), values], names=["n", "x"])
    parts = list(cut(batch))
    assert [len(part) for part in parts if not len(part)] == ([0] if rows == 0 else [])
    assert all(len(part) <= ROWS_MOST for part in parts)
    assert all(part.nbytes <= BYTES_MOST for part in parts)
    assert pa.Table.from_batches(parts)["n"].to_pylist() == list(range(rows))


def test_cut_a_row_beyond_the_bound() -> None:
    """A row that is larger than the bound is a slice of its own."""
    batch = pa.record_batch([[b"x" * (BYTES_MOST + 1)] * 3], names=["x"])
    assert [len(part) for part in cut(batch)] == [1, 1, 1]


def test_cut_begins_small() -> None:
    """The first piece is small for the first byte's sake, the next ones for a slow client's, the later ones are not."""
    batch = pa.record_batch([pa.nulls(EARLY_UNTIL_ROWS * 2)], names=["x"])
    sizes = [len(part) for part in cut(batch, 0)]
    assert sizes[:3] == [FIRST_ROWS, EARLY_ROWS, EARLY_ROWS]
    assert max(sizes) == ROWS_MOST
    assert [len(part) for part in cut(batch.slice(0, ROWS_MOST), EARLY_UNTIL_ROWS)] == [ROWS_MOST]


def test_cut_counts_cells() -> None:
    """Nulls have no bytes, and are bounded all the same."""
    batch = pa.record_batch([pa.nulls(3000)] * 1000, names=[f"c{number}" for number in range(1000)])
    assert batch.nbytes == 0
    assert all(len(part) * 1000 <= CELLS_MOST for part in cut(batch))


@given(st.lists(st.integers(0, 3000), max_size=5), st.integers(1, 3000))
def test_sample(sizes: list[int], rows: int) -> None:
    """A sample is the first rows of all batches, and says whether there were more of them."""
    table = pa.table({"x": pa.array(range(sum(sizes)), pa.int32())})
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    sample = Sample(rows)
    for start, size in zip(starts, sizes, strict=True):
        if not sample.add(table.slice(start, size).combine_chunks().to_batches()[0] if size else EMPTY):
            break
    found = [value for batch in sample.batches for value in batch.column(0).to_pylist()]
    assert found == list(range(min(rows, sum(sizes))))
    assert (len(sample), sample.more) == (len(found), sum(sizes) > rows)


EMPTY = pa.record_batch([pa.array([], pa.int32())], names=["x"])


def test_sample_is_bounded() -> None:
    """Rows that are together larger than a piece may be are left out, but never the first."""
    for batch in (
        pa.record_batch([[b"x" * (BYTES_MOST // 2)] * 5], names=["x"]),
        pa.record_batch([pa.nulls(5)] * (CELLS_MOST // 2), names=list(map(str, range(CELLS_MOST // 2)))),
    ):
        sample = Sample(5)
        assert not sample.add(batch)
        assert (1 <= len(sample) <= 2, sample.more) == (True, True)
    sample = Sample(5)
    assert sample.add(pa.record_batch([[b"x" * (BYTES_MOST * 2)]], names=["x"]))
    assert len(sample) == 1
