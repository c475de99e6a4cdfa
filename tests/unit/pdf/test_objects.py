"""Numbers, strings, offsets, object streams and the cross-reference stream, byte by byte."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pikepdf
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import WriterError
from spark_export.writers.pdf.objects import (
    HEADER,
    MOST_OBJECTS,
    XREF_BLOCK_ENTRIES,
    Compress,
    ObjectFile,
    Run,
    compress,
    compress_alike,
    compressed_rows,
    date_string,
    real,
    reals,
    reference,
    text_string,
)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, b"0"), (12, b"12"), (12.5, b"12.5"), (-0.0001, b"0"), (595.28, b"595.28"), (-1.23456, b"-1.235")],
)
def test_real(value: float, written: bytes) -> None:
    """A number has three decimals at most, no needless zero and no minus of its own."""
    assert real(value) == written


def test_reals() -> None:
    """Numbers are separated by one space."""
    assert reals(0, 1.5, 10) == b"0 1.5 10"


@pytest.mark.parametrize(
    ("text", "written"),
    [("Aş", b"<FEFF0041015F>"), ("", b"<FEFF>"), ("\U0001f600", b"<FEFFD83DDE00>"), ("\ud800)", b"<FEFF003F0029>")],
)
def test_text_string(text: str, written: bytes) -> None:
    """A document text is UTF-16BE, whatever its characters."""
    assert text_string(text) == written


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 5, 14, 3, 9, tzinfo=UTC), b"(D:20260105140309+00'00')"),
        (datetime(2026, 1, 5, 14, 3, 9, tzinfo=timezone(timedelta(hours=-3.5))), b"(D:20260105140309-03'30')"),
        (datetime(2026, 1, 5, 14, 3, 9), b"(D:20260105140309)"),  # noqa: DTZ001  without a zone is the case
    ],
)
def test_date_string(moment: datetime, written: bytes) -> None:
    """A date says how far it is from UTC, where that is known."""
    assert date_string(moment) == written


@pytest.mark.parametrize("kind", [compress, compress_alike])
def test_compress(kind: Compress) -> None:
    """Compressed data are what zlib reads."""
    assert zlib.decompress(kind(b"0 0 m " * 100)) == b"0 0 m " * 100


def test_object_bytes() -> None:
    """An object and a stream are written with their numbers."""
    file = ObjectFile()
    first, second = file.reserve(), file.reserve()
    assert file.start() == HEADER
    assert file.add(second, b"<<>>") == b"2 0 obj\n<<>>\nendobj\n"
    assert (
        file.add_stream(first, b"data", b"/Length1 9")
        == b"1 0 obj\n<</Length1 9/Filter/FlateDecode/Length 4>>stream\ndata\nendstream\nendobj\n"
    )


def test_references() -> None:
    """A reference names an object of the first generation."""
    assert reference(12) == b"12 0 R"


def test_object_twice() -> None:
    """No object is written twice."""
    file = ObjectFile()
    file.start()
    number = file.reserve()
    file.add(number, b"1")
    with pytest.raises(WriterError, match="twice"):
        file.add(number, b"2")


def test_object_missing() -> None:
    """A file that lacks a reserved object is not finished."""
    file = ObjectFile()
    file.start()
    number = file.reserve()
    file.reserve()
    file.add(number, b"1")
    with pytest.raises(WriterError, match="object 2 of the PDF is missing"):
        list(file.finish(number, number))


def test_cross_reference_stream() -> None:
    """The cross-reference stream holds the offset of every object, after the predictor Up."""
    file = ObjectFile()
    chunks = [file.start()]
    numbers = [file.reserve() for _ in range(3)]
    chunks += [file.add(number, b"(%d)" % number) for number in reversed(numbers)]
    whole = b"".join([*chunks, *file.finish(1, 2)])
    head, _, rest = whole[whole.index(b"4 0 obj") :].partition(b">>stream\n")
    assert b"/Size 5/W[1 1 3]/Root 1 0 R/Info 2 0 R" in head
    rows = np.frombuffer(zlib.decompress(rest[: rest.index(b"\nendstream")]), np.uint8).reshape(-1, 6)
    assert set(rows[:, 0]) == {2}
    entries = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert entries[0].tolist() == [0, 0, 0, 255, 255]
    offsets = [whole.index(b"%d 0 obj" % number) for number in range(1, 5)]
    assert entries[1:].tolist() == [[1, offset, 0, 0, 0] for offset in offsets]
    assert whole.endswith(b"startxref\n%d\n%%%%EOF\n" % offsets[3])


@pytest.mark.parametrize("gigabytes", [0, 9, 11, 5000])
def test_large_offsets(gigabytes: int) -> None:
    """Offsets above ten digits are written as well as small ones."""
    file = ObjectFile()
    file.start()
    file._position += gigabytes * 10**9
    number = file.reserve()
    offset = file._position
    file.add(number, b"1")
    tail = b"".join(file.finish(number, number))
    width = int(tail.split(b"/W[1 ")[1].split(b" ")[0])
    data = tail.split(b"stream\n", 1)[1].split(b"\nendstream")[0]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, width + 5)
    entries = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert int.from_bytes(entries[1, 1 : 1 + width].tobytes(), "big") == offset


def test_identity_of_content() -> None:
    """The identifier depends on the objects and on nothing else."""

    def identity(body: bytes) -> bytes:
        file = ObjectFile()
        file.start()
        file.add(file.reserve(), body)
        return file.identity()

    assert identity(b"1") == identity(b"1") != identity(b"2")


def test_identity_reads_all_objects() -> None:
    """The identifier depends on every object of a large file, and on their order."""

    def identity(*bodies: bytes) -> bytes:
        file = ObjectFile()
        file.start()
        for body in bodies:
            file.add(file.reserve(), body)
        return file.identity()

    many = [b"%d" % number for number in range(XREF_BLOCK_ENTRIES + 10)]
    assert len({identity(*many), identity(b"x", *many[1:]), identity(*many[:-1], b"x"), identity(*many[::-1])}) == 4


def bodies(run: Run) -> list[bytes]:
    """An object for each number of the run, which holds its number."""
    return [b"<</N %d>>" % number for number in range(run.first, run.first + run.count)]


class Shelf:
    """Writes a file of direct objects and blocks; each says its number."""

    def __init__(self) -> None:
        self.file = ObjectFile()
        self.parts = [self.file.start()]
        self.catalog, self.info, self.tree, self.page = (self.file.reserve() for _ in range(4))

    def add(self, number: int) -> None:
        """A direct object."""
        self.parts.append(self.file.add(number, b"<</N %d>>" % number))

    def add_blocks(self, runs: Sequence[Run]) -> None:
        """An object stream."""
        texts = [body for run in runs for body in bodies(run)]
        self.parts.append(self.file.add_object_stream(runs, pa.array(texts, pa.binary())))

    def whole(self) -> bytes:
        """The file."""
        add = self.file.add
        self.parts += [
            add(self.catalog, b"<</Type/Catalog/Pages %s>>" % reference(self.tree)),
            add(self.info, b"<<>>"),
            add(self.tree, b"<</Type/Pages/Count 1/Kids[%s]>>" % reference(self.page)),
            add(self.page, b"<</Type/Page/Parent %s/MediaBox[0 0 9 9]/Resources<<>>>>" % reference(self.tree)),
        ]
        self.parts += self.file.finish(self.catalog, self.info)
        return b"".join(self.parts)


def entries_of(whole: bytes) -> list[tuple[int, int, int]]:
    """The entries of the cross-reference stream, by number."""
    head, _, rest = whole[int(whole.split(b"startxref\n")[-1].split()[0]) :].partition(b">>stream\n")
    widths = [int(each) for each in head.split(b"/W[")[1].split(b"]")[0].split()]
    rows = np.frombuffer(zlib.decompressobj().decompress(rest), np.uint8).reshape(-1, sum(widths) + 1)
    plain = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    ends = np.cumsum(widths)
    return [
        (row[0], int.from_bytes(row[1 : ends[1]], "big"), int.from_bytes(row[ends[1] :], "big"))
        for row in map(bytes, plain)
    ]


steps = st.lists(st.one_of(st.none(), st.lists(st.integers(1, 4), min_size=1, max_size=3)), max_size=8)


@given(steps, st.randoms(use_true_random=False))
def test_blocks_between_objects(reserved: list[list[int] | None], random: Any) -> None:
    """A reader finds every object, direct or in a stream, in whatever order they were reserved and written."""
    shelf = Shelf()
    file = shelf.file
    jobs = [file.reserve() if each is None else [file.reserve_block(count) for count in each] for each in reserved]
    random.shuffle(jobs)
    numbers: list[int] = []
    for job in jobs:
        if isinstance(job, int):
            shelf.add(job)
            numbers.append(job)
        else:
            random.shuffle(job)
            shelf.add_blocks(job)
            numbers += [number for run in job for number in range(run.first, run.first + run.count)]
    with pikepdf.open(io.BytesIO(shelf.whole())) as pdf:
        assert [int(pdf.get_object(number, 0).N) for number in numbers] == numbers
        assert pdf.get_warnings() == []


def test_entries_of_object_streams() -> None:
    """An object in a stream has an entry of type 2: the stream's number and its own place in it (7.5.8.3)."""
    shelf = Shelf()
    first, lone, second = shelf.file.reserve_block(2), shelf.file.reserve(), shelf.file.reserve_block(3)
    shelf.add_blocks([second, first])
    shelf.add(lone)
    whole = shelf.whole()
    entries = entries_of(whole)
    stream = second.first + 3
    assert [entries[number] for number in (first.first, first.first + 1)] == [(2, stream, 3), (2, stream, 4)]
    assert [entries[second.first + place] for place in range(3)] == [(2, stream, place) for place in range(3)]
    for number in (lone, stream, shelf.catalog):
        kind, offset, generation = entries[number]
        assert (kind, generation) == (1, 0)
        assert whole[offset:].startswith(b"%d 0 obj\n" % number)


