"""What every writer keeps to: CSV and PDF."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from spark_export.errors import SourceError
from spark_export.model import CsvOptions, PdfOptions
from spark_export.text import Encoder
from spark_export.writers.base import Writer
from spark_export.writers.csv import CsvWriter, Dialect
from spark_export.writers.pdf import Imprint, PdfWriter
from spark_export.writers.pdf.faces import load_fonts

MADE_AT = dt.datetime(2026, 1, 5, 14, 3, tzinfo=dt.UTC)
BATCH_ROWS = 2000
FONTS = cache(load_fonts)
SCHEMA = pa.schema([("id", pa.int64()), ("note", pa.string()), ("price", pa.float64())])


@dataclass(frozen=True)
class Format:
    """A writer, how its files begin, and what only a whole file ends in."""

    make: Callable[[Any], Writer]
    start: bytes
    trailer: bytes | None


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for all tests of the module."""
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture(params=["csv", "pdf"])
def form(request: pytest.FixtureRequest, threads: ThreadPoolExecutor) -> Format:
    """One format after the other."""

    def make_csv(schema: Any) -> Writer:
        return CsvWriter(Encoder(schema), Dialect.from_options(CsvOptions()), threads)

    def make_pdf(schema: Any) -> Writer:
        imprint = Imprint(made_at=MADE_AT, title="T")
        return PdfWriter(Encoder(schema), PdfOptions(), imprint, fonts=FONTS, threads=threads)

    if request.param == "csv":
        return Format(make_csv, b"id,note,price\r\n", None)
    return Format(make_pdf, b"%PDF-", b"%%EOF\n")


def table(rows: int) -> Any:
    """Rows that differ, some of their values missing."""
    notes = [None if row % 7 == 0 else f"not {row} ğü" for row in range(rows)]
    return pa.table({"id": range(rows), "note": notes, "price": [row / 8 for row in range(rows)]}, schema=SCHEMA)


class Recorder:
    """A source that writes down when it is asked for each batch, and may fail in the end."""

    def __init__(self, rows: Any, batch_rows: int = BATCH_ROWS, failure: Exception | None = None) -> None:
        self.log: list[str] = []
        self.ended = False
        self._batches = rows.to_batches(max_chunksize=batch_rows)
        self._failure = failure

    async def batches(self) -> AsyncIterator[Any]:
        """The batches, each request for one written down."""
        try:
            for number, batch in enumerate(self._batches):
                self.log.append(f"asked for {number}")
                yield batch
            if self._failure is not None:
                raise self._failure
        finally:
            self.ended = True


def write(form: Format, source: Recorder) -> bytes:
    """The whole file of the source's batches."""

    async def collect() -> bytes:
        async with aclosing(form.make(SCHEMA).write(source.batches())) as chunks:
            return b"".join([bytes(chunk) async for chunk in chunks])

    return asyncio.run(collect())


@pytest.mark.parametrize("rows", [0, 1, 10, 2 * BATCH_ROWS + 1])
def test_whole_file(form: Format, rows: int) -> None:
    """A file of any number of rows begins and ends as its format does."""
    data = write(form, Recorder(table(rows)))
    assert data.startswith(form.start)
    assert form.trailer is None or data.endswith(form.trailer)


@pytest.mark.parametrize("batch_rows", [1, 7, 999, 1000, 1001, 10_000])
def test_batches_do_not_show(form: Format, batch_rows: int) -> None:
    """The bytes do not depend on how the rows are batched."""
    rows = table(3000)
    assert write(form, Recorder(rows, batch_rows)) == write(form, Recorder(rows, 3000))


def test_rows_show(form: Format) -> None:
    """Other rows make other bytes, and the same rows the same."""
    assert write(form, Recorder(table(10))) == write(form, Recorder(table(10)))
    assert write(form, Recorder(table(10))) != write(form, Recorder(table(9)))


def test_missing_values(form: Format) -> None:
    """Rows of missing values are rows."""
    empty = pa.table({name: pa.nulls(3, type_) for name, type_ in zip(SCHEMA.names, SCHEMA.types, strict=True)})
    assert write(form, Recorder(empty)) != write(form, Recorder(empty.slice(0, 2)))


def test_first_chunk_comes_first(form: Format) -> None:
    """The first chunk is out before the second batch is asked for, and holds the first batch's rows."""

    async def first() -> tuple[list[str], int]:
        source = Recorder(table(20 * BATCH_ROWS))
        async with aclosing(form.make(SCHEMA).write(source.batches())) as chunks:
            chunk = await anext(chunks)
            return list(source.log), len(chunk)

    log, size = asyncio.run(first())
    assert log == ["asked for 0"]
    assert size > 5000


def test_never_far_ahead(form: Format) -> None:
    """A writer asks for batches as its chunks are taken, and is a few batches ahead at most."""

    async def distances() -> list[int]:
        source = Recorder(table(20 * BATCH_ROWS))
        found = []
        async with aclosing(form.make(SCHEMA).write(source.batches())) as chunks:
            taken = 0
            async for _ in chunks:
                taken += 1
                found.append(len(source.log) - taken)
        return found

    assert max(asyncio.run(distances())) <= 5


def test_closed_early(form: Format) -> None:
    """A file that is closed after its first chunk has no trailer and asks for nothing more."""

    async def first_only() -> tuple[bytes, list[str], list[str]]:
        source = Recorder(table(20 * BATCH_ROWS))
        chunks = form.make(SCHEMA).write(source.batches())
        chunk = bytes(await anext(chunks))
        before = list(source.log)
        await chunks.aclose()
        return chunk, before, source.log

    chunk, before, after = asyncio.run(first_only())
    assert before == after
    assert form.trailer is None or form.trailer.strip() not in chunk


@pytest.mark.parametrize("rows", [0, BATCH_ROWS, 5 * BATCH_ROWS])
def test_source_fails(form: Format, rows: int) -> None:
    """A source's failure comes out of the writer as it is, and what came before has no trailer."""
    made: list[bytes] = []
    failure = SourceError("gone")
    source = Recorder(table(rows), failure=failure)

    async def collect() -> None:
        async with aclosing(form.make(SCHEMA).write(source.batches())) as chunks:
            async for chunk in chunks:
                made.append(bytes(chunk))  # noqa: PERF401 - what came before the failure is wanted

    with pytest.raises(SourceError) as caught:
        asyncio.run(collect())
    assert caught.value is failure
    assert source.ended
    assert form.trailer is None or form.trailer.strip() not in b"".join(made)


def test_cancelled(form: Format) -> None:
    """Cancelling a writer after any number of turns of the loop ends it with the cancellation."""

    async def cancel_after(turns: int) -> None:
        source = Recorder(table(20 * BATCH_ROWS))

        async def writes() -> None:
            async with aclosing(form.make(SCHEMA).write(source.batches())) as chunks:
                async for _ in chunks:
                    pass

        task = asyncio.create_task(writes())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for turns in (1, 2, 5):
        asyncio.run(cancel_after(turns))
