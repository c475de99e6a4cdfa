"""A PDF file as numbered objects written forward: numbers, offsets, cross-reference stream.

Objects leave memory as they are written; eight bytes of offset stay of each (ISO 32000-1 7.3, 7.5), and of those in
object streams (7.5.7) some bytes of the stream. The cross-reference stream (7.5.8) has no limit of ten digits, as the
table of 7.5.4 has, and takes a tenth of its bytes.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from isal import isal_zlib

from spark_export.errors import WriterError

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
"""The second line's bytes above 127 tell file movers that this is no text (7.5.2)."""

COMPRESSION_LEVEL = 1
"""igzip 1: the size of zlib 1 at three times its speed, see DESIGN.md."""

MOST_OBJECTS = 8_388_607

XREF_BLOCK_ENTRIES = 65_536

MAX_REAL_DECIMALS = 3


def real(value: float) -> bytes:
    """A number of points, with three decimals at most and none where there are none to write."""
    text = f"{value:.{MAX_REAL_DECIMALS}f}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode("ascii")


def reals(*values: float) -> bytes:
    """Numbers separated by spaces."""
    return b" ".join(map(real, values))


def text_string(text: str) -> bytes:
    """A document text (7.9.2.2) as the hexadecimal string of its UTF-16BE; lone surrogates become `?`."""
    return b"<FEFF" + text.encode("utf-16-be", "replace").hex().upper().encode("ascii") + b">"


def date_string(moment: datetime) -> bytes:
    """A date (7.9.4), with its distance from UTC where the moment has one."""
    stamp = moment.strftime("%Y%m%d%H%M%S")
    offset = moment.utcoffset()
    if offset is None:
        return b"(D:%s)" % stamp.encode("ascii")
    minutes = round(offset.total_seconds() / 60)
    zone = "%s%02d'%02d'" % ("-" if minutes < 0 else "+", *divmod(abs(minutes), 60))  # noqa: UP031
    return b"(D:%s%s)" % (stamp.encode("ascii"), zone.encode("ascii"))


def reference(number: int) -> bytes:
    """An indirect reference."""
    return b"%d 0 R" % number


def compress(data: bytes) -> bytes:
    """Data for the filter FlateDecode, fast.

    The bytes are not always the same: in one thread of a thousand, by where its stack lies, igzip writes other codes of
    the same lengths (https://github.com/intel/isa-l/issues/140).
    """
    return bytes(isal_zlib.compress(data, COMPRESSION_LEVEL))


def compress_alike(data: bytes) -> bytes:
    """The same data always as the same bytes, at a third of the speed."""
    return zlib.compress(data, COMPRESSION_LEVEL)


Compress = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Run:
    """Objects of consecutive numbers.

    Attributes:
        first: number of the first one.
        count: how many.
    """

    first: int
    count: int


