"""One export from admission to its last byte, over a source and a writer made of lists."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
import pytest

from spark_export.access import Caller
from spark_export.admission.bucket import Rate, RateLimiter
from spark_export.admission.gate import Gate
from spark_export.errors import (
    DeadlineExceeded,
    ExportError,
    InvalidField,
    QueueFull,
    RateLimited,
    RowLimitExceeded,
    SourceError,
)
from spark_export.export import Clocks, Plan
from spark_export.model import CsvOptions, ExportRequest, Format
from spark_export.outcome import Outcome, State
from spark_export.pipeline import Exporter
from spark_export.sources.selection import Selection
from spark_export.text import Encoder
from spark_export.writers.csv import CsvWriter, Dialect

SCHEMA = pa.schema([("x", pa.int64())])


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for all tests of the module."""
    with ThreadPoolExecutor(2) as made:
        yield made


@dataclass
class ListTable:
    """A table of batches; it may fail at its end, or never come to one."""

    sizes: tuple[int, ...] = (3,)
    failure: Exception | None = None
    hangs: bool = False
    total_rows: int | None = None
    schema: Any = SCHEMA
    open_now: int = 0
    read: int = 0

    @asynccontextmanager
    async def open(self, selection: Selection) -> AsyncIterator[ListTable]:  # noqa: ARG002
        """Itself."""
        self.open_now += 1
        try:
            yield self
        finally:
            self.open_now -= 1

    async def batches(self) -> AsyncGenerator[Any, None]:
        """Batches of those sizes."""
        for size in self.sizes:
            self.read += 1
            await asyncio.sleep(0)
            yield pa.record_batch([pa.array(range(size), pa.int64())], schema=SCHEMA)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.failure is not None:
            raise self.failure


@dataclass
class Desk:
    """An exporter, what it told, and the gate that it goes through."""

    threads: ThreadPoolExecutor
    limiter: RateLimiter = field(default_factory=lambda: RateLimiter(None))
    gate: Gate = field(default_factory=lambda: Gate(1, 0, 1.0, lambda: 0.0))
    max_rows: int | None = None
    timeout_seconds: float | None = None
    caller: Caller = field(default_factory=lambda: Caller("me"))
    outcomes: list[Outcome] = field(default_factory=list)
    bytes_told: int = 0
    announced: bool | None = None

    def wrote(self, file_format: Format, sent_bytes: int) -> None:  # noqa: ARG002
        """Add them up."""
        self.bytes_told += sent_bytes

    def finished(self, outcome: Outcome) -> None:
        """Keep it."""
        self.outcomes.append(outcome)

    def exporter(self) -> Exporter:
        """An exporter of these parts."""

        def make_writer(plan: Plan, schema: Any) -> CsvWriter:  # noqa: ARG001
            return CsvWriter(Encoder(schema), Dialect.from_options(CsvOptions()), self.threads)

        return Exporter(
            limiter=self.limiter, gate=self.gate, make_writer=make_writer, observer=self, threads=self.threads,
            max_rows=self.max_rows, timeout_seconds=self.timeout_seconds, clocks=Clocks(lambda: 5.0, lambda: 1e9),
        )  # fmt: skip

    async def export(
        self,
        table: ListTable,
        most_chunks: int | None = None,
        coding: str | None = None,
        on_limit: Literal["fail", "truncate"] = "fail",
        counted: ListTable | None = None,
    ) -> bytes:
        """The export's bytes, or those of its first chunks; `counted` is what a second reading finds."""
        tables = iter([table, counted or table])
        request = ExportRequest(dataset="d", on_limit=on_limit)
        plan = Plan("e1", "r1", self.caller, request, Format.CSV, lambda: next(tables), coding)
        data = b""
        async with self.exporter().open(plan) as export:
            self.announced = export.truncated
            taken = 0
            async for chunk in export.body:
                data += bytes(chunk)
                taken += 1
                if taken == most_chunks:
                    raise asyncio.CancelledError
        return data

    def run(self, table: ListTable, **options: Any) -> bytes:
        """The same, with a loop, and nothing held afterwards."""
        try:
            return asyncio.run(self.export(table, **options))
        finally:
            assert (self.gate.running, self.gate.waiting, table.open_now) == (0, 0, 0)
            assert len(self.outcomes) == 1


