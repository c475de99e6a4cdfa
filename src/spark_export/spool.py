"""A folder for temporary files that is this process's own, and gone with it, whatever way it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from spark_export.errors import SourceUnavailable
from spark_export.shielded import run_to_end

PREFIX = "spark-export-"
LOCK = "lock"
"""Held while the process lives; the system releases it even when the process is killed."""


REQUEST_PREFIX = "request-"


@contextmanager
def open_spool(parent: Path) -> Iterator[Path]:
    """An empty folder below `parent`, removed at the end; those that killed processes left there are removed first.

    Raises:
        OSError: it cannot be made.
    """
    for left in parent.glob(f"{PREFIX}*"):
        _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (folder / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the folder unless its process lives."""
    with suppress(OSError), (folder / LOCK).open("rb") as lock:
        if _try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def open_request_folder(spool: Path) -> AsyncIterator[Path]:
    """A folder for one request, gone at the end with all that is in it.

    Raises:
        SourceUnavailable: it cannot be made.
    """
    with storing_rows():
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=REQUEST_PREFIX, dir=spool))
    try:
        yield folder
    finally:
        await run_to_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


@contextmanager
def storing_rows() -> Iterator[None]:
    """Translate the system's errors.

    Raises:
        SourceUnavailable: in their place.
    """
    try:
        yield
    except OSError as error:
        raise SourceUnavailable("the body cannot be stored; the log tells more", field="SPOOL_DIR") from error


def put_in_place(making: Path, final: Path) -> None:
    """Give a stored file its name, for good: the folder is stored as well (fsync(2)).

    Raises:
        OSError: it cannot be.
    """
    making.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
