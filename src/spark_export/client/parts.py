"""A file on its way, beside the name that it takes when it is whole."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import io
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from spark_export.client.errors import WrongDigest

T = TypeVar("T")

PREFIX = ".spark-export-"
ID_BYTES = 8
WRITE_BYTES = 2**20
"""Written at once: each write is a call in the thread."""


class Part:
    """Takes the bytes of a file, in a thread of its own.

    Its calls run there one after another, so that the file is closed after the last write though whoever waited for
    that was cancelled.

    Args:
        path: of the file; a link stays one, and what it names is replaced.
        kept: name of what an earlier process may have left; None for a file that is gone unless it gets whole.

    Attributes:
        bytes: that it holds.
        digest: SHA-256 of those that it held when it was opened.
    """

    def __init__(self, path: Path, kept: str | None) -> None:
        self._final = path.resolve()
        if self._final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self._path = self._final.with_name(f"{PREFIX}{kept or secrets.token_hex(ID_BYTES)}")
        self._is_kept = kept is not None
        self._held = bytearray()
        self._thread = ThreadPoolExecutor(1, "part")
        self._file = self._create()  # at once, so that none is made after it was removed
        self.bytes = 0
        self.digest: Any = hashlib.sha256()

    async def read_over(self) -> None:
        """Find out what an earlier process left.

        Raises:
            OSError: it cannot be read.
        """
        if self._is_kept:
            self.digest = await self._run(lambda: hashlib.file_digest(self._file, "sha256"))
            self.bytes = self._file.tell()

    async def write(self, chunk: bytes) -> None:
        """Take the bytes; those of many calls are written at once.

        Raises:
            OSError: they cannot be written.
        """
        self._held += chunk
        self.bytes += len(chunk)
        if len(self._held) >= WRITE_BYTES:
            await self._run(self._flush)

    async def take_name(self) -> None:
        """Store the file and its name, for good (fsync(2)).

        Raises:
            OSError: it cannot be.
        """
        await self._run(self._finish)

    def drop(self) -> None:
        """Remove it, where it has not taken its name."""
        self._path.unlink(missing_ok=True)

    async def aclose(self) -> None:
        """Write what has come, and close the file."""
        ending = self._thread.submit(self._end)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(ending))

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _create(self) -> io.FileIO:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (0 if self._is_kept else os.O_EXCL)
        file = io.FileIO(os.open(self._path, flags, 0o666), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._final.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(self._final.stat().st_mode))
        except BlockingIOError:
            file.close()
            raise BlockingIOError(f"another process loads the same file into {self._final.parent}") from None
        return file

    def _flush(self) -> None:
        left = memoryview(bytes(self._held))
        self._held.clear()
        while left:
            left = left[self._file.write(left) :]

    def _finish(self) -> None:
        self._flush()
        os.fsync(self._file.fileno())
        self._path.replace(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _end(self) -> None:
        with self._file, suppress(OSError):  # what cannot be written is loaded again
            self._flush()


@asynccontextmanager
async def open_part(path: Path, kept: str | None = None) -> AsyncIterator[Part]:
    """The part of a file; gone at the end unless it took its name, or is to be kept, with bytes not known to be wrong.

    Raises:
        OSError: it cannot be made, or another process holds it.
    """
    part = Part(path, kept)
    try:
        await part.read_over()
        yield part
    except WrongDigest:
        part.drop()
        raise
    finally:
        if kept is None or not part.bytes:
            part.drop()
        await part.aclose()


def sha256_of(path: Path) -> tuple[str, int]:
    """SHA-256 of a file, hexadecimal, and its bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
