"""One export from admission to its last byte: source -> writer, limits and counts at the two seams.

    async with exporter.open(plan) as export:      # admitted, opened, first chunk made
        send(headers)
        async for chunk in export.body:
            send(chunk)

Everything an export holds (a token, a place in the queue, a slot, a connection, threads' work) belongs to that one
block; whatever ends it gives all of it back, and the outcome is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from spark_export.access import Caller
from spark_export.admission.bucket import Quota, RateLimiter
from spark_export.admission.gate import Gate
from spark_export.errors import (
    DeadlineExceeded,
    RateLimited,
    RowLimitExceeded,
)
from spark_export.export import Clocks, Export, Plan, Progress
from spark_export.model import Format
from spark_export.observe import Observer
from spark_export.outcome import Outcome, asked_of, state_of, told
from spark_export.pieces import Sample, cut
from spark_export.sources.base import Source, Table
from spark_export.sources.selection import Selection
from spark_export.writers.base import Chunk, Tally, Writer
from spark_export.writers.compression import compress


class Exporter:
    """Opens exports.

    Args:
        limiter, gate: admission.
        make_writer: the writer for a request and the schema of its rows.
        observer: told of every byte and every end.
        threads: where content codings are made.
        max_rows: of one export whose caller has no cap of its own, None for any number.
        timeout_seconds: of one export from its slot to its last byte, None for any time.
        clocks: time.
    """

    def __init__(
        self,
        *,
        limiter: RateLimiter,
        gate: Gate,
        make_writer: Callable[[Plan, Any], Writer],
        observer: Observer,
        threads: Executor,
        max_rows: int | None,
        timeout_seconds: float | None,
        clocks: Clocks,
    ) -> None:
        self._limiter = limiter
        self._gate = gate
        self._make_writer = make_writer
        self._observer = observer
        self._threads = threads
        self._max_rows = max_rows
        self._timeout_seconds = timeout_seconds
        self._clocks = clocks

    @asynccontextmanager
    async def open(self, plan: Plan, *, admitted: bool = False) -> AsyncIterator[Export]:
        """An export, ready to be sent; its body is complete when the block ends without an exception.

        Args:
            plan: what to make.
            admitted: whether its token was taken before, and whoever opens it holds a slot for it.

        Raises:
            ExportError: on entering, where it could not begin; out of `body`, where it broke.
        """
        progress = Progress(self._clocks.wall(), self._clocks.monotonic())
        error: BaseException | None = None
        try:
            async with AsyncExitStack() as stack:
                yield await self._enter(plan, progress, stack, admitted=admitted)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._observer.finished(self._outcome(plan, progress, error))

    async def _enter(self, plan: Plan, progress: Progress, stack: AsyncExitStack, *, admitted: bool) -> Export:
        quota = None if admitted else self.take_token(plan.caller)
        if not admitted:
            await stack.enter_async_context(self._gate.open_slot(plan.caller.name))
        progress.queued_seconds = self._clocks.monotonic() - progress.began
        await stack.enter_async_context(_open_deadline(self._timeout_seconds))
        selection = Selection.from_request(plan.request, plan.caller.columns.get(plan.request.dataset or ""))
        source = await stack.enter_async_context(plan.table().open(selection))
        cap = self.row_cap(plan.caller)
        truncated = await self._check_total(plan, selection, source, cap)
        progress.total_rows = cap if truncated else source.total_rows
        writer = progress.writer = self._make_writer(plan, source.schema)
        # Pages are deflated already: a second time costs and gains nothing.
        coding = plan.coding if plan.file_format is Format.CSV else None
        rows = await stack.enter_async_context(aclosing(_rows(source, cap, truncated, progress)))
        file = await stack.enter_async_context(aclosing(_file(writer.write(rows), progress)))
        coded = await stack.enter_async_context(aclosing(compress(file, coding, self._threads)))
        first = await anext(coded, b"")
        body = await stack.enter_async_context(aclosing(self._body(first, coded, plan, progress)))
        return Export(plan, writer.media_type, quota, coding, truncated, body, progress)

    async def sample(
        self, caller: Caller, table: Callable[[], Table], selection: Selection, rows: int
    ) -> tuple[Any, Sample, Quota | None]:
        """The first rows of a selection, admitted as an export is; it is none, and nobody is told of it.

        Args:
            caller: who asks.
            table: where the rows come from; called after admission.
            selection: whose limit is what is read at most.
            rows: taken of them at most.

        Returns:
            The schema, the rows, and where the caller stands.

        Raises:
            ExportError: as of `open`.
        """
        async with AsyncExitStack() as stack:
            quota = self.take_token(caller)
            await stack.enter_async_context(self._gate.open_slot(caller.name))
            await stack.enter_async_context(_open_deadline(self._timeout_seconds))
            source = await stack.enter_async_context(table().open(selection))
            batches = await stack.enter_async_context(aclosing(source.batches()))
            sample = Sample(rows)
            async for batch in batches:
                if not sample.add(batch):
                    break
            return source.schema, sample, quota

    def row_cap(self, caller: Caller) -> int | None:
        """Most rows of one export of the caller's; None for any number."""
        return caller.max_rows or self._max_rows

    def check(self, caller: Caller) -> None:
        """Refuse what `open` would refuse at once, whatever is asked; nothing is taken.

        Raises:
            RateLimited, QueueFull, MemoryFull, Draining: as there.
        """
        self.check_rate(caller)
        self._gate.check(caller.name)

    def check_rate(self, caller: Caller) -> None:
        """Refuse a caller who has no token; none is taken.

        Raises:
            RateLimited: it has none.
        """
        _check_quota(self._limiter.look(caller.name, self._clocks.monotonic(), caller.rate))

    def take_token(self, caller: Caller) -> Quota | None:
        """Take one of the caller's tokens; where it stands then, None without a limit.

        Raises:
            RateLimited: it has none.
        """
        quota = self._limiter.try_take(caller.name, self._clocks.monotonic(), caller.rate)
        _check_quota(quota)
        return quota

    async def _check_total(self, plan: Plan, selection: Selection, source: Source, cap: int | None) -> bool:
        """Whether the export will be truncated, as its caller asked for.

        Raises:
            RowLimitExceeded: it has more rows than the cap, and did not.
        """
        if cap is None:
            return False
        if plan.request.on_limit == "truncate":
            return await _exceeds(plan, selection, source, cap)
        if source.total_rows is not None and source.total_rows > cap:
            raise row_limit(cap)
        return False

    async def _body(
        self, first: Chunk, rest: AsyncIterator[Chunk], plan: Plan, progress: Progress
    ) -> AsyncGenerator[Chunk, None]:
        """What goes to the client, counted as it goes."""
        progress.first_byte_seconds = self._clocks.monotonic() - progress.began
        self._count_sent(first, plan, progress)
        yield first
        async for chunk in rest:
            self._count_sent(chunk, plan, progress)
            yield chunk

    def _count_sent(self, chunk: Chunk, plan: Plan, progress: Progress) -> None:
        progress.sent_bytes += len(chunk)
        self._observer.wrote(plan.file_format, len(chunk))

    def _outcome(self, plan: Plan, progress: Progress, error: BaseException | None) -> Outcome:
        tally = progress.writer.tally if progress.writer is not None else Tally()
        return Outcome(
            export_id=plan.export_id,
            request_id=plan.request_id,
            caller=plan.caller.name,
            address=plan.caller.address,
            format=plan.file_format,
            dataset=plan.request.dataset,
            asked=asked_of(plan.request),
            state=state_of(error, had_bytes=progress.first_byte_seconds is not None),
            started_at=progress.started_at,
            rows=progress.rows,
            truncated=progress.truncated,
            bytes=progress.bytes,
            sent_bytes=progress.sent_bytes,
            sha256=progress.digest.hexdigest() if error is None else None,
            queued_seconds=progress.queued_seconds,
            first_byte_seconds=progress.first_byte_seconds,
            seconds=self._clocks.monotonic() - progress.began,
            escaped_cells=tally.escaped_cells,
            replaced_characters=tally.replaced_characters,
            lacking_characters=tally.lacking_characters,
            **told(error),
        )