def test_completed(threads: ThreadPoolExecutor) -> None:
    """A whole export's outcome counts its rows and bytes, and has the digest of the very file."""
    desk = Desk(threads)
    data = desk.run(ListTable((2, 1)))
    assert data == b"x\r\n0\r\n1\r\n0\r\n"
    (outcome,) = desk.outcomes
    assert (outcome.state, outcome.rows, outcome.bytes, outcome.sent_bytes) == (State.COMPLETED, 3, 12, 12)
    assert outcome.sha256 == hashlib.sha256(data).hexdigest()
    assert (outcome.reason, outcome.detail, desk.bytes_told) == (None, None, 12)


def test_coded(threads: ThreadPoolExecutor) -> None:
    """Under a content coding the file's bytes and digest are those before it, the sent bytes those after it."""
    desk = Desk(threads)
    data = desk.run(ListTable((1000,)), coding="gzip")
    (outcome,) = desk.outcomes
    file = b"x\r\n" + b"".join(b"%d\r\n" % number for number in range(1000))
    assert (outcome.bytes, outcome.sha256) == (len(file), hashlib.sha256(file).hexdigest())
    assert outcome.sent_bytes == desk.bytes_told == len(data) != len(file)


def test_row_limit_before_the_start(threads: ThreadPoolExecutor) -> None:
    """Where the number of rows is known, too many are refused before one is read: the request is invalid."""
    desk, table = Desk(threads, max_rows=5), ListTable((6,), total_rows=6)
    with pytest.raises(RowLimitExceeded):
        desk.run(table)
    assert (desk.outcomes[0].state, desk.outcomes[0].rows, table.read) == (State.INVALID, 0, 0)


def test_row_limit_midway(threads: ThreadPoolExecutor) -> None:
    """Where it is not known, the row too many breaks the export, which has failed then."""
    desk = Desk(threads, max_rows=5)
    with pytest.raises(RowLimitExceeded):
        desk.run(ListTable((1, 1, 1, 1, 1, 1, 1)))
    (outcome,) = desk.outcomes
    assert (outcome.state, outcome.reason, outcome.sha256) == (State.FAILED, "row_limit", None)
    assert outcome.sent_bytes > 0


@pytest.mark.parametrize("total", [None, 5])
def test_row_limit_reached(threads: ThreadPoolExecutor, total: int | None) -> None:
    """As many rows as allowed are allowed."""
    desk = Desk(threads, max_rows=5)
    assert desk.run(ListTable((4, 1), total_rows=total)).count(b"\n") == 6


@pytest.mark.parametrize("total", [None, 6, 99])
@pytest.mark.parametrize("sizes", [(6, 93), (5, 1), (3, 3)])
def test_truncated(threads: ThreadPoolExecutor, total: int | None, sizes: tuple[int, ...]) -> None:
    """Who asks for it gets the rows up to the cap, is told before the first, and the receipt says so."""
    desk = Desk(threads, max_rows=5)
    data = desk.run(ListTable(sizes, total_rows=total), on_limit="truncate")
    assert (data.count(b"\n"), desk.announced) == (6, True)
    (outcome,) = desk.outcomes
    assert (outcome.state, outcome.rows, outcome.truncated, outcome.reason) == (State.COMPLETED, 5, True, None)


@pytest.mark.parametrize("total", [None, 5])
def test_nothing_to_truncate(threads: ThreadPoolExecutor, total: int | None) -> None:
    """As many rows as allowed are all there, and are said to be."""
    desk = Desk(threads, max_rows=5)
    assert desk.run(ListTable((4, 1), total_rows=total), on_limit="truncate").count(b"\n") == 6
    assert (desk.announced, desk.outcomes[0].truncated) == (False, False)


