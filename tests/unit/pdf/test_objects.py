"""Numbers, strings, offsets, the page tree and the cross-reference stream, byte by byte."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from spark_export.errors import WriterError
from spark_export.writers.pdf.objects import (
    HEADER,
    ObjectFile,
    PageTree,
    compress,
    date_string,
    real,
    reals,
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


def test_compress() -> None:
    """Compressed data are what zlib reads."""
    assert zlib.decompress(compress(b"0 0 m " * 100)) == b"0 0 m " * 100


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
    assert b"/Size 5/W[1 1 2]/Root 1 0 R/Info 2 0 R" in head
    rows = np.frombuffer(zlib.decompress(rest[: rest.index(b"\nendstream")]), np.uint8).reshape(-1, 5)
    assert set(rows[:, 0]) == {2}
    entries = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert entries[0].tolist() == [0, 0, 255, 255]
    offsets = [whole.index(b"%d 0 obj" % number) for number in range(1, 5)]
    assert entries[1:].tolist() == [[1, offset, 0, 0] for offset in offsets]
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
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, width + 4)
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


@pytest.mark.parametrize("pages", [1, 64, 65, 128, 4096, 4097, 4160, 4161, 10000])
def test_page_tree(pages: int) -> None:
    """Every page is in the tree once, in order, under the parent it was told, and all counts are right."""
    file = ObjectFile()
    file.start()
    tree = PageTree(file)
    told = {}
    written = []
    for _ in range(pages):
        page = file.reserve()
        told[page], nodes = tree.add(page)
        written.append(nodes)
    root, nodes = tree.finish(b"/Rotate 0")
    written.append(nodes)
    kids, counts, parents = _read_nodes(b"".join(written))

    def walk(number: int) -> list[int]:
        if number not in kids:
            return [number]
        found = [page for kid in kids[number] for page in walk(kid)]
        assert counts[number] == len(found)
        assert len(kids[number]) <= 64
        return found

    assert walk(root) == list(told)
    assert tree.pages == counts[root] == pages
    assert root not in parents
    for node, inside in kids.items():
        assert all(told[kid] == node if kid in told else parents[kid] == node for kid in inside)


def _read_nodes(data: bytes) -> tuple[dict[int, list[int]], dict[int, int], dict[int, int]]:
    kids, counts, parents = {}, {}, {}
    for node in data.split(b"endobj\n")[:-1]:
        number = int(node.split()[0])
        kids[number] = [int(kid) for kid in node.split(b"[")[1].split(b"]")[0].split(b" ")[::3]]
        counts[number] = int(node.split(b"/Count ")[1].split(b"/")[0])
        if b"/Parent " in node:
            parents[number] = int(node.split(b"/Parent ")[1].split(b" ")[0])
    return kids, counts, parents
