"""DuckDB as the embedded engine: SQL datasets, and filters and order over any Arrow source.

Read-only in effect: only SELECT statements are run, databases are attached read-only, files are opened below the
folder of the datasets file only, and the configuration is locked. No text of a client becomes SQL: names are checked
against the schema and quoted, values are bound.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from spark_export.errors import ExportError, InvalidField, SettingsError, SourceError, SourceUnavailable
from spark_export.model import Condition, Scalar
from spark_export.sources.base import BlockingCalls, IteratorSource, Source, Table
from spark_export.sources.parameters import Parameter, bind
from spark_export.sources.selection import Selection

BATCH_ROWS = 16_384
"""Of 1,000,000 rows as CSV: at 8,192 rows a batch 1.2 times as long, at 65,536 no less, but four times the memory."""
UNREADABLE = (duckdb.IOException, duckdb.PermissionException, duckdb.CatalogException, duckdb.HTTPException)
NO_ROOM = ("max_temp_directory_size", "No space left on device")

BUFFER_BYTES = 2**20
"""Of a result that is made ahead of its reader; DuckDB's own 10 MiB are what a client that stops reading would hold."""
COUNTED_LIMIT = 100_000
"""Rows of a larger limit are counted here: DuckDB's LIMIT collects them all before the first one comes out.

1,000,000 rows of Parquet: first byte after 211 ms and a peak of 430 MiB, against 55 ms and 257 MiB.
"""

ROWS = "rows"
"""Name of the registered stream of Arrow batches."""

COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "like": "LIKE"}
NUMERIC = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|BIGNUM)")
TEXTUAL = re.compile(r'(VARCHAR|ENUM.*|UUID|JSON|"NULL")')
NOTHING = '"NULL"'
"""Type of a column without a value: any comparison with it is fine, and finds no row."""
WIDEST_INTEGER = 2**127
SCALAR = re.compile(r"(BOOLEAN|DATE|TIME.*|INTERVAL)")
WITHOUT_ARROW = re.compile(r"(BIT|BIGNUM|TIME WITH TIME ZONE|UNION.*)")
"""Types that DuckDB hands to Arrow as opaque bytes, without their zone, or as unions: read as text instead."""


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
        self._queries: set[_Query] = set()

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
                connection.execute(f"ATTACH {_literal(str(path))} AS {_quoted(alias)} (READ_ONLY)")
            except duckdb.Error as error:
                raise SettingsError(f"databases.{alias}: cannot attach {path.name!r}: {_first_line(error)}") from error
        if self._folder is not None:
            connection.execute(f"SET allowed_directories = [{_literal(str(self._folder))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET allowed_configs = ['streaming_buffer_size']")
        connection.execute("SET lock_configuration = true")
        return connection

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
            SettingsError: a database cannot be attached.
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
        return self._open(_Query(self._connection.cursor(), table, dict(params), selection, database))

    def open_arrow(
        self, schema: Any, batches: Iterator[Any], selection: Selection
    ) -> AbstractAsyncContextManager[IteratorSource]:
        """The selected rows of a stream of Arrow batches.

        Raises:
            InvalidField: the selection does not fit the schema.
            SourceError: the stream failed.
        """
        selection.check(schema.names)
        cursor = self._connection.cursor()
        placed = pa.schema([schema.field(place).with_name(f"c{place}") for place in range(len(schema))])
        renamed = (pa.RecordBatch.from_arrays(batch.columns, schema=placed) for batch in batches)
        cursor.register(ROWS, pa.RecordBatchReader.from_batches(placed, renamed))
        return self._open(_Query(cursor, ROWS, {}, selection, None, names=tuple(schema.names)))

    @asynccontextmanager
    async def _open(self, query: _Query) -> AsyncIterator[IteratorSource]:
        calls = BlockingCalls(self._threads, query.interrupt)
        self._queries.add(query)
        try:
            schema, batches = await calls.run(query.open)
            yield IteratorSource(schema, _first_rows(batches, query.counted_limit), calls)
        finally:
            await calls.close(lambda: self._close(query))

    def _close(self, query: _Query) -> None:
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


