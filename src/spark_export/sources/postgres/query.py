"""One statement on its way through PostgreSQL: its values made literals, described, filtered, opened, read.

COPY, which alone streams, takes no bound parameters. So every value of a client goes to the server once as a bound
parameter of `quote_literal`, and the literal that comes back, with an explicit type around it, is what stands in the
statement: nothing here makes SQL of a text. Names are checked against the statement's columns and never sent: columns
go by `c0`, `c1`, ….
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from spark_export.errors import ExportError, InvalidField
from spark_export.model import Condition, Scalar
from spark_export.sources.postgres.columns import COMPARED, FLOATS, NUMBERS, Column, columns_of, mended
from spark_export.sources.postgres.failures import is_about_values, translated
from spark_export.sources.postgres.pool import Connection, Pool, Stream, quoted_literals
from spark_export.sources.postgres.template import Template
from spark_export.sources.selection import Selection

BATCH_ROWS = 16_384
MOST_INTEGER = 2**63 - 1
WIDEST_INTEGER = 2**127
INTEGER = re.compile(r"\s*[-+]?[0-9]{1,18}\s*", re.ASCII)
COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
RANGES = frozenset({"lt", "le", "gt", "ge", "between"})

PARAMETER_TYPES = {"text": None, "integer": "int8", "number": "float8", "decimal": "numeric", "boolean": "bool",
                   "date": "date"}  # fmt: skip
"""What a parameter of each type is in the statement; a text is whatever it stands beside, as a literal is."""

SESSION = (
    "BEGIN READ ONLY",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, MDY'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL standard_conforming_strings = on",
)
"""What decides how values read; in the transaction alone, for the sake of poolers that hand connections around."""


@dataclass(frozen=True)
class Bound:
    """A dataset's statement with its parameters' values."""

    template: Template
    types: Mapping[str, str]
    values: Mapping[str, Any]
    timeout_seconds: float | None


@dataclass(eq=False)
class Query:
    """One statement on its way. Runs in a thread, but for `interrupt`."""

    pool: Pool
    bound: Bound
    selection: Selection
    columns: dict[str, Column] = field(default_factory=dict)
    connection: Connection | None = None
    stream: Stream | None = None
    is_wanted: bool = True
    is_done: bool = False
    """Whether the connection waits for another statement."""
    is_cancelled: bool = False
    """Whether the server was told to give up: that may come late, and hit what the connection does next."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _canceller: threading.Thread | None = None

    def open(self) -> tuple[Any, Iterator[Any]]:
        """The schema and the batches of the selected rows."""
        from adbc_driver_manager import Error

        try:
            return self._open()
        except ExportError:
            self.is_done = True  # nothing was begun, or all of it has ended
            raise
        except Error as error:
            raise translated(error) from error

    def interrupt(self) -> None:
        """Make a running call return soon; a thread tells the server, since the network may take its time."""
        with self._lock:
            self.is_wanted = False
            idle = self._canceller is None or not self._canceller.is_alive()
            if self.connection is not None and not self.is_done and idle:
                self.is_cancelled = True
                self._canceller = threading.Thread(target=self.connection.cancel, daemon=True)
                self._canceller.start()

    def close(self) -> None:
        """Give up what is unread, and the connection back."""
        with self._lock:
            connection, self.connection = self.connection, None
            usable = self.is_done and not self.is_cancelled
        if connection is None:
            return
        if self._canceller is not None:
            self._canceller.join()
        elif not usable:
            connection.cancel()
        if self.stream is not None:
            self.stream.close()
        self.pool.give(connection, is_usable=usable and _is_rolled_back(connection))

    def _open(self) -> tuple[Any, Iterator[Any]]:
        connection = self.pool.take(self._session(), lambda: self.is_wanted)
        with self._lock:
            self.connection = connection
        rows = f"({self._statement(connection)}\n)"
        described = self._described(connection, f"SELECT * FROM {rows} AS t")  # noqa: S608 - the operator's SQL
        self.columns = {column.name: column for column in columns_of(described)}
        self.selection.check(tuple(self.columns))
        selected = [self.columns[name] for name in self.selection.columns_of(tuple(self.columns))]
        schema = pa.schema([(column.name, column.type) for column in selected])
        sql = self._select(connection, rows, selected)
        if self.selection.limit == 0:
            self.is_done = True
            return schema, iter(())
        self.stream = connection.stream(sql)
        return schema, self._batches(self.stream, schema)

    def _described(self, connection: Connection, sql: str) -> Any:
        """The schema of a statement.

        Raises:
            InvalidField: a parameter's text, whose type is that of where it stands, does not read as one.
        """
        from adbc_driver_manager import Error

        try:
            return connection.schema(sql)
        except Error as error:
            if is_about_values(error) and "text" in self.bound.types.values():
                raise InvalidField(
                    "a text among the parameters does not read as what it stands for", field="params"
                ) from error
            raise

    def _batches(self, stream: Stream, schema: Any) -> Iterator[Any]:
        from adbc_driver_manager import Error

        try:
            while (batch := stream.next()) is not None:
                arrays = [mended(values, each.type) for values, each in zip(batch.columns, schema, strict=True)]
                made = pa.RecordBatch.from_arrays(arrays, schema=schema)
                for start in range(0, len(made), BATCH_ROWS):
                    yield made.slice(start, BATCH_ROWS)
        except Error as error:
            raise translated(error) from error
        with self._lock:
            self.is_done = True

    def _session(self) -> str:
        seconds = self.bound.timeout_seconds
        limit = () if seconds is None else (f"SET LOCAL statement_timeout = {max(1, math.ceil(seconds * 1000))}",)
        return "; ".join((*SESSION, *limit))

    def _statement(self, connection: Connection) -> str:
        """The operator's SQL with its parameters' values."""
        bound = self.bound
        present = {name: value for name, value in bound.values.items() if value is not None}
        texts = [_sendable(_text(value), f"params.{name}") for name, value in present.items()]
        literals = dict(zip(present, quoted_literals(connection, texts), strict=True))
        return bound.template.fill(lambda name: _cast(literals.get(name, "NULL"), self._parameter_type(name)))

    def _parameter_type(self, name: str) -> str | None:
        value, type_ = self.bound.values[name], self.bound.types[name]
        if isinstance(value, dt.datetime):
            return "timestamptz" if value.tzinfo is not None else "timestamp"
        if isinstance(value, int) and abs(value) > MOST_INTEGER:
            return "numeric"
        return "timestamp" if type_ == "timestamp" else PARAMETER_TYPES[type_]

    def _select(self, connection: Connection, rows: str, selected: Sequence[Column]) -> str:
        selection = self.selection
        aliases = ", ".join(column.alias for column in self.columns.values())
        parts = [f"SELECT {', '.join(column.selected() for column in selected)} FROM {rows} AS t ({aliases})"]  # noqa: S608
        if selection.where:
            wanted = [self._wanted(connection, place, each) for place, each in enumerate(selection.where)]
            literals = iter(quoted_literals(connection, [text for each in wanted for text, _ in each]))
            conditions = [
                _condition(self.columns[each.column], each, [_cast(next(literals), type_) for _, type_ in values])
                for each, values in zip(selection.where, wanted, strict=True)
            ]
            parts.append(f"WHERE {' AND '.join(conditions)}")
        if selection.order_by:
            order = [f"{self.columns[name].sorted()} {'DESC' if down else 'ASC'} NULLS LAST"
                     for name, down in selection.order_by]  # fmt: skip
            parts.append(f"ORDER BY {', '.join(order)}")
        if selection.limit is not None:
            parts.append(f"LIMIT {min(selection.limit, MOST_INTEGER):d}")
        return "\n".join(parts)

    def _wanted(self, connection: Connection, place: int, condition: Condition) -> list[tuple[str, str | None]]:
        """The text and the type of each value of a condition.

        Raises:
            InvalidField: the column's type has no such value, or no such operator.
        """
        column = self.columns[condition.column]
        if condition.op == "like" and not column.is_text and column.type_name != "uuid":
            detail = f"like is for texts; column {condition.column!r} is {column.type_name}"
            raise InvalidField(detail, field=f"where[{place}].op")
        paths = [f"where[{place}].value" + (f"[{index}]" if isinstance(condition.value, tuple) else "")
                 for index in range(len(condition.values))]  # fmt: skip
        is_pattern = condition.op == "like"
        found = []
        for value, path in zip(condition.values, paths, strict=True):
            if not _fits(value, column):
                raise _misfit(condition, column, value, path)
            found.append((_sendable(_text(value), path), None if is_pattern else _type_for(value, column)))
        types = dict.fromkeys(type_ for (_, type_), value in zip(found, condition.values, strict=True)
                              if isinstance(value, str) and type_ is not None)  # fmt: skip
        for type_ in types:
            places = [index for index, (_, each) in enumerate(found) if each == type_]
            if (odd := _first_unreadable(connection, [found[index][0] for index in places], type_)) is not None:
                raise _misfit(condition, column, condition.values[places[odd]], paths[places[odd]])
        return found


