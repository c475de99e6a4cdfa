"""A file that is being written, a chunk on its way while the next one is made."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spark_export.errors import SinkError, SpoolFull
from spark_export.jobs.room import Room
from spark_export.writers.base import Chunk

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STORE_EVERY_BYTES = 16 * 2**20
"""The system is asked to store what is written so often, so that the end need not wait for all of it."""


class Writing:
    """A file that is being written: a chunk is on its way while the next one is made.

    Waiting for each would make a million rows as PDF take 1.2 times as long as sending them: the thread that writes
    waits for the interpreter while kernels hold it.

    Args:
        file: of aiofiles, without a buffer.
        room: asked for every byte.
        caller: whose bytes they are.

    Attributes:
        size_bytes: so far.
        object_tag: of the object that is made of it elsewhere.
    """

    def __init__(self, file: Any, room: Room, caller: str) -> None:
        self._file = file
        self._room = room
        self._caller = caller
        self._writing: asyncio.Future[None] | None = None
        self._storing: asyncio.Future[None] | None = None
        self._unstored_bytes = 0
        self.size_bytes = 0
        self.object_tag: str | None = None

    async def write(self, chunk: Chunk) -> None:
        """Write the whole chunk, once the one before is written.

        Raises:
            SpoolFull: there is no room for it, or was none for the one before.
            SinkError: that one could not be written.
        """
        data = memoryview(chunk).cast("B")
        await self._room.take(self._caller, len(data))
        self.size_bytes += len(data)
        with told_as_sink_error():
            await _until(self._writing)
            if self._unstored_bytes >= STORE_EVERY_BYTES:
                await self._begin_storing()
        self._unstored_bytes += len(data)
        self._writing = asyncio.ensure_future(self._write(data))

    async def store(self) -> None:
        """Have all that is written outlast a loss of power.

        Raises:
            SpoolFull, SinkError: it cannot be stored.
        """
        with told_as_sink_error():
            await _until(self._writing)
            await self._begin_storing()
            await _until(self._storing)

    async def close(self) -> None:
        """Close the file, once nothing is done with it any more."""
        pending = [each for each in (self._writing, self._storing) if each is not None]
        await asyncio.gather(*pending, return_exceptions=True)
        await self._file.close()

    async def _write(self, data: memoryview) -> None:
        while data:
            data = data[await self._file.write(data) :]

    async def _begin_storing(self) -> None:
        await _until(self._storing)
        self._unstored_bytes = 0
        self._storing = asyncio.get_running_loop().run_in_executor(None, os.fsync, self._file.fileno())


async def _until(done: asyncio.Future[None] | None) -> None:
    """Wait for what was begun, which goes on though whoever waits is cancelled."""
    if done is not None:
        await asyncio.shield(done)


@contextmanager
def told_as_sink_error() -> Iterator[None]:
    """Translate the system's errors.

    Raises:
        SpoolFull, SinkError: in their place.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise SpoolFull("there is no room left under SPOOL_DIR", field="SPOOL_DIR") from error
        raise SinkError("the file cannot be stored; the log tells more", field="SPOOL_DIR") from error
