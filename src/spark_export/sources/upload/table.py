"""A spooled body as a table: read through once, checked to its last byte, before its first row is handed on."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from spark_export.memory import trim
from spark_export.sources.base import ArrowQueries, BlockingCalls, Source, open_iterator
from spark_export.sources.selection import Selection
from spark_export.sources.upload import csv, ndjson
from spark_export.sources.upload.content import Content, Decoded, SpoolFile
from spark_export.sources.upload.csv import CsvForm
from spark_export.sources.upload.parts import Parts, write_parts

BodyKind = Literal["ndjson", "csv", "arrow", "parquet"]

PARTS = "parts"
"""Name of the file beside the body's."""


@dataclass(frozen=True)
class BodyForm:
    """What a body is said to be.

    Attributes:
        kind: of its rows.
        coding: content coding, None for none.
        names: of the columns, where rows are arrays.
        csv: how a CSV is written.
        most_bytes: of the body without its coding, None for any number.
    """

    kind: BodyKind
    coding: str | None = None
    names: tuple[str, ...] | None = None
    csv: CsvForm = field(default_factory=CsvForm)
    most_bytes: int | None = None


class UploadTable:
    """The rows of a body in a file.

    Args:
        body: the file, in a folder of its own, which its maker removes.
        form: what it is said to be.
        threads: where it is read.
        engine: filters and sorts.
    """

    def __init__(self, body: Path, form: BodyForm, threads: Executor, engine: ArrowQueries) -> None:
        self._body = body
        self._form = form
        self._threads = threads
        self._engine = engine
        self._parts: Parts | None = None

    @asynccontextmanager
    async def open(self, selection: Selection) -> AsyncIterator[Source]:
        """The selected rows.

        Raises:
            MalformedBody: the body is not what it is said to be, with the line or the byte.
            BodyTooLarge: there is more in it than may be.
            InvalidField: the selection, or a column's type, does not fit.
        """
        if self._parts is None:
            self._parts = await self._read()
        async with self._select(self._parts, selection) as source:
            yield source

    def _select(self, parts: Parts, selection: Selection) -> AbstractAsyncContextManager[Source]:
        if not len(parts.schema):  # no row, and so no column
            selection = Selection()
        if selection.needs_engine:
            return self._engine.open_arrow(parts.schema, parts.batches(), selection)
        return open_iterator(parts.schema, parts.batches(), selection, parts.rows, self._threads)

    async def _read(self) -> Parts:
        stopped = threading.Event()
        calls = BlockingCalls(self._threads, stopped.set)
        try:
            return await calls.run(lambda: self._write_parts(stopped))
        finally:
            await calls.close()

    def _write_parts(self, stopped: threading.Event) -> Parts:
        """In a thread."""
        with ExitStack() as files:
            parts = write_parts(self._batches(stopped, files), self._body.with_name(PARTS))
        trim()  # what reading took is not what other threads take from: a PDF of 1 GB of CSV had it on top
        if parts.rows == 0 and self._form.kind == "ndjson":
            schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(self._form.names or ())])
            return Parts(parts.path, schema, 0)
        return parts

    def _batches(self, stopped: threading.Event, files: ExitStack) -> Iterator[Any]:
        def content() -> Content:
            file = files.enter_context(closing(SpoolFile(self._body, stopped)))
            return file if self._form.coding is None else Decoded(file, self._form.coding, self._form.most_bytes)

        if self._form.kind == "csv":
            return csv.iter_batches(content(), self._form.csv, content)
        return ndjson.iter_batches(content(), self._form.names)