def _is_rolled_back(connection: Connection) -> bool:
    from adbc_driver_manager import Error

    try:
        connection.run("ROLLBACK")
    except Error:
        return False
    return True


def _condition(column: Column, condition: Condition, values: Sequence[str]) -> str:
    op = condition.op
    if op in {"is_null", "not_null"}:
        return column.missing() if op == "is_null" else f"NOT ({column.missing()})"
    left = f"({column.text()})" if column.is_text or op == "like" else column.alias
    if column.is_text and op in RANGES:
        left += ' COLLATE "C"'
    if op == "in":
        return f"{left} IN ({', '.join(values)})" if values else "FALSE"
    if op == "between":
        return f"{left} BETWEEN {values[0]} AND {values[1]}"
    if op == "like":
        return f"{left} LIKE {values[0]} ESCAPE ''"
    return f"{left} {COMPARISONS[op]} {values[0]}"


def _fits(value: Scalar, column: Column) -> bool:
    """Whether the value's type can be compared with the column's; a text's reading is the server's to judge."""
    if isinstance(value, str):
        return True
    if isinstance(value, bool):
        return column.type_name == "bool"
    return column.type_name in NUMBERS and not (isinstance(value, int) and abs(value) >= WIDEST_INTEGER)


def _type_for(value: Scalar, column: Column) -> str | None:
    """The type that a value is given beside a column: one that loses nothing, and lets an index be used."""
    if column.type_name in COMPARED:
        return column.type_name
    if column.type_name not in NUMBERS:
        return None
    if column.type_name in FLOATS or (isinstance(value, float) and not math.isfinite(value)):
        return "float8"
    is_small = isinstance(value, int) and abs(value) <= MOST_INTEGER
    return "int8" if is_small or (isinstance(value, str) and INTEGER.fullmatch(value)) else "numeric"


