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
from spark_export.sources.upload.content import PIECE_BYTES, Content, Decoded, SpoolFile
from spark_export.sources.upload.csv import CsvForm
from spark_export.sources.upload.isolated import IsolatedReading
from spark_export.sources.upload.parts import Parts, write_parts

BodyKind = Literal["ndjson", "csv", "arrow", "parquet"]

PARTS = "parts"
DECODED = "decoded"
"""Names of the files beside the body's."""


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
        isolated = IsolatedReading(stopped)
        calls = BlockingCalls(self._threads, isolated.stop)
        try:
            return await calls.run(lambda: self._write_parts(stopped, isolated))
        finally:
            await calls.close()

    def _write_parts(self, stopped: threading.Event, isolated: IsolatedReading) -> Parts:
        """In a thread."""
        form, path = self._form, self._body.with_name(PARTS)
        if form.kind in {"arrow", "parquet"}:
            return isolated.read(form.kind, self._decoded(stopped), path, form.most_bytes)
        try:
            parts = self._text_parts(stopped, path, csv.BLOCK_BYTES)
        except csv.RowTooLong:
            parts = self._text_parts(stopped, path, csv.LARGE_BLOCK_BYTES)
        trim()  # what reading took is not what other threads take from: a PDF of 1 GB of CSV had it on top
        if parts.rows == 0 and form.kind == "ndjson":
            schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(form.names or ())])
            return Parts(path, schema, 0)
        return parts

    def _text_parts(self, stopped: threading.Event, path: Path, block_bytes: int) -> Parts:
        with ExitStack() as files:
            return write_parts(self._batches(stopped, files, block_bytes), path)

    def _decoded(self, stopped: threading.Event) -> Path:
        """The body in a file without its coding."""
        if self._form.coding is None:
            return self._body
        path = self._body.with_name(DECODED)
        with closing(SpoolFile(self._body, stopped)) as file, path.open("wb") as out:
            content = Decoded(file, self._form.coding, self._form.most_bytes)
            while data := content.read(PIECE_BYTES):
                out.write(data)
        return path

    def _batches(self, stopped: threading.Event, files: ExitStack, block_bytes: int) -> Iterator[Any]:
        def content() -> Content:
            file = files.enter_context(closing(SpoolFile(self._body, stopped)))
            return file if self._form.coding is None else Decoded(file, self._form.coding, self._form.most_bytes)

        if self._form.kind == "csv":
            return csv.iter_batches(content(), self._form.csv, content, block_bytes)
        return ndjson.iter_batches(content(), self._form.names)
