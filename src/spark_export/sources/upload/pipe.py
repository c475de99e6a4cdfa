"""A body on its way from the event loop to the thread that reads it, some of it at a time."""

from __future__ import annotations

import asyncio
import threading

from spark_export.sources.upload.content import Stopped

HELD_BYTES = 2**18
"""More is not taken in before some of it is read; so the client is held up, as TCP does it."""


class Pipe:
    """Bytes that one side gives on the event loop and the other reads in a thread.

    Args:
        loop: of the side that gives.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._held = bytearray()
        self._ended = False
        self._error: BaseException | None = None

    async def give(self, data: bytes) -> None:
        """Add to what is to be read, once there is room."""
        await self._room.wait()
        with self._changed:
            self._held += data
            if len(self._held) >= HELD_BYTES:
                self._room.clear()
            self._changed.notify()

    def end(self, error: BaseException | None = None) -> None:
        """No more comes; what was given is read first, and then raises the error where there is one."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify()

    def stop(self) -> None:
        """Nobody wants it any more: reading raises; from any thread."""
        with self._changed:
            self._held.clear()
            self._ended, self._error = True, Stopped()
            self._changed.notify()

    def read(self, size: int) -> bytes:
        """The next bytes, as soon as there are any.

        Raises:
            Stopped: they are no longer wanted.
            BaseException: what the giving side ended with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._ended)
            if not self._held and self._error is not None:
                raise self._error
            given = bytes(self._held[:size])
            del self._held[:size]
            if len(self._held) < HELD_BYTES:
                self._loop.call_soon_threadsafe(self._room.set)
            return given
