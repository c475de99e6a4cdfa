"""The folder of jobs: their database, the bodies that they are made of, and their files.

A file is written under another name, stored (fsync(2)), and only then takes its own; so what has its name is whole. The
folder is one process's alone, and outlasts it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiofiles

from spark_export.errors import SettingsError, SinkError, SpoolFull
from spark_export.jobs.room import Room
from spark_export.settings import variable_of
from spark_export.shielded import run_to_end
from spark_export.spool import put_in_place
from spark_export.writers.base import Chunk

NAME = "jobs-of-spark-export-{port}"
"""By the port, since services beside each other may share SPOOL_DIR."""
LOCK = "in-use"
DATABASE = "jobs.sqlite"
BODIES, FILES = "bodies", "files"
PART = ".part"
OWNER_ONLY = 0o700
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STORE_EVERY_BYTES = 16 * 2**20
"""The system is asked to store what is written so often, so that the end need not wait for all of it."""


@contextmanager
def open_folder(parent: Path, port: int) -> Iterator[Path]:
    """The folder of the service on that port, made where it is not there.

    Raises:
        SettingsError: another process uses it, or may write in it.
    """
    folder = parent / NAME.format(port=port)
    try:
        folder.mkdir(mode=OWNER_ONLY, exist_ok=True)
        _check_owner(folder)
        for name in (BODIES, FILES):
            (folder / name).mkdir(mode=OWNER_ONLY, exist_ok=True)
        lock = (folder / LOCK).open("wb")
    except OSError as error:
        raise SettingsError(f"{variable_of('spool_dir')}: {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"{variable_of('spool_dir')}: {folder} is another service's; give each a folder of its own"
            ) from None
        _remove_parts(folder)
        yield folder


def _remove_parts(folder: Path) -> None:
    """Remove what a killed process was writing, before anything else is: it may be what fills the disk.

    Raises:
        SettingsError: it cannot be removed.
    """
    try:
        for name in (BODIES, FILES):
            for part in (folder / name).glob(f"*{PART}"):
                part.unlink()
    except OSError as error:
        raise SettingsError(f"{variable_of('spool_dir')}: {folder}: {error.strerror}") from None


def _check_owner(folder: Path) -> None:
    """In a folder that everyone writes to, such as /tmp, anyone could have made it before."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SettingsError(f"{variable_of('spool_dir')}: {folder} is no folder that this user alone may write to")


class JobFiles:
    """Bodies and files below the folder.

    Args:
        folder: of jobs.
        room: counts their bytes.
    """

    def __init__(self, folder: Path, room: Room) -> None:
        self._bodies = folder / BODIES
        self._files = folder / FILES
        self.room = room

    def body(self, export_id: str) -> Path:
        """The body that the job is made of."""
        return self._bodies / export_id

    def file(self, export_id: str) -> Path:
        """The file of the job."""
        return self._files / export_id

    async def keep_rows(self, export_id: str, caller: str, rows: memoryview) -> None:
        """Store the JSON text of rows as the job's body.

        Raises:
            SpoolFull: there is no room for it.
        """
        async with self._writing(self.body(export_id), caller) as file:
            await file.write(rows)

    async def keep_body(self, export_id: str, caller: str, body: Path) -> None:
        """Take a file of this file system over as the job's body.

        Raises:
            SpoolFull: there is no room for it.
        """
        size = (await asyncio.to_thread(body.stat)).st_size
        await self.room.take(caller, size)
        try:
            with _told_as_sink_error():
                await asyncio.to_thread(_store_and_move, body, self.body(export_id))
        except BaseException:
            self.room.give(caller, size)
            raise

    def open_file(self, export_id: str, caller: str) -> AbstractAsyncContextManager[Writing]:
        """Takes the chunks of the job's file, which is there when the block ends well; else nothing of it is left.

        Raises:
            SpoolFull: there is no room for it.
            SinkError: it cannot be written.
        """
        return self._writing(self.file(export_id), caller)

    async def remove_body(self, export_id: str, caller: str) -> None:
        """Remove the job's body, where it has one.

        Raises:
            SinkError: it cannot be removed.
        """
        await run_to_end(self._remove(self.body(export_id), caller))

    async def remove_file(self, export_id: str, caller: str) -> None:
        """Remove the job's file, where it has one; whoever reads it reads on.

        Raises:
            SinkError: it cannot be removed.
        """
        await run_to_end(self._remove(self.file(export_id), caller))

    async def _remove(self, path: Path, caller: str) -> None:
        with _told_as_sink_error():
            self.room.give(caller, await asyncio.to_thread(_remove, path))

    async def sweep(self, bodies: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Remove what is neither of these bodies nor of these files, and count what is left for their callers."""
        for folder, known in ((self._bodies, bodies), (self._files, files)):
            for name, size in await asyncio.to_thread(_sweep, folder, known):
                self.room.count(known[name], size)
        await self.room.shrink()  # what may be kept may be less than it was

    @asynccontextmanager
    async def _writing(self, path: Path, caller: str) -> AsyncIterator[Writing]:
        part, writing, placing = path.with_name(path.name + PART), None, None
        try:
            with _told_as_sink_error():
                writing = Writing(await aiofiles.open(part, "wb", buffering=0), self.room, caller)
            try:
                yield writing
                await writing.store()
            finally:
                await run_to_end(writing.close())
            placing = asyncio.ensure_future(asyncio.to_thread(put_in_place, part, path))
            with _told_as_sink_error():
                await asyncio.shield(placing)
        except BaseException:
            if writing is not None:
                self.room.give(caller, writing.size_bytes)
            await run_to_end(_undo(placing, part, path))
            raise


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
        with _told_as_sink_error():
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
        with _told_as_sink_error():
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


def _store_and_move(body: Path, to: Path) -> None:
    with body.open("rb") as file:
        os.fsync(file.fileno())
    put_in_place(body, to)


async def _undo(placing: asyncio.Future[None] | None, part: Path, path: Path) -> None:
    """Remove a file, be it on its way to its name, which goes on whoever is cancelled."""
    if placing is not None:
        await asyncio.gather(placing, return_exceptions=True)
        await asyncio.to_thread(_remove, path)
    await asyncio.to_thread(_remove, part)


def _sweep(folder: Path, known: Collection[str]) -> list[tuple[str, int]]:
    """Remove what is not known; names and sizes of the rest."""
    left = []
    for path in folder.iterdir():
        if path.name in known:
            left.append((path.name, path.stat().st_size))
        else:
            path.unlink()
    return left


def _remove(path: Path) -> int:
    """Remove the file; its bytes."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


@contextmanager
def _told_as_sink_error() -> Iterator[None]:
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
