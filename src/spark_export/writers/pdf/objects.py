"""A PDF file as numbered objects written forward: numbers, offsets, page tree, cross-reference stream.

Objects leave memory as they are written; eight bytes of offset stay of each (ISO 32000-1 7.3, 7.5, 7.7.3). The
cross-reference stream (7.5.8) has no limit of ten digits, as the table of 7.5.4 has, and takes a tenth of its bytes.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from isal import isal_zlib

from spark_export.errors import WriterError

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
"""The second line's bytes above 127 tell file movers that this is no text (7.5.2)."""

COMPRESSION_LEVEL = 1
"""igzip 1: the size of zlib 1 at three times its speed, see DESIGN.md."""

NODE_KIDS = 64
"""Kids of a page tree node: one object more for 64 pages, four levels for 16 million."""

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
    """Data for the filter FlateDecode."""
    return bytes(isal_zlib.compress(data, COMPRESSION_LEVEL))


@dataclass
class ObjectFile:
    """Gives objects their numbers and remembers where they begin.

    What it returns are the file's bytes, in order: the caller passes on everything, exactly once.
    """

    _offsets: array[int] = field(default_factory=lambda: array("Q", [0]), init=False)
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
        return len(self._offsets) - 1

    def add(self, number: int, body: bytes) -> bytes:
        """The object with that reserved number."""
        if self._offsets[number]:
            raise WriterError(f"object {number} of the PDF is written twice")
        self._offsets[number] = self._position
        self._checksum(body)
        chunk = b"%d 0 obj\n%s\nendobj\n" % (number, body)
        self._position += len(chunk)
        return chunk

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
        self._offsets[number] = self._position
        if 0 in self._offsets[1:]:
            raise WriterError(f"object {self._offsets.index(0, 1)} of the PDF is missing")
        identity = self.identity()
        width = (self._position.bit_length() + 7) // 8
        blocks = tuple(self._xref_blocks(width))
        yield (
            b"%d 0 obj\n<</Type/XRef/Size %d/W[1 %d 2]/Root %s/Info %s/ID[<%s><%s>]"
            b"/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns %d>>/Length %d>>stream\n"
        ) % (
            number,
            len(self._offsets),
            width,
            reference(catalog),
            reference(info),
            identity,
            identity,
            width + 3,
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

    def _xref_blocks(self, width: int) -> Iterator[bytes]:
        """Entries of 1 + `width` + 2 bytes (7.5.8.3) after the PNG predictor Up, compressed block by block."""
        compressor = zlib.compressobj(6)
        above = np.zeros((1, width + 3), np.uint8)
        for start in range(0, len(self._offsets), XREF_BLOCK_ENTRIES):
            offsets = np.array(self._offsets[start : start + XREF_BLOCK_ENTRIES], ">u8")
            entries = np.zeros((len(offsets), width + 3), np.uint8)
            entries[:, 0] = 1
            entries[:, 1 : 1 + width] = offsets.view(np.uint8).reshape(-1, 8)[:, 8 - width :]
            if start == 0:
                entries[0] = [0] * (width + 1) + [255, 255]
            rows = np.full((len(offsets), width + 4), 2, np.uint8)
            rows[:, 1:] = np.diff(entries, axis=0, prepend=above)
            above = entries[-1:]
            yield compressor.compress(rows.tobytes())
        yield compressor.flush()


@dataclass
class _Node:
    number: int
    kids: list[int] = field(default_factory=list)
    pages: int = 0


@dataclass
class PageTree:
    """A balanced page tree (7.7.3.2) written forward: a node leaves memory when it is full and another kid comes."""

    file: ObjectFile
    _levels: list[_Node] = field(default_factory=list, init=False)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return sum(node.pages for node in self._levels)

    def add(self, page: int) -> tuple[int, bytes]:
        """The parent of a new page, and the nodes that are full with it."""
        done = b"".join(self._add(0, page, 1))
        return self._levels[0].number, done

    def finish(self, entries: bytes) -> tuple[int, bytes]:
        """The root, and the nodes left with it; `entries` are what every page inherits (7.7.3.4)."""
        done: list[bytes] = []
        level = 0
        while level < len(self._levels) - 1:  # closing one may open another above
            done.extend(self._close(level))
            level += 1
        root = self._levels[-1]
        done.append(self.file.add(root.number, _node_body(root, entries)))
        return root.number, b"".join(done)

    def _add(self, level: int, kid: int, pages: int) -> Iterable[bytes]:
        if level == len(self._levels):
            self._levels.append(_Node(self.file.reserve()))
        done: list[bytes] = []
        if len(self._levels[level].kids) == NODE_KIDS:
            done.extend(self._close(level))
            self._levels[level] = _Node(self.file.reserve())
        node = self._levels[level]
        node.kids.append(kid)
        node.pages += pages
        return done

    def _close(self, level: int) -> Iterable[bytes]:
        """Hang a node under the next level, which then has at least one kid, and write it."""
        node = self._levels[level]
        yield from self._add(level + 1, node.number, node.pages)
        yield self.file.add(node.number, _node_body(node, b"/Parent " + reference(self._levels[level + 1].number)))
        node.pages = 0


def _node_body(node: _Node, entries: bytes) -> bytes:
    kids = b" ".join(map(reference, node.kids))
    return b"<</Type/Pages/Count %d/Kids[%s]%s>>" % (node.pages, kids, entries)
