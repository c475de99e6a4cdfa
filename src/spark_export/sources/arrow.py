"""Files in a folder or an object store as one table: a dataset of `engine = "arrow"`.

Files are listed whenever an export begins, so new ones are there at once. Of each new file the schema is read, sixteen
at a time, and kept while the file stays as it is. Columns are joined by name; one that a file lacks is null there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from spark_export.sources.base import ArrowQueries, BlockingCalls, Source, Table, open_iterator
from spark_export.sources.files import Kind, aligned
from spark_export.sources.parameters import Parameter, ParameterType, bind
from spark_export.sources.pushdown import expression_of
from spark_export.sources.selection import Selection
from spark_export.sources.stores import File, ReadAhead, Store, StoreCalls

TOGETHER = 16
"""Files whose schemas are read at once."""

TYPES: dict[ParameterType, Any] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "decimal": pa.decimal128(38, 10),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
"""A folder's value that loses nothing as an integer; `01` is a text."""


@dataclass(frozen=True)
class Member:
    """A file of the table.

    Attributes:
        file: where it is.
        schema: its own.
        rows: how many it has, None where nobody knows.
        partition: values in the names of its folders, as texts.
    """

    file: File
    schema: Any
    rows: int | None
    partition: Mapping[str, str | None]


@dataclass(frozen=True)
class Survey:
    """All files of the table, as they were listed.

    Attributes:
        members: by name.
        schema: of the table.
        filesystem: of the files.
    """

    members: Sequence[Member]
    schema: Any
    filesystem: Any

    @property
    def total_rows(self) -> int | None:
        """Of all files, None where one does not say."""
        rows = [member.rows for member in self.members]
        return None if None in rows else sum(filter(None, rows))


@dataclass(frozen=True)
class ArrowDataset:
    """Files as a dataset.

    Attributes:
        kind: how they are written.
        hive: whether `name=value` in a folder's name is a column.
        types: of columns, by name, where texts are to be read as something else; such a column is always there.
        engine: filters and sorts.
        readers: threads that wait for batches.
        threads: that the store's calls run in.
    """

    name: str
    description: str
    store: Store
    kind: Kind
    hive: bool
    types: Mapping[str, ParameterType]
    engine: ArrowQueries
    readers: Executor
    threads: Executor
    parameters: Sequence[Parameter] = ()
    _known: dict[str, tuple[File, Any, int | None]] = field(default_factory=dict)
    _schemas: dict[Any, Any] = field(default_factory=dict)

    def table(self, params: Mapping[str, Any]) -> Table:
        """The files; there are no parameters."""
        bind(self.parameters, params)
        return _ArrowTable(self)

    def survey(self, calls: StoreCalls) -> Survey:
        """The files there are now. Runs in a thread.

        Raises:
            SourceUnavailable: there are none, or one of them or the store cannot be read.
        """
        filesystem = calls.run(lambda: self.store.filesystem)
        files = calls.run(self.store.files)
        known = self._known
        new = [file for file in files if file.path not in known or known[file.path][0] != file]
        found = dict(zip([file.path for file in new], self._inspect(filesystem, new, calls), strict=True))
        kept = {file.path: found.get(file.path) or known[file.path] for file in files}
        known.clear()
        known.update(kept)
        members = [Member(*kept[file.path], self._partition_of(file)) for file in files]
        return Survey(members, calls.run(lambda: self._schema_of(members)), filesystem)

    def _inspect(
        self, filesystem: Any, files: Sequence[File], calls: StoreCalls
    ) -> Iterator[tuple[File, Any, int | None]]:
        for start in range(0, len(files), TOGETHER):
            some = files[start : start + TOGETHER]
            begun = [calls.start(partial(self.kind.inspect, filesystem, file)) for file in some]
            for file, call in zip(some, begun, strict=True):
                schema, rows = calls.result(call)
                yield file, self._schemas.setdefault(schema, schema), rows

    def _partition_of(self, file: File) -> dict[str, str | None]:
        pairs = [part.partition("=") for part in file.inside.split("/")[:-1] if self.hive and "=" in part]
        return {unquote(name): None if value == NULL_PARTITION else unquote(value) for name, _, value in pairs}

    def _schema_of(self, members: Sequence[Member]) -> Any:
        """The schema of all files together.

        Raises:
            OSError, ValueError: there is none: no file, or no column.
            pyarrow.ArrowException: a column has types that do not join.
        """
        if not members:
            raise FileNotFoundError(f"no files in {self.store.url}")
        unique = list({id(member.schema): member.schema for member in members}.values())
        plain = [pa.schema([each.with_type(_plain(each.type)) for each in schema]) for schema in unique]
        fields = {each.name: each.type for each in pa.unify_schemas(plain, promote_options="permissive")}
        for name in dict.fromkeys(name for member in members for name in member.partition):
            fields[name] = _type_of({member.partition.get(name) for member in members})
        fields |= {name: TYPES[type_] for name, type_ in self.types.items()}
        if not fields:
            raise ValueError(f"no columns in {self.store.url}")
        return pa.schema(list(fields.items()))


