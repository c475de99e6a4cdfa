"""SQLite, in a thread of its own: what has returned from here outlasts the process and a loss of power."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from spark_export.errors import ExportError, SpoolFull

T = TypeVar("T")

BUSY_SECONDS = 5
"""For whoever looks into the database by hand."""
WAL_BYTES_KEPT = 4 * 2**20
CHECKPOINT_PAGES = 100
RESERVED_BYTES = 512 * 1024
"""Room that the database has of its own, and its log, which holds a bit more than CHECKPOINT_PAGES: what has ended is
kept though others have filled the disk, and what gives way then makes room for more."""


class Database:
    """One connection.

    Args:
        path: of the file.
        schema: statements that make its tables.
        version: of the schema.

    Raises:
        sqlite3.Error: it cannot be opened, is no database, or one of another version.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        self._connection.row_factory = sqlite3.Row
        # FULL: a commit is on the disk when it returns (https://www.sqlite.org/pragma.html#pragma_synchronous).
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"journal_size_limit = {WAL_BYTES_KEPT}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in {0, version}:
            raise sqlite3.DatabaseError(f"the jobs are of version {found}, and this reads version {version}")
        if not found:  # a full disk must not keep a service from a start that frees some of it
            self._connection.executescript(f"BEGIN; {schema}; PRAGMA user_version = {version}; COMMIT")
        with suppress(sqlite3.OperationalError):
            self._reserve()

    def _reserve(self) -> None:
        """Write some bytes and forget them; the files stay as large as they were."""
        for statement in (
            "DROP TABLE IF EXISTS reserve",
            f"CREATE TABLE reserve AS SELECT zeroblob({RESERVED_BYTES}) AS bytes",
            "DROP TABLE reserve",
            "PRAGMA wal_checkpoint",
        ):
            self._connection.execute(statement).fetchall()

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What the work returns, done whole or not at all; the work goes on to its end whoever waits for it.

        Raises:
            SpoolFull: there is no room for it.
            ExportError: the database cannot be read or written.
        """
        return await self._run("BEGIN IMMEDIATE", work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What the work returns, which only reads: whoever else writes is not waited for.

        Raises:
            ExportError: the database cannot be read.
        """
        return await self._run("BEGIN", work)

    async def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            # A call that waits for the thread would be given up with whoever waits for it.
            return await asyncio.shield(
                asyncio.get_running_loop().run_in_executor(self._thread, self._transact, begin, work)
            )
        except sqlite3.Error as error:
            raise translated(error) from error

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute(begin)
        try:
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk rolls back by itself
                self._connection.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        """Close it, after what is being done."""
        self._thread.shutdown()
        self._connection.close()


def translated(error: sqlite3.Error) -> ExportError:
    """What whoever waits is told; the cause is for the log."""
    if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_FULL, *IO_ERRORS}:
        return SpoolFull("there is no room for jobs; the log tells more", field="SPOOL_DIR")
    return ExportError("the database of jobs cannot be used; the log tells more", field="SPOOL_DIR")


IO_ERRORS = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN)
"""Among them the quota of a file system, and a disk without room for the log's index."""
