"""DuckDB as the embedded engine: SQL datasets, and filters and order over any Arrow source.

Read-only in effect: only SELECT statements are run, databases are attached read-only, files are opened below the
folder of the datasets file only, and the configuration is locked.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from spark_export.errors import SettingsError
from spark_export.sources.base import BlockingCalls, IteratorSource, Source, Table
from spark_export.sources.parameters import Parameter, bind
from spark_export.sources.query import Query, first_rows, quoted
from spark_export.sources.selection import Selection

ROWS = "rows"
"""Name of the registered stream of Arrow batches."""


class Engine:
    """An in-memory DuckDB that all exports share, each with a connection of its own.

    Args:
        folder: what the datasets' SQL may read below; None for nothing. Relative names in SQL are relative to the
            process's working directory: DuckDB has no other notion of them once external access is off.
        databases: DuckDB files to attach read-only, by alias.
        memory_bytes: of all queries; what sorts beyond it spills to `temp_folder`.
        query_threads: of all queries.
        temp_folder: for spills.
        threads: where blocking calls run.
    """

    def __init__(
        self,
        *,
        folder: Path | None,
        databases: Mapping[str, Path],
        memory_bytes: int,
        query_threads: int,
        temp_folder: Path,
        threads: Executor,
    ) -> None:
        self._threads = threads
        self._folder = folder
        self._databases = dict(databases)
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "threads": query_threads,
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": str(temp_folder),
            # Its own allocator gives memory back only so: 222 MB, not 298, were left of 50 clients that read Parquet.
            "allocator_background_threads": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            # The page cache keeps files already; a copy in this process grew its peak by 10 MB.
            "enable_external_file_cache": False,
        }
        self._lock = threading.Lock()
        self._opened: Any = None
        self._unattached: list[str] = []
        self._queries: set[Query] = set()

    @property
    def _connection(self) -> Any:
        """The engine's own connection, made when it is first needed: it takes 25 MB and 20 ms."""
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> Any:
        connection = duckdb.connect(":memory:", config=self._config)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        for alias, path in self._databases.items():
            try:
                connection.execute(f"ATTACH {_literal(str(path))} AS {quoted(alias)} (READ_ONLY)")
            except duckdb.Error as error:
                self._unattached.append(f"databases.{alias}: cannot attach {path.name!r}: {_first_line(error)}")
        if self._folder is not None:
            connection.execute(f"SET allowed_directories = [{_literal(str(self._folder))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET allowed_configs = ['streaming_buffer_size']")
        connection.execute("SET lock_configuration = true")
        return connection

    def attach(self) -> None:
        """Attach the databases; those that can be, are.

        Raises:
            SettingsError: naming each that cannot be.
        """
        if self._databases and self._connection and self._unattached:
            raise SettingsError(*self._unattached)

    @property
    def queries(self) -> int:
        """How many are open, those that are being given up included."""
        return len(self._queries)

    def close(self) -> None:
        """End the engine; every export has ended before."""
        if self._opened is not None:
            self._opened.close()

    def parameters_of(self, sql: str) -> frozenset[str]:
        """Names of the parameters in one SELECT statement.

        Raises:
            ValueError: the text is not one SELECT statement.
        """
        try:
            statements = self._connection.extract_statements(sql)
        except duckdb.Error as error:
            raise ValueError(_first_line(error)) from None
        if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
            raise ValueError("must be one SELECT statement")
        return frozenset(statements[0].named_parameters)

    def open_sql(
        self, sql: str, params: Mapping[str, Any], selection: Selection, database: str | None = None
    ) -> AbstractAsyncContextManager[IteratorSource]:
        """The selected rows of a SELECT statement.

        Raises:
            InvalidField: the selection does not fit the statement's columns.
            SourceError: the statement failed.
        """
        table = f"({sql.rstrip().rstrip(';')}\n)"
        return self._open(Query(self._connection.cursor(), table, dict(params), selection, database))

    def open_arrow(
        self, schema: Any, batches: Iterator[Any], selection: Selection, interrupt: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[IteratorSource]:
        """The selected rows of a stream of Arrow batches.

        Args:
            schema: of the batches.
            batches: pulled in the engine's threads.
            selection: of their rows.
            interrupt: makes whoever waits for the next batch return soon.

        Raises:
            InvalidField: the selection does not fit the schema.
            SourceError: the stream failed.
        """
        selection.check(schema.names)
        cursor = self._connection.cursor()
        placed = pa.schema([schema.field(place).with_name(f"c{place}") for place in range(len(schema))])
        renamed = (pa.RecordBatch.from_arrays(batch.columns, schema=placed) for batch in batches)
        cursor.register(ROWS, pa.RecordBatchReader.from_batches(placed, renamed))
        return self._open(Query(cursor, ROWS, {}, selection, None, names=tuple(schema.names)), interrupt)

    @asynccontextmanager
    async def _open(self, query: Query, interrupt: Callable[[], None] = lambda: None) -> AsyncIterator[IteratorSource]:
        def interrupt_both() -> None:
            interrupt()
            query.interrupt()

        calls = BlockingCalls(self._threads, interrupt_both)
        self._queries.add(query)
        try:
            schema, batches = await calls.run(query.open)
            yield IteratorSource(schema, first_rows(batches, query.counted_limit), calls)
        finally:
            await calls.close(lambda: self._close(query))

    def _close(self, query: Query) -> None:
        """In a thread."""
        try:
            query.close()
        finally:
            self._queries.discard(query)


@dataclass(frozen=True)
class SqlDataset:
    """A dataset of the datasets file that the embedded engine runs.

    Attributes:
        sql: one SELECT statement; `$name` for a parameter.
        database: alias of the attached database whose tables the SQL names, None for none.
    """

    name: str
    description: str
    parameters: Sequence[Parameter]
    sql: str
    database: str | None
    engine: Engine

    def table(self, params: Mapping[str, Any]) -> Table:
        """The statement with these values."""
        return _SqlTable(self, bind(self.parameters, params))


@dataclass(frozen=True)
class _SqlTable:
    dataset: SqlDataset
    bound: dict[str, Any]

    def open(self, selection: Selection) -> AbstractAsyncContextManager[Source]:
        dataset = self.dataset
        return dataset.engine.open_sql(dataset.sql, self.bound, selection, dataset.database)


def _literal(text: str) -> str:
    """An SQL character literal; for paths that the operator configured, which ATTACH and SET cannot bind."""
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