def test_the_cap_of_the_caller(threads: ThreadPoolExecutor) -> None:
    """A caller's own cap holds in place of that of all."""
    desk = Desk(threads, max_rows=5, caller=Caller("me", max_rows=7))
    assert desk.run(ListTable((7,))).count(b"\n") == 8
    with pytest.raises(RowLimitExceeded):
        Desk(threads, max_rows=50, caller=Caller("me", max_rows=7)).run(ListTable((8,), total_rows=8))


def test_more_rows_than_announced(threads: ThreadPoolExecutor) -> None:
    """An export that was said to be whole and grows meanwhile breaks: it is not cut in secret."""
    desk, table = Desk(threads, max_rows=5), ListTable((3,))
    growing = replace(table, sizes=(3, 3))
    with pytest.raises(RowLimitExceeded):
        desk.run(growing, on_limit="truncate", counted=table)
    assert (desk.announced, desk.outcomes[0].reason, desk.outcomes[0].truncated) == (False, "row_limit", False)


def test_deadline(threads: ThreadPoolExecutor) -> None:
    """An export that takes too long is ended with an error that names the setting."""
    desk = Desk(threads, timeout_seconds=0.05)
    with pytest.raises(DeadlineExceeded) as caught:
        desk.run(ListTable((1,), hangs=True))
    assert caught.value.field == "EXPORT_TIMEOUT_SECONDS"
    assert (desk.outcomes[0].state, desk.outcomes[0].reason) == (State.FAILED, "deadline_exceeded")


def test_cancelled(threads: ThreadPoolExecutor) -> None:
    """A client that left is an outcome of its own, with what it got."""
    desk = Desk(threads)
    with pytest.raises(asyncio.CancelledError):
        desk.run(ListTable((1, 1, 1)), most_chunks=1)
    (outcome,) = desk.outcomes
    assert (outcome.state, outcome.reason, outcome.sent_bytes) == (State.CANCELLED, "cancelled", 6)


@pytest.mark.parametrize(
    ("failure", "sizes", "state", "reason"),
    [
        (SourceError("gone"), (), State.FAILED, "source_failed"),
        (SourceError("gone"), (2, 2), State.FAILED, "source_failed"),
        (InvalidField("bad", field="x"), (), State.INVALID, "invalid_field"),
        (KeyError("bug"), (), State.FAILED, "internal"),
        (KeyError("bug"), (2, 2, 2, 2), State.FAILED, "internal"),
    ],
    ids=repr,
)
def test_failures(
    threads: ThreadPoolExecutor, failure: Exception, sizes: tuple[int, ...], state: State, reason: str
) -> None:
    """A failure comes out as it is, its outcome says whose it was, and a bug's text is not told."""
    desk = Desk(threads)
    with pytest.raises(type(failure)) as caught:
        desk.run(ListTable(sizes, failure))
    assert caught.value is failure
    (outcome,) = desk.outcomes
    assert (outcome.state, outcome.reason) == (state, reason)
    assert outcome.detail == (failure.detail if isinstance(failure, ExportError) else None)


def test_rate_limited(threads: ThreadPoolExecutor) -> None:
    """A caller without a token is rejected before anything is opened."""
    desk, table = Desk(threads, limiter=RateLimiter(Rate(1, 1))), ListTable()
    desk.limiter.try_take("me", 5.0)
    with pytest.raises(RateLimited):
        desk.run(table)
    assert (desk.outcomes[0].state, desk.outcomes[0].reason, table.read) == (State.REJECTED, "quota_exceeded", 0)


def test_queue_full(threads: ThreadPoolExecutor) -> None:
    """An export that is not admitted is rejected, and the one that runs is not touched."""
    desk = Desk(threads)

    async def two() -> None:
        async with desk.gate.open_slot("a"):
            with pytest.raises(QueueFull):
                await desk.export(ListTable())
            assert desk.gate.running == 1

    asyncio.run(two())
    assert (desk.outcomes[0].state, desk.gate.running) == (State.REJECTED, 0)