def _cast(literal: str, type_: str | None) -> str:
    if type_ is None:
        return literal
    # An offset counts: PostgreSQL would drop it without a word.
    within = "timestamptz" if type_ == "timestamp" else type_
    made = f"CAST({literal} AS pg_catalog.{within})"
    return f"CAST({made} AS pg_catalog.timestamp)" if type_ == "timestamp" else made


def _first_unreadable(connection: Connection, texts: Sequence[str], type_: str) -> int | None:
    """Place of the first text that does not read as one of the type, None where all do; found by halves."""
    from adbc_driver_manager import Error

    expression = _cast("v", type_)
    sql = f"SELECT count({expression}) FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS e (v)"  # noqa: S608
    connection.run("SAVEPOINT reading")
    try:
        connection.rows(sql, json.dumps(list(texts)))
    except Error as error:
        if not is_about_values(error):
            raise
        connection.run("ROLLBACK TO reading")
    else:
        return None
    if len(texts) == 1:
        return 0
    half = len(texts) // 2
    first = _first_unreadable(connection, texts[:half], type_)
    if first is not None:
        return first
    second = _first_unreadable(connection, texts[half:], type_)
    return None if second is None else half + second


def _misfit(condition: Condition, column: Column, value: Scalar, path: str) -> InvalidField:
    return InvalidField(f"column {condition.column!r} is {column.type_name}, which {value!r} is not", field=path)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _sendable(text: str, path: str) -> str:
    """The text, if PostgreSQL can hold it.

    Raises:
        InvalidField: it cannot.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidField("PostgreSQL holds no text with a NUL or half a surrogate pair", field=path)
    return text
