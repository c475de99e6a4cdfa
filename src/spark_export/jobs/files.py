"""The bodies that jobs are made of, and their files.

A file is written under another name, stored (fsync(2)), and only then takes its own; so what has its name is whole.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiofiles

from spark_export.jobs.folder import BODIES, FILES, PART
from spark_export.jobs.room import Room
from spark_export.jobs.writing import Writing, told_as_sink_error
from spark_export.shielded import run_to_end
from spark_export.spool import put_in_place


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
            with told_as_sink_error():
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
        with told_as_sink_error():
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
            with told_as_sink_error():
                writing = Writing(await aiofiles.open(part, "wb", buffering=0), self.room, caller)
            try:
                yield writing
                await writing.store()
            finally:
                await run_to_end(writing.close())
            placing = asyncio.ensure_future(asyncio.to_thread(put_in_place, part, path))
            with told_as_sink_error():
                await asyncio.shield(placing)
        except BaseException:
            if writing is not None:
                self.room.give(caller, writing.size_bytes)
            await run_to_end(_undo(placing, part, path))
            raise


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
