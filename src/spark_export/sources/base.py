"""What every source is, and how blocking readers become async without leaking a thread's work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from spark_export.shielded import run_to_end
from spark_export.sources.parameters import Parameter
from spark_export.sources.selection import Selection

T = TypeVar("T")

INTERRUPT_AGAIN_SECONDS = 0.05
"""An interrupt that comes between two steps of a query is lost; so it is said again until the thread is back."""


class Source(Protocol):
    """The rows of one export, opened.

    Attributes:
        schema: of every batch.
        total_rows: how many there will be, None where nobody knows.
    """

    schema: Any
    total_rows: int | None

    def batches(self) -> AsyncGenerator[Any, None]:
        """The rows in order, as record batches of the schema.

        Raises:
            SourceError: the rows stopped coming.
        """
        ...


class Table(Protocol):
    """Something that rows can be selected from."""

    def open(self, selection: Selection) -> AbstractAsyncContextManager[Source]:
        """The selected rows; leaving the block ends whatever works for them within a second.

        Raises:
            InvalidField: the selection does not fit the table.
            SourceError: the rows cannot be had.
        """
        ...


class Dataset(Protocol):
    """A named table with parameters.

    Attributes:
        name, description: for people.
        parameters: what a request may set.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> Sequence[Parameter]: ...  # noqa: D102

    def table(self, params: Mapping[str, Any]) -> Table:
        """The table for these values.

        Raises:
            InvalidField: a value is unknown, missing or of another type.
        """
        ...


class ArrowQueries(Protocol):
    """The embedded engine, as far as a source of Arrow batches needs it: to filter and to sort."""

    def open_arrow(
        self, schema: Any, batches: Iterator[Any], selection: Selection, interrupt: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[Source]:
        """The selected rows of the batches; `interrupt` makes whoever waits for the next batch return soon."""
        ...


class BlockingCalls:
    """Runs one blocking call at a time in threads, and knows how to end it early.

    Args:
        threads: where calls run.
        interrupt: makes a running call return soon; called from the event loop's thread.
    """

    def __init__(self, threads: Executor, interrupt: Callable[[], None] = lambda: None) -> None:
        self._threads = threads
        self._interrupt = interrupt
        self._running: Future[Any] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """`work`, in a thread. When the waiting task is cancelled the call goes on until `close`."""
        future = self._threads.submit(work)
        self._running = future
        return await asyncio.wrap_future(future)

    async def close(self, dispose: Callable[[], None] = lambda: None) -> None:
        """Interrupt a running call until it ends, then dispose of what it used, in a thread and interrupted likewise.

        Goes on to its end even if the waiting task is cancelled once more: what a query holds is always given back.
        """
        await run_to_end(self._close(dispose))

    async def _close(self, dispose: Callable[[], None]) -> None:
        if self._running is not None:
            self._running.cancel()
            await self._interrupt_until_done(self._running)
        # Giving up an unread result may wait for its query as well.
        await self._interrupt_until_done(self._threads.submit(dispose))

    async def _interrupt_until_done(self, call: Future[Any]) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
        while not ended.is_set():
            self._interrupt()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERRUPT_AGAIN_SECONDS):
                    await ended.wait()


class IteratorSource:
    """A source over a blocking iterator of batches.

    Args:
        schema: of the batches.
        batches: pulled one at a time, in threads.
        calls: how.
        total_rows: how many there will be, None where nobody knows.
    """

    def __init__(
        self, schema: Any, batches: Iterator[Any], calls: BlockingCalls, total_rows: int | None = None
    ) -> None:
        self.schema = schema
        self.total_rows = total_rows
        self._batches = batches
        self._calls = calls

    async def batches(self) -> AsyncGenerator[Any, None]:
        """The batches that hold a row."""
        while (batch := await self._calls.run(lambda: next(self._batches, None))) is not None:
            if len(batch):
                yield batch


@asynccontextmanager
async def open_iterator(
    schema: Any,
    batches: Iterator[Any],
    selection: Selection,
    total_rows: int | None,
    threads: Executor,
    interrupt: Callable[[], None] = lambda: None,
) -> AsyncIterator[IteratorSource]:
    """The selected rows of batches that are quickly made, or whose making can be interrupted, without an engine."""
    selection.check(schema.names)
    calls = BlockingCalls(threads, interrupt)
    if total_rows is not None and selection.limit is not None:
        total_rows = min(total_rows, selection.limit)
    try:
        yield IteratorSource(selection.project(schema), selection.apply(batches), calls, total_rows)
    finally:
        await calls.close()