def _check_quota(quota: Quota | None) -> None:
    if quota is not None and not quota.allowed:
        raise RateLimited(
            f"more than {quota.limit} exports at once, or than RATE_PER_SECOND allows in the long run",
            retry_after_seconds=quota.reset_seconds,
            quota=quota,
            field="RATE_PER_SECOND",
        )


@asynccontextmanager
async def _open_deadline(seconds: float | None) -> AsyncIterator[None]:
    """End the block after so many seconds.

    Raises:
        DeadlineExceeded: it took longer.
    """
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise DeadlineExceeded(f"the export took longer than {seconds:g} s", field="EXPORT_TIMEOUT_SECONDS") from None


async def _exceeds(plan: Plan, selection: Selection, source: Source, cap: int) -> bool:
    """Whether the source has more rows than the cap; where it does not know, one column of them is read and counted."""
    if source.total_rows is not None:
        return source.total_rows > cap
    most = cap + 1 if selection.limit is None else min(cap + 1, selection.limit)
    counting = replace(selection, columns=(source.schema.names[0],), order_by=(), limit=most)
    rows = 0
    async with plan.table().open(counting) as counted, aclosing(counted.batches()) as batches:
        async for batch in batches:
            rows += len(batch)
    return rows > cap


async def _rows(source: Source, cap: int | None, truncated: bool, progress: Progress) -> AsyncGenerator[Any, None]:
    """The source's batches, cut to size, counted, and capped: unless it was announced, a cap breaks the export.

    Raises:
        RowLimitExceeded: there are more rows than the cap.
    """
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            left = len(batch) if cap is None else min(len(batch), cap - progress.rows)
            if cap is not None and left < len(batch) and not truncated:
                raise row_limit(cap)
            progress.truncated = left < len(batch)
            before, progress.rows = progress.rows, progress.rows + left
            for piece in cut(batch.slice(0, left), before) if left else ():
                yield piece
            if progress.truncated:
                return


def row_limit(cap: int) -> RowLimitExceeded:
    """What a caller is told whose export is too long."""
    return RowLimitExceeded(
        f"the export has more than the {cap} rows that one may have; filter it, or let it be cut by "
        '`"on_limit": "truncate"`',
        field="limit",
    )


async def _file(chunks: AsyncGenerator[Chunk, None], progress: Progress) -> AsyncGenerator[Chunk, None]:
    """The file's bytes, counted and digested on their way."""
    async with aclosing(chunks):
        async for chunk in chunks:
            progress.bytes += len(chunk)
            progress.digest.update(chunk)
            yield chunk
