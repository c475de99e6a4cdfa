"""The folder of jobs: their database, the bodies that they are made of, and their files.

It is one process's alone, and outlasts it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spark_export.errors import SettingsError
from spark_export.settings import variable_of

NAME = "jobs-of-spark-export-{port}"
"""By the port, since services beside each other may share SPOOL_DIR."""
LOCK = "in-use"
DATABASE = "jobs.sqlite"
BODIES, FILES = "bodies", "files"
PART = ".part"
OWNER_ONLY = 0o700


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
