"""Connections to one database: bounded, kept for the next export, replaced when they broke.

A connection is used by one thread at a time; `cancel` alone comes from another.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from spark_export.errors import SourceUnavailable
from spark_export.sources.postgres import dsn

WAIT_SECONDS = 10
"""For a connection, when all are in use."""
LOOK_SECONDS = 0.05
"""Between two looks whether anybody still waits for a connection."""
BATCH_BYTES = 2**21
"""Of a batch, some 17,000 rows of ten columns: with ADBC's own 16 MiB the first byte comes after 230 ms, not 25."""


class ConnectFailed(Exception):
    """No connection could be made; the text is libpq's, without anything of the connection string."""

    sqlstate = None


class Connection:
    """One connection, through ADBC's driver.

    Args:
        database: of the driver.
    """

    def __init__(self, database: Any) -> None:
        from adbc_driver_manager import AdbcConnection

        self._connection = AdbcConnection(database)

    def run(self, script: str) -> None:
        """Run statements that have no result."""
        with self._statement(script) as statement:
            statement.execute_update()

    def rows(self, sql: str, text: str) -> list[tuple[Any, ...]]:
        """The rows of a short result; `$1` is the text, bound."""
        with self._statement(sql) as statement:
            statement.bind(pa.record_batch({"0": pa.array([text])}))
            handle, _ = statement.execute_query()
            table = pa.RecordBatchReader.from_stream(handle).read_all()
            return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def schema(self, sql: str) -> Any:
        """The Arrow schema of a statement's result, by a prepared statement that is never run."""
        with self._statement(sql) as statement:
            return pa.schema(statement.execute_schema())

    def stream(self, sql: str) -> Stream:
        """The batches of a statement's result."""
        return Stream(self._statement(sql))

    def cancel(self) -> None:
        """Make the server give up what it computes; returns when it has been told. From any thread."""
        from adbc_driver_manager import Error

        with suppress(Error):
            self._connection.cancel()

    def close(self) -> None:
        """End it, whatever it does."""
        from adbc_driver_manager import Error

        with suppress(Error):
            self._connection.close()

    def _statement(self, sql: str) -> Any:
        from adbc_driver_manager import AdbcStatement

        statement = AdbcStatement(self._connection)
        statement.set_sql_query(sql)
        return statement


class Stream:
    """The result of a statement that runs, as record batches.

    Raises, while it is made and read, the driver's errors with their SQLSTATE: pyarrow's own reader loses that.
    """

    def __init__(self, statement: Any) -> None:
        from adbc_driver_manager._reader import AdbcRecordBatchReader  # what its DB-API reads with

        self._statement = statement
        try:
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            handle, _ = statement.execute_query()
            self._reader = AdbcRecordBatchReader._import_from_c(handle.address)
        except BaseException:
            statement.close()
            raise

    def next(self) -> Any:
        """The next batch, None after the last."""
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def close(self) -> None:
        """Give up what is unread."""
        self._reader.close()
        self._statement.close()


class Pool:
    """The connections of one connection string.

    Args:
        text: the connection string, complete.
        most: connections at once.
        kept: of those, how many stay open while nobody needs them.
    """

    def __init__(self, text: str, most: int, kept: int) -> None:
        self._text = text
        self._slots = threading.Semaphore(most)
        self._kept = kept
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._database: Any = None
        self._idle: list[Connection] = []

    def take(self, script: str, is_wanted: Callable[[], bool]) -> Connection:
        """A connection on which the script has been run.

        Args:
            script: begins what the connection is taken for; it may be tried on several.
            is_wanted: asked while others have all connections.

        Raises:
            SourceUnavailable: there is none in time, or none can be made.
        """
        self._wait(is_wanted)
        try:
            return self._kept_connection(script) or self._new_connection(script)
        except BaseException:
            self._slots.release()
            raise

    def give(self, connection: Connection, *, is_usable: bool) -> None:
        """Take a connection back."""
        with self._lock:
            is_kept = is_usable and len(self._idle) < self._kept
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()
        self._slots.release()

    def close(self) -> None:
        """End the connections that nobody uses."""
        while (connection := self._pop()) is not None:
            connection.close()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _wait(self, is_wanted: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._slots.acquire(timeout=LOOK_SECONDS):
            if not is_wanted() or time.monotonic() > deadline:
                raise SourceUnavailable("every connection to the database is in use", field="MAX_CONCURRENT")

    def _pop(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _kept_connection(self, script: str) -> Connection | None:
        """One that has been used before and still works: a server that was started anew has ended them all."""
        from adbc_driver_manager import Error

        while (connection := self._pop()) is not None:
            try:
                connection.run(script)
            except Error:
                connection.close()
            else:
                return connection
        return None

    def _new_connection(self, script: str) -> Connection:
        from adbc_driver_manager import Error

        try:
            connection = self._connect()
        except Error as error:
            # Not from the error itself: its text repeats parts of the connection string.
            cause = ConnectFailed(dsn.hide(" ".join(str(error).split()), self._text))
            raise SourceUnavailable("the database cannot be reached; the log tells more") from cause
        try:
            connection.run("SET client_encoding = 'UTF8'")
            connection.run(script)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> Connection:
        import adbc_driver_postgresql

        with self._connecting:
            if self._database is None:
                self._database = adbc_driver_postgresql.connect(self._text)
        return Connection(self._database)


def quoted_literals(connection: Connection, texts: Sequence[str]) -> list[str]:
    """Each text as an SQL literal, by the server's own `quote_literal`; the texts travel bound."""
    if not texts:
        return []
    sql = (
        "SELECT pg_catalog.quote_literal(v) FROM pg_catalog.json_array_elements_text($1::pg_catalog.json)"
        " WITH ORDINALITY AS e (v, n) ORDER BY n"
    )
    return [row[0] for row in connection.rows(sql, json.dumps(list(texts)))]
