"""A folder for temporary files that is this process's own, and gone with it, whatever way it ends."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PREFIX = "spark-export-"
LOCK = "lock"
"""Held while the process lives; the system releases it even when the process is killed."""


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