@dataclass
class ObjectFile:
    """Gives objects their numbers and remembers where they begin.

    What it returns are the file's bytes, in order: the caller passes on everything, exactly once.

    Numbers of blocks have no offset of their own: of each block its first number and the sum of all blocks' numbers up
    to its end stay in memory, of each run in an object stream its first number, count, stream and place in it.

    Attributes:
        compress: makes the data of streams.
    """

    compress: Compress = compress
    _offsets: array[int] = field(default_factory=lambda: array("Q", [0]), init=False)
    _next: int = field(default=1, init=False)
    _block_firsts: array[int] = field(default_factory=lambda: array("Q"), init=False)
    _block_numbers: array[int] = field(default_factory=lambda: array("Q"), init=False)
    _stored: array[int] = field(default_factory=lambda: array("Q"), init=False)
    _position: int = field(default=0, init=False)
    _checksums: array[int] = field(default_factory=lambda: array("I"), init=False)
    _digest: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16), init=False)

    def start(self) -> bytes:
        """The file's first bytes."""
        self._position = len(HEADER)
        return HEADER

    def reserve(self) -> int:
        """A number for an object that is written later."""
        self._offsets.append(0)
        self._next += 1
        return self._next - 1

    def reserve_block(self, count: int) -> Run:
        """Numbers for objects that go into object streams.

        Raises:
            WriterError: there would be more objects than PDF/A allows (ISO 19005-2 6.1.13).
        """
        block = Run(self._next, count)
        self._next += count
        if self._next - 1 > MOST_OBJECTS:
            raise WriterError(
                f"a tagged PDF of more than {MOST_OBJECTS:,} objects is no PDF/A; export fewer rows at once"
            )
        self._block_firsts.append(block.first)
        self._block_numbers.append(count + (self._block_numbers[-1] if self._block_numbers else 0))
        return block

    def add(self, number: int, body: bytes) -> bytes:
        """The object with that reserved number."""
        place = self._place(number)
        if self._offsets[place]:
            raise WriterError(f"object {number} of the PDF is written twice")
        self._offsets[place] = self._position
        self._checksum(body)
        chunk = b"%d 0 obj\n%s\nendobj\n" % (number, body)
        self._position += len(chunk)
        return chunk

    def _place(self, number: int) -> int:
        """Where its offset stands."""
        if not self._block_firsts:
            return number
        before = bisect_right(self._block_firsts, number)
        return number - (self._block_numbers[before - 1] if before else 0)

    def _number(self, place: int) -> int:
        """The object whose offset stands there."""
        before = 0
        for first, numbers in zip(self._block_firsts, self._block_numbers, strict=True):
            if first > place + before:
                break
            before = numbers
        return place + before

    def add_object_stream(self, runs: Sequence[Run], bodies: Any) -> bytes:
        """An object stream of the bodies (a BinaryArray) of those runs, one after another."""
        stream = self.reserve()
        index = 0
        for run in runs:
            self._stored.extend((run.first, run.count, stream, index))
            index += run.count
        numbers = np.concatenate([np.arange(run.first, run.first + run.count) for run in runs])
        lengths = pc.binary_length(bodies).to_numpy().astype(np.int64) + 1
        heads = np.stack([numbers, np.cumsum(lengths) - lengths], axis=1).ravel()
        head = " ".join(map(str, heads.tolist())).encode("ascii") + b"\n"
        data = head + b"\n".join(bodies.to_pylist()) + b"\n"
        return self.add_stream(stream, self.compress(data), b"/Type/ObjStm/N %d/First %d" % (index, len(head)))

    def add_stream(self, number: int, data: bytes, entries: bytes = b"") -> bytes:
        """A stream whose data are compressed already (7.3.8); `entries` go into its dictionary."""
        head = b"<<%s/Filter/FlateDecode/Length %d>>stream\n" % (entries, len(data))
        return self.add(number, b"%s%s\nendstream" % (head, data))

    def finish(self, catalog: int, info: int) -> Iterator[bytes]:
        """The cross-reference stream and the file's last line.

        Raises:
            WriterError: an object that something may refer to was never written.
        """
        number = self.reserve()
        self._offsets[-1] = self._position
        if 0 in self._offsets[1:]:
            raise WriterError(f"object {self._number(self._offsets.index(0, 1))} of the PDF is missing")
        if sum(self._stored[1::4]) != (self._block_numbers[-1] if self._block_numbers else 0):
            raise WriterError("an object of the PDF's object streams is missing")
        identity = self.identity()
        width = (self._position.bit_length() + 7) // 8
        blocks = tuple(compressed_rows(self._entries(width)))
        yield (
            b"%d 0 obj\n<</Type/XRef/Size %d/W[1 %d 3]/Root %s/Info %s/ID[<%s><%s>]"
            b"/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns %d>>/Length %d>>stream\n"
        ) % (
            number,
            self._next,
            width,
            reference(catalog),
            reference(info),
            identity,
            identity,
            width + 4,
            sum(map(len, blocks)),
        )
        yield from blocks
        yield b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % self._position

    def identity(self) -> bytes:
        """The file's identifier (14.4), of its content alone, in hexadecimal."""
        self._digest.update(self._checksums.tobytes())
        del self._checksums[:]
        return self._digest.hexdigest().upper().encode("ascii")

    def _checksum(self, body: bytes) -> None:
        """Take the body into the identifier by its CRC: 0.1 us a page, a digest would be 5."""
        self._checksums.append(isal_zlib.crc32(body))
        if len(self._checksums) == XREF_BLOCK_ENTRIES:
            self.identity()

    def _entries(self, width: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Entries of 1 + `width` + 3 bytes (7.5.8.3) in the order of the numbers."""
        stored = np.array(self._stored, np.int64).reshape(-1, 4)
        place, number = 0, 0
        for first, count, stream, index in [*stored[np.argsort(stored[:, 0])].tolist(), (self._next, 0, 0, 0)]:
            end = place + first - number
            for start in range(place, end, XREF_BLOCK_ENTRIES):
                offsets = np.array(self._offsets[start : min(start + XREF_BLOCK_ENTRIES, end)], ">u8")
                entries = _entries_of(1, offsets, np.zeros(len(offsets), ">u4"), width)
                if start == 0:
                    entries[0] = [0] * (width + 2) + [255, 255]
                yield entries
            place, number = end, first + count
            yield _entries_of(2, np.full(count, stream, ">u8"), np.arange(index, index + count).astype(">u4"), width)


def _entries_of(kind: int, seconds: npt.NDArray[Any], thirds: npt.NDArray[Any], width: int) -> npt.NDArray[np.uint8]:
    entries = np.full((len(seconds), width + 4), kind, np.uint8)
    entries[:, 1 : 1 + width] = seconds.view(np.uint8).reshape(-1, 8)[:, 8 - width :]
    entries[:, 1 + width :] = thirds.view(np.uint8).reshape(-1, 4)[:, 1:]
    return entries


def compressed_rows(blocks: Iterable[npt.NDArray[np.uint8]]) -> Iterator[bytes]:
    """Rows of bytes after the PNG predictor Up (7.4.4.4), compressed block by block."""
    compressor = zlib.compressobj(6)
    above: Any = 0
    for block in blocks:
        if not len(block):
            continue
        rows = np.full((len(block), block.shape[1] + 1), 2, np.uint8)
        rows[0, 1:] = block[0] - above
        rows[1:, 1:] = np.diff(block, axis=0)
        above = block[-1]
        yield compressor.compress(rows.tobytes())
    yield compressor.flush()
