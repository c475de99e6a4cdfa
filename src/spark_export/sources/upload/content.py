"""A body's bytes, read by a thread a part at a time: out of its spool file, without its content coding, as UTF-8.

Each layer has `read(size)`, which gives nothing only at the end, and refuses what is not what it is said to be.
"""

from __future__ import annotations

import codecs
import threading
from pathlib import Path
from typing import Any, Protocol

import zstandard
from isal import igzip_lib, isal_zlib

from spark_export.errors import BodyTooLarge, MalformedBody

GZIP_WINDOW_BITS = 31
ZSTD_WINDOW_BYTES = 8 * 2**20
"""The largest that the content coding may have (RFC 9659 3)."""
ZSTD_FEED_BYTES = 1024
"""At once: a block of 4 bytes may become 128 KiB, so these become 32 MiB at most."""
PIECE_BYTES = 2**18
CODED_BYTES = 2**14
"""Read at once: what is left of it is copied for each piece that comes out."""

CODINGS = ("gzip", "zstd")
DECODING_ERRORS: tuple[Any, ...] = (igzip_lib.IsalError, zstandard.ZstdError, EOFError, ValueError)

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Stopped(Exception):
    """Whoever wanted the body does so no more."""


class Content(Protocol):
    """Bytes to be read."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        ...


class SpoolFile:
    """The bytes of a file.

    Args:
        path: of the file.
        stopped: once it is set, reading ends with an exception.
    """

    def __init__(self, path: Path, stopped: threading.Event) -> None:
        self._file = path.open("rb")
        self._stopped = stopped

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            Stopped: they are no longer wanted.
        """
        if self._stopped.is_set():
            raise Stopped
        return self._file.read(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Decoder:
    """Coded parts one after the other, each with an end of its own.

    Attributes:
        left: coded bytes that are still to be decoded.
    """

    def __init__(self) -> None:
        self.left = b""
        self._part = self._begin()

    def decode(self, data: bytes, most_bytes: int) -> bytes:
        """What comes out of some of the bytes, and of those that were left."""
        self.left += data
        if self._part.eof and self.left:
            self._part = self._begin()
        return self._decode(most_bytes)

    @property
    def is_whole(self) -> bool:
        """Whether the last part has ended."""
        return bool(self._part.eof) and not self.left

    def _begin(self) -> Any:
        raise NotImplementedError

    def _decode(self, most_bytes: int) -> bytes:
        raise NotImplementedError


class _Gzip(_Decoder):
    """Members (RFC 1952 2.2)."""

    def _begin(self) -> Any:
        return isal_zlib.decompressobj(wbits=GZIP_WINDOW_BITS)

    def _decode(self, most_bytes: int) -> bytes:
        decoded: bytes = self._part.decompress(self.left, most_bytes)
        self.left = self._part.unused_data if self._part.eof else self._part.unconsumed_tail
        return decoded


class _Zstd(_Decoder):
    """Frames (RFC 8878 3)."""

    def _begin(self) -> Any:
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()

    def _decode(self, most_bytes: int) -> bytes:  # noqa: ARG002 - what is fed bounds it
        fed, rest = self.left[:ZSTD_FEED_BYTES], self.left[ZSTD_FEED_BYTES:]
        decoded: bytes = self._part.decompress(fed)
        self.left = (self._part.unused_data if self._part.eof else b"") + rest
        return decoded


class Decoded:
    """A body without its content coding.

    Args:
        content: the coded bytes.
        coding: one of `CODINGS`.
        most_bytes: that may come out; None for any number.
    """

    def __init__(self, content: Content, coding: str, most_bytes: int | None) -> None:
        self._content = content
        self._coding = coding
        self._most_bytes = most_bytes
        self._decoder = _Gzip() if coding == "gzip" else _Zstd()
        self._buffer = b""
        self._bytes_in = 0
        self._bytes_out = 0

    def read(self, size: int) -> bytes:
        """The next decoded bytes.

        Raises:
            MalformedBody: it is no such coding, or is cut off.
            BodyTooLarge: more comes out than may.
        """
        while not self._buffer:
            data = b"" if self._decoder.left else self._content.read(CODED_BYTES)
            if not data and not self._decoder.left:
                self._check_end()
                return b""
            self._bytes_in += len(data)
            self._buffer = self._decode(data)
        given, self._buffer = self._buffer[:size], self._buffer[size:]
        return given

    def _decode(self, data: bytes) -> bytes:
        try:
            decoded: bytes = self._decoder.decode(data, PIECE_BYTES)
        except DECODING_ERRORS:
            detail = f"the body is no {self._coding}, somewhere before its byte {self._bytes_in}"
            raise MalformedBody(detail, field="Content-Encoding") from None
        self._bytes_out += len(decoded)
        if self._most_bytes is not None and self._bytes_out > self._most_bytes:
            raise too_large(self._most_bytes, "the body, decoded,")
        return decoded

    def _check_end(self) -> None:
        if not self._decoder.is_whole:
            detail = f"the {self._coding} of the body is cut off after byte {self._bytes_in}"
            raise MalformedBody(detail, field="Content-Encoding")


class Utf8:
    """A text as UTF-8, without a byte order mark.

    Args:
        content: the text's bytes.
        charset: of the text; by its byte order mark where None, else UTF-8.
    """

    def __init__(self, content: Content, charset: str | None) -> None:
        self._content = content
        first = content.read(PIECE_BYTES)
        while first and len(first) < len(codecs.BOM_UTF8) and (more := content.read(PIECE_BYTES)):
            first += more
        found = charset_of(first)
        self._name = charset or found or "utf-8"
        bom = next((bom for bom, name in BOMS if first.startswith(bom) and _is_same(name, self._name)), b"")
        self._decoder = codecs.getincrementaldecoder(self._name)("strict")
        self._bytes_in = len(bom)
        self._first = first[len(bom) :]
        self._left = b""

    def read(self, size: int) -> bytes:
        """The next characters.

        Raises:
            MalformedBody: naming the byte that is none of the character set.
        """
        while not self._left:
            data, self._first = self._first or self._content.read(PIECE_BYTES), b""
            self._left = self._decode(data, final=not data)
            if not data:
                break
        given, self._left = self._left[:size], self._left[size:]
        return given

    def _decode(self, data: bytes, *, final: bool) -> bytes:
        self._bytes_in += len(data)
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                place = self._bytes_in - len(error.object) + error.start
            else:
                place = self._bytes_in - len(data)
            raise MalformedBody(f"byte {place} of the body is no {self._name}", field="charset") from None


def charset_of(first: bytes) -> str | None:
    """The character set that a byte order mark tells of; none where there is none."""
    return next((name for bom, name in BOMS if first.startswith(bom)), None)


def _is_same(found: str, asked: str) -> bool:
    """Whether a byte order mark is one of the character set, and not read by its codec already."""
    return codecs.lookup(asked).name == codecs.lookup(found).name


def too_large(most_bytes: int, what: str = "the body") -> BodyTooLarge:
    """What a caller is told whose body is too long."""
    return BodyTooLarge(f"{what} is longer than the {most_bytes} bytes that MAX_UPLOAD_BYTES allows",
                        field="MAX_UPLOAD_BYTES")  # fmt: skip
