"""Content codings: one gzip member, one zstd frame (RFC 9110 8.4.1, RFC 1952, RFC 8878).

Each chunk is flushed, so that the client sees rows as they are made. What breaks before the end has no trailer, and no
decoder takes it for whole. Both kernels release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from typing import Protocol

import zstandard
from isal import isal_zlib

from spark_export.writers.base import Chunk, map_ordered

GZIP_WINDOW_BITS = 31
GZIP_LEVEL = 1
"""igzip's 1 is as small as zlib's 1 at three times its speed."""
ZSTD_LEVEL = 3

CODINGS = ("zstd", "gzip")
"""In order of preference, where the client likes both alike."""


class _Compressor(Protocol):
    def compress(self, chunk: Chunk, /) -> bytes: ...

    def finish(self) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW_BITS)

    def compress(self, chunk: Chunk, /) -> bytes:
        return self._stream.compress(chunk) + self._stream.flush(isal_zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()

    def compress(self, chunk: Chunk, /) -> bytes:
        return self._stream.compress(chunk) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


async def compress(chunks: AsyncIterator[Chunk], coding: str | None, threads: Executor) -> AsyncGenerator[Chunk, None]:
    """The chunks in a content coding of `CODINGS`, or as they are for None."""
    if coding is None:
        async for chunk in chunks:
            yield chunk
        return
    stream: _Compressor = _Gzip() if coding == "gzip" else _Zstd()
    async for chunk in map_ordered(chunks, stream.compress, threads, ahead=0):
        yield chunk
    yield stream.finish()