def test_object_stream_bytes() -> None:
    """An object stream begins with the number and the place of each object (7.5.7)."""
    file = ObjectFile()
    file.start()
    block = file.reserve_block(2)
    written = file.add_object_stream([block], pa.array([b"<</A 1>>", b"[2]"], pa.binary()))
    head, _, rest = written.partition(b">>stream\n")
    assert head.startswith(b"3 0 obj\n<</Type/ObjStm/N 2/First 8/Filter/FlateDecode/Length ")
    assert zlib.decompressobj().decompress(rest) == b"1 0 2 9\n<</A 1>>\n[2]\n"


def test_large_object_streams() -> None:
    """Objects beyond the 65,536th of an object stream have their own place in it."""
    shelf = Shelf()
    block = shelf.file.reserve_block(65_540)
    shelf.add_blocks([block])
    places = [place for kind, _, place in entries_of(shelf.whole()) if kind == 2]
    assert places == list(range(65_540))


def test_blocks_that_are_missing() -> None:
    """A file that lacks a reserved block is not finished."""
    shelf = Shelf()
    shelf.file.reserve_block(2)
    with pytest.raises(WriterError, match="object streams is missing"):
        shelf.whole()


def test_blocks_that_are_written_twice() -> None:
    """A file with a block in two streams is not finished."""
    shelf = Shelf()
    block = shelf.file.reserve_block(2)
    shelf.add_blocks([block])
    shelf.add_blocks([block])
    with pytest.raises(WriterError, match="object streams"):
        shelf.whole()


