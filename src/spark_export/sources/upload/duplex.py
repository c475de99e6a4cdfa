"""A body as a table while it still comes: nothing is spooled, and what the first 64 KiB show decides the columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from spark_export.errors import InvalidField, MalformedBody
from spark_export.sources.base import BlockingCalls, Source, open_iterator
from spark_export.sources.jsonrows import Joined, converted
from spark_export.sources.selection import Selection
from spark_export.sources.upload import csv, ndjson
from spark_export.sources.upload.content import Content, Decoded
from spark_export.sources.upload.pipe import Pipe
from spark_export.sources.upload.table import BodyForm

BLOCK_BYTES = 2**16
"""Of what is read at once: so much is waited for before the first row goes out, and no row of a CSV is longer."""


class DuplexTable:
    """The rows of a body that is on its way. Opened once.

    Args:
        pipe: the body.
        form: what it is said to be: NDJSON or CSV.
        threads: where it is read.
    """

    def __init__(self, pipe: Pipe, form: BodyForm, threads: Executor) -> None:
        self._pipe = pipe
        self._form = form
        self._threads = threads

    @asynccontextmanager
    async def open(self, selection: Selection) -> AsyncIterator[Source]:
        """The selected rows.

        Raises:
            MalformedBody: the body's beginning is not what it is said to be; the rest raises while it is read.
            InvalidField: the selection does not fit, or compares rows.
        """
        if selection.needs_engine:
            raise InvalidField("where and order_by take a body that is whole", field="duplex")
        calls = BlockingCalls(self._threads, self._pipe.stop)
        try:
            schema, batches = await calls.run(self._begin)
        except BaseException:
            await calls.close()
            raise
        async with self._select(schema, batches, selection) as source:
            yield source

    def _select(self, schema: Any, batches: Iterator[Any], selection: Selection) -> AbstractAsyncContextManager[Source]:
        if not len(schema):
            selection = Selection()
        return open_iterator(schema, batches, selection, None, self._threads, self._pipe.stop)

    def _begin(self) -> tuple[Any, Iterator[Any]]:
        """In a thread."""
        batches, joined = self._batches(), Joined()
        first = list(islice(batches, 2 if self._form.kind == "csv" else 1))
        for batch in first:
            joined.add(dict(zip(batch.schema.names, batch.columns, strict=True)))
        if not first:
            return pa.schema([(name, pa.string()) for name in dict.fromkeys(self._form.names or ())]), iter(())
        schema = pa.schema([(field.name, _known(field.type)) for field in joined.schema()])
        return schema, (_fitted(batch, schema) for batch in chain(first, batches))

    def _batches(self) -> Iterator[Any]:
        content: Content = self._pipe
        if self._form.coding is not None:
            content = Decoded(content, self._form.coding, self._form.most_bytes)
        if self._form.kind == "csv":
            return csv.iter_batches(content, self._form.csv, None, BLOCK_BYTES)
        return ndjson.iter_batches(content, self._form.names, BLOCK_BYTES)


def _known(type_: Any) -> Any:
    """A type for a column of which no value has come: text, which any value has."""
    return pa.string() if pa.types.is_null(type_) else type_


def _fitted(batch: Any, schema: Any) -> Any:
    """The batch in the columns that the beginning showed.

    Raises:
        MalformedBody: it has others, or values that these do not hold.
    """
    if late := [name for name in batch.schema.names if name not in schema.names]:
        raise MalformedBody(f"with duplex every key is among the first {BLOCK_BYTES} bytes; {late[0]!r} came later")
    return pa.RecordBatch.from_arrays([_column(batch, field) for field in schema], schema=schema)


def _column(batch: Any, field: Any) -> Any:
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    try:
        return converted(batch.column(field.name), field.type)
    except pa.ArrowInvalid:
        detail = f"with duplex the first {BLOCK_BYTES} bytes decide: column {field.name!r} is {field.type}"
        raise MalformedBody(f"{detail}, and a later value is none") from None