def _plain(type_: Any) -> Any:
    """The type without metadata of files, which would make equal columns differ; of a dictionary that of its values."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _type_of(values: set[str | None]) -> Any:
    """The type of a partition: integers where every one of them is written as one, else text."""
    return pa.int64() if all(INTEGER.fullmatch(value) for value in values if value is not None) else pa.string()


@dataclass(frozen=True)
class _ArrowTable:
    dataset: ArrowDataset

    @asynccontextmanager
    async def open(self, selection: Selection) -> AsyncIterator[Source]:
        """The selected rows."""
        dataset = self.dataset
        store = StoreCalls(dataset.threads)
        calls = BlockingCalls(dataset.readers, store.let_go)
        rows: ReadAhead | None = None
        try:
            survey = await calls.run(lambda: dataset.survey(store))
            selection.check(survey.schema.names)
            narrowed = replace(selection, columns=selection.columns_of(survey.schema.names), visible=None)
            rows = ReadAhead(_iter_rows(dataset.kind, survey, narrowed), store)
            with store.telling_failure():
                async with self._select(survey, rows, narrowed, store) as source:
                    yield _Telling(source, store)
        finally:
            await calls.close(store.close if rows is None else rows.close)

    def _select(
        self, survey: Survey, rows: ReadAhead, selection: Selection, store: StoreCalls
    ) -> AbstractAsyncContextManager[Source]:
        schema = _needed(survey.schema, selection)
        if selection.needs_engine:
            return self.dataset.engine.open_arrow(schema, rows, selection, store.let_go)
        return open_iterator(schema, rows, selection, survey.total_rows, self.dataset.readers, store.let_go)


class _Telling:
    """The source, with the store's own failures in the place of what an engine makes of them."""

    def __init__(self, source: Source, store: StoreCalls) -> None:
        self.schema = source.schema
        self.total_rows = source.total_rows
        self._source = source
        self._store = store

    async def batches(self) -> AsyncGenerator[Any, None]:
        with self._store.telling_failure():
            async with aclosing(self._source.batches()) as batches:
                async for batch in batches:
                    yield batch


def _needed(schema: Any, selection: Selection) -> Any:
    """The columns that the selection reads, looks at or sorts by."""
    names = [*(selection.columns or ()), *(each.column for each in selection.where)]
    wanted = {*names, *(name for name, _ in selection.order_by)}
    return pa.schema([each for each in schema if each.name in wanted])


def _iter_rows(kind: Kind, survey: Survey, selection: Selection) -> Iterator[Any]:
    """The needed columns of all rows that may fit, file by file. Runs in a store's threads."""
    schema = _needed(survey.schema, selection)
    for member in survey.members:
        constants = {name: _constant(value, survey.schema.field(name)) for name, value in member.partition.items()}
        if not _may_fit(constants, selection):
            continue
        columns = [name for name in schema.names if name in member.schema.names and name not in constants]
        own = pa.schema([each for each in member.schema if each.name in columns and each in survey.schema])
        reading = kind.iter_batches(
            survey.filesystem, member.file, survey.schema, columns, expression_of(selection.where, own)
        )
        for batch in reading:
            yield aligned(batch, schema, constants)


def _constant(value: str | None, field: Any) -> Any:
    """A partition's value in its column's type."""
    return pa.scalar(value, pa.string()).cast(field.type)


def _may_fit(constants: Mapping[str, Any], selection: Selection) -> bool:
    """Whether a row with these values may be selected."""
    row = pa.table({name: pa.array([value.as_py()], value.type) for name, value in constants.items()})
    expression = expression_of(selection.where, row.schema)
    return expression is None or len(row.filter(expression)) > 0