def test_missing_object_after_a_block() -> None:
    """An object that was never written is told by its number, blocks before it or not."""
    shelf = Shelf()
    block = shelf.file.reserve_block(3)
    shelf.add_blocks([block])
    missing = shelf.file.reserve()
    with pytest.raises(WriterError, match=f"object {missing} of the PDF is missing"):
        shelf.whole()


def test_twice_after_a_block() -> None:
    """No object is written twice, blocks before it or not."""
    shelf = Shelf()
    shelf.file.reserve_block(3)
    number = shelf.file.reserve()
    shelf.add(number)
    with pytest.raises(WriterError, match=f"object {number} of the PDF is written twice"):
        shelf.add(number)


def test_more_objects_than_pdf_a_allows() -> None:
    """A tagged file of more objects than PDF/A allows is refused before they are written (ISO 19005-2 6.1.13)."""
    file = ObjectFile()
    file.reserve_block(MOST_OBJECTS - 1)
    with pytest.raises(WriterError, match="8,388,607 objects"):
        file.reserve_block(1 + 1)


def test_many_objects() -> None:
    """The entries of more objects than one block of the cross-reference stream holds are all there."""
    shelf = Shelf()
    numbers = [shelf.file.reserve() for _ in range(XREF_BLOCK_ENTRIES)]
    block = shelf.file.reserve_block(3)
    numbers += [shelf.file.reserve() for _ in range(3)]
    shelf.add_blocks([block])
    for number in numbers:
        shelf.add(number)
    whole = shelf.whole()
    entries = entries_of(whole)
    assert entries[0] == (0, 0, 65_535)
    for number in (*numbers[:3], *numbers[-5:]):
        assert whole[entries[number][1] :].startswith(b"%d 0 obj\n" % number)
    assert [entries[block.first + place][2] for place in range(3)] == [0, 1, 2]


@given(st.lists(st.integers(0, 5), max_size=5), st.data())
def test_predictor(lengths: list[int], data: st.DataObject) -> None:
    """Rows in any blocks read back after the predictor Up (7.4.4.4)."""
    tables = [
        np.frombuffer(data.draw(st.binary(min_size=3 * n, max_size=3 * n)), np.uint8).reshape(-1, 3) for n in lengths
    ]
    packed = zlib.decompress(b"".join(compressed_rows(tables)))
    rows = np.frombuffer(packed, np.uint8).reshape(-1, 4)
    assert set(rows[:, 0]) <= {2}
    plain = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert plain.tobytes() == b"".join(table.tobytes() for table in tables)
