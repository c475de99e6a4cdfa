"""Where an export goes without HTTP: a file that is there when it is whole, a pipe, a terminal."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from spark_export.errors import SinkError
from spark_export.spool import put_in_place
from spark_export.writers.base import Chunk

T = TypeVar("T")

PREFIX = ".spark-export-"
ID_BYTES = 8


class Output:
    """Takes the chunks of a file, in a thread of its own.

    A reader that does not read holds up that thread alone: not the event loop, where signals and the deadline are
    seen, and not the end of the process. A million rows of CSV take as long with it as written on the loop, or by
    aiofiles, which has a thread for each call as well: 0.91 s, 0.90 s and 0.93 s.

    Args:
        name: of the file, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._descriptor = -1
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        Thread(target=self._work, name="output", daemon=True).start()

    async def open(self, open_file: Callable[[], int]) -> None:
        """Take the descriptor that is opened.

        Raises:
            SinkError: it cannot be.
        """
        self._descriptor = await self.run(open_file)

    async def write(self, chunk: Chunk) -> None:
        """Write the whole chunk.

        Raises:
            BrokenPipeError: nobody reads it.
            SinkError: it cannot be written.
        """
        await self.run(lambda: _write(self._descriptor, chunk))

    async def sync(self) -> None:
        """Have what is written outlast a loss of power, where it is a regular file (fsync(2)).

        Raises:
            SinkError: it cannot be stored.
        """
        await self.run(lambda: _sync(self._descriptor))

    async def run(self, call: Callable[[], T]) -> T:
        """A call that may wait, in the thread.

        Raises:
            BrokenPipeError: nobody reads the pipe.
            SinkError: in place of the system's error.
        """
        future: Future[T] = Future()
        self._calls.put((future, call))
        try:
            return await asyncio.wrap_future(future)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SinkError(f"cannot write {self._name}: {error.strerror}") from None

    def close(self, *, descriptor: bool) -> None:
        """End the thread once it is through with what it does, and close the descriptor where it is not another's."""
        if descriptor and self._descriptor >= 0:
            self._calls.put((Future(), lambda: os.close(self._descriptor)))
        self._calls.put(None)

    def _work(self) -> None:
        while (asked := self._calls.get()) is not None:
            future, call = asked
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
                    future.set_exception(error)


def open_output(path: Path | None) -> AbstractAsyncContextManager[Output]:
    """What takes the bytes of the path, of standard output where it is None.

    A regular file is made beside its name, and takes it when the block ends; else nothing is left, and what was there
    stays. A device or a named pipe is written to as it is.

    Raises:
        SinkError: it cannot be written.
    """
    if path is None:
        return _open_standard_output()
    if path.exists() and not path.is_file():
        return _open_special(path)
    final = path.resolve()  # a link stays one, and what it names is replaced
    return _open_regular(path, final, final.with_name(f"{PREFIX}{secrets.token_hex(ID_BYTES)}"))


@asynccontextmanager
async def _open_standard_output() -> AsyncIterator[Output]:
    if sys.stdout is None:  # closed before the process began; its number may be another file's by now
        raise SinkError("standard output is closed")
    output = Output("to standard output")
    try:
        await output.open(sys.stdout.fileno)
        yield output
    finally:
        output.close(descriptor=False)


@asynccontextmanager
async def _open_special(path: Path) -> AsyncIterator[Output]:
    output = Output(str(path))
    try:
        await output.open(lambda: os.open(path, os.O_WRONLY))
        yield output
    finally:
        output.close(descriptor=True)


@asynccontextmanager
async def _open_regular(path: Path, final: Path, making: Path) -> AsyncIterator[Output]:
    output = Output(str(path))
    try:
        descriptor = _create(making, final, str(path))
        await output.open(lambda: descriptor)
        yield output
        await output.run(lambda: put_in_place(making, final))
    finally:
        _remove(making)
        output.close(descriptor=True)


def _create(making: Path, final: Path, name: str) -> int:
    """At once and not in the thread, so that none is made after it was removed."""
    try:
        descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if final.exists():
            os.fchmod(descriptor, stat.S_IMODE(final.stat().st_mode))
    except OSError as error:
        raise SinkError(f"cannot write {name}: {error.strerror}") from None
    return descriptor


def _remove(making: Path) -> None:
    """At once, where it has not become the file."""
    making.unlink(missing_ok=True)


def _write(descriptor: int, chunk: Chunk) -> None:
    left = memoryview(chunk).cast("B")
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(descriptor: int) -> None:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)
