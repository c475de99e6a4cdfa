"""One statement on its way through the embedded engine: bound to its columns, filtered, opened, read.

No text of a client becomes SQL: names are checked against the schema and quoted, values are bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from spark_export.errors import ExportError, InvalidField, SourceError, SourceUnavailable
from spark_export.model import Condition, Scalar
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

COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "like": "LIKE"}
NUMERIC = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|BIGNUM)")
TEXTUAL = re.compile(r'(VARCHAR|ENUM.*|UUID|JSON|"NULL")')
NOTHING = '"NULL"'
"""Type of a column without a value: any comparison with it is fine, and finds no row."""
WIDEST_INTEGER = 2**127
SCALAR = re.compile(r"(BOOLEAN|DATE|TIME.*|INTERVAL)")
WITHOUT_ARROW = re.compile(r"(BIT|BIGNUM|TIME WITH TIME ZONE|UNION.*)")
"""Types that DuckDB hands to Arrow as opaque bytes, without their zone, or as unions: read as text instead."""


@dataclass(eq=False)
class Query:
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
            self.cursor.execute(f"USE {quoted(self.database)}")
        relation = self.cursor.sql(f"SELECT * FROM {self.table}", params=self.params)  # noqa: S608 - the operator's SQL
        names = self.names or relation.columns
        self.types = dict(zip(names, map(str, relation.types), strict=True))
        self.sql_names = dict(zip(names, relation.columns, strict=True))
        self.selection.check(names)
        # Kept, so that no thread whose caller has left drops the last reference: that would wait for the query.
        self.reader = self.cursor.sql(self._statement(), params=self.params).to_arrow_reader(BATCH_ROWS)
        batches = translated(self.reader)
        if self.names is None:
            return self.reader.schema, batches
        selected = zip(self.reader.schema, self.selection.columns_of(names), strict=True)
        schema = pa.schema([placed.with_name(name) for placed, name in selected])
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
        return quoted(self.sql_names[name])

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


def first_rows(batches: Iterator[Any], limit: int | None) -> Iterator[Any]:
    """At most so many rows."""
    for batch in batches:
        if limit is None:
            yield batch
            continue
        yield batch.slice(0, limit)
        limit -= min(limit, len(batch))
        if limit == 0:
            return


def translated(reader: Any) -> Iterator[Any]:
    """The reader's batches; its errors as ours. They come out of the Arrow stream as OSError with DuckDB's text."""
    try:
        yield from reader
    except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
        raise translate(error) from error


def quoted(name: str) -> str:
    """An SQL identifier (ISO 9075-2 5.2)."""
    return '"' + name.replace('"', '""') + '"'