@dataclass(eq=False)
class _Query:
    """One statement on its way: bound to its columns, filtered, opened. Runs in a thread.

    Attributes:
        names: of the table's columns, where they come from a client: the engine, to which `a` and `A` are one name,
            knows those by their places only. None where the engine's own names are the columns'.
    """

    cursor: Any
    table: str
    params: dict[str, Any]
    selection: Selection
    database: str | None
    names: tuple[str, ...] | None = None
    types: dict[str, str] = field(default_factory=dict)
    sql_names: dict[str, str] = field(default_factory=dict)
    reader: Any = None

    def open(self) -> tuple[Any, Iterator[Any]]:
        """The schema and the batches of the selected rows."""
        try:
            return self._open()
        except ExportError:
            raise
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise translate(error) from error

    def _open(self) -> tuple[Any, Iterator[Any]]:
        self.cursor.execute(f"SET streaming_buffer_size = '{BUFFER_BYTES}B'")
        if self.database is not None:
            self.cursor.execute(f"USE {_quoted(self.database)}")
        relation = self.cursor.sql(f"SELECT * FROM {self.table}", params=self.params)  # noqa: S608 - the operator's SQL
        names = self.names or relation.columns
        self.types = dict(zip(names, map(str, relation.types), strict=True))
        self.sql_names = dict(zip(names, relation.columns, strict=True))
        self.selection.check(names)
        # Kept, so that no thread whose caller has left drops the last reference: that would wait for the query.
        self.reader = self.cursor.sql(self._statement(), params=self.params).to_arrow_reader(BATCH_ROWS)
        batches = _translated(self.reader)
        if self.names is None:
            return self.reader.schema, batches
        selected = zip(self.reader.schema, self.selection.columns_of(names), strict=True)
        schema = pa.schema([field.with_name(name) for field, name in selected])
        return schema, (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches)

    @property
    def counted_limit(self) -> int | None:
        """The limit where DuckDB is not told of it."""
        limit = self.selection.limit
        return limit if limit is not None and limit > COUNTED_LIMIT and not self.selection.order_by else None

    def interrupt(self) -> None:
        """Make a running call return soon; from any thread, and at any time until after `close`."""
        with suppress(duckdb.Error):
            self.cursor.interrupt()

    def close(self) -> None:
        """Give up what is unread. Runs in a thread, and may wait for the query to notice an interrupt."""
        self.interrupt()
        if self.reader is not None:
            with suppress(duckdb.Error, pa.ArrowException, OSError):
                self.reader.close()
            self.reader = None
        self.cursor.close()

    def _statement(self) -> str:
        selection = self.selection
        projection = ", ".join(map(self._column, selection.columns_of(tuple(self.types))))
        parts = [f"SELECT {projection} FROM {self.table}"]  # noqa: S608 - names are the schema's own, and quoted
        if selection.where:
            conditions = [self._condition(place, condition) for place, condition in enumerate(selection.where)]
            parts.append(f"WHERE {' AND '.join(conditions)}")
        if selection.order_by:
            order = [
                f"{self._quoted(name)} {'DESC' if down else 'ASC'} NULLS LAST" for name, down in selection.order_by
            ]
            parts.append(f"ORDER BY {', '.join(order)}")
        if selection.limit is not None and self.counted_limit is None:
            parts.append(f"LIMIT {selection.limit:d}")
        return "\n".join(parts)

    def _column(self, name: str) -> str:
        column = self._quoted(name)
        return f"CAST({column} AS VARCHAR) AS {column}" if WITHOUT_ARROW.fullmatch(self.types[name]) else column

    def _quoted(self, name: str) -> str:
        return _quoted(self.sql_names[name])

    def _condition(self, place: int, condition: Condition) -> str:
        column = self._quoted(condition.column)
        if condition.op in {"is_null", "not_null"}:
            return f"{column} IS {'NOT ' if condition.op == 'not_null' else ''}NULL"
        values = [self._bind(place, index, condition) for index in range(len(condition.values))]
        if condition.op == "in":
            return f"{column} IN ({', '.join(values)})"
        if condition.op == "between":
            return f"{column} BETWEEN {values[0]} AND {values[1]}"
        return f"{column} {COMPARISONS[condition.op]} {values[0]}"

    def _bind(self, place: int, index: int, condition: Condition) -> str:
        """Bind a value; the SQL that stands for it, in the column's type."""
        name = f"__where_{place}_{index}"
        value, type_ = condition.values[index], self.types[condition.column]
        path = f"where[{place}].value" + (f"[{index}]" if isinstance(condition.value, tuple) else "")
        if condition.op == "like" and not TEXTUAL.fullmatch(type_):
            raise InvalidField(f"like is for texts; column {condition.column!r} is {type_}", field=f"where[{place}].op")
        if not self._fits(value, type_):
            raise InvalidField(f"column {condition.column!r} is {type_}, which {value!r} is not", field=path)
        self.params[name] = value
        if isinstance(value, str) and not TEXTUAL.fullmatch(type_):
            return f"CAST(${name} AS {'DECIMAL(38, 10)' if type_.startswith('DECIMAL') else type_})"
        return f"${name}"

    def _fits(self, value: Scalar, type_: str) -> bool:
        """Whether the value can be compared with a column of the type."""
        if type_ == NOTHING:
            return True
        if isinstance(value, int) and abs(value) >= WIDEST_INTEGER:
            return False
        if isinstance(value, bool):
            return type_ == "BOOLEAN"
        if isinstance(value, int | float):
            return bool(NUMERIC.fullmatch(type_))
        if TEXTUAL.fullmatch(type_):
            return True
        if not (NUMERIC.fullmatch(type_) or SCALAR.fullmatch(type_)):
            return False
        rows = self.cursor.sql(f"SELECT TRY_CAST($value AS {type_}) IS NOT NULL", params={"value": value}).fetchall()
        return bool(rows[0][0])


def translate(error: BaseException) -> SourceError:
    """DuckDB's error as one of ours; its text, which may hold SQL, paths or values, is for the log only."""
    text = str(error)
    if any(sign in text for sign in NO_ROOM):
        return SourceUnavailable("the query needs more room for its temporary files than there is", field="SPOOL_DIR")
    # Out of the Arrow stream every error of DuckDB's comes as one of the system's, with its kind in the text.
    if isinstance(error, UNREADABLE) or text.startswith("IO Error"):
        return SourceUnavailable("the dataset's data cannot be read; the log tells more")
    if isinstance(error, duckdb.OutOfMemoryException):
        return SourceError("the query needs more memory than DUCKDB_MEMORY_BYTES", field="DUCKDB_MEMORY_BYTES")
    return SourceError("the dataset's query failed; the log tells more")


def _first_rows(batches: Iterator[Any], limit: int | None) -> Iterator[Any]:
    """At most so many rows."""
    for batch in batches:
        if limit is None:
            yield batch
            continue
        yield batch.slice(0, limit)
        limit -= min(limit, len(batch))
        if limit == 0:
            return


def _translated(reader: Any) -> Iterator[Any]:
    """The reader's batches; its errors as ours. They come out of the Arrow stream as OSError with DuckDB's text."""
    try:
        yield from reader
    except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
        raise translate(error) from error


def _quoted(name: str) -> str:
    """An SQL identifier (ISO 9075-2 5.2)."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """An SQL character literal; for paths that the operator configured, which ATTACH and SET cannot bind."""
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
