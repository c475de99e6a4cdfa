"""Runs jobs in their turn, each in a slot as every export does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from spark_export.admission.gate import Gate
from spark_export.background import running
from spark_export.errors import Draining, ExportError, Interrupted, SourceUnavailable, SpoolFull
from spark_export.jobs.maker import Maker
from spark_export.jobs.record import JobState, Record
from spark_export.jobs.register import Live
from spark_export.jobs.store import JobStore
from spark_export.logs import log_cause
from spark_export.outcome import Outcome
from spark_export.shielded import held, run_to_end

LOG = logging.getLogger("spark_export")

MOST_RUNS = 100
"""A job during which the process was killed so often is not begun again: it may be what kills it."""
SAVE_AGAIN_SECONDS = 1.0
"""While the disk is full the end of a job cannot be kept; it is tried again so often."""
CANCEL_SECONDS = 10.0
"""Longer nobody waits for the end of a job that was cancelled."""


class Runner:
    """Runs the queued jobs of the register.

    Args:
        store: of jobs.
        maker: makes their files.
        gate: of the slots.
    """

    def __init__(self, store: JobStore, maker: Maker, gate: Gate) -> None:
        self._store = store
        self._register = store.register
        self._maker = maker
        self._gate = gate
        self._queued = asyncio.Semaphore(0)
        self._ending: set[asyncio.Task[Any]] = set()
        self._saving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs until the block ends; those that run then are queued again, for the next start.

        All slots but one may be theirs: whoever waits at the other end of a connection gets that one.
        """
        try:
            async with running(*(self._work() for _ in range(max(1, self._gate.slots - 1)))):
                yield
        finally:
            await asyncio.gather(*self._ending, return_exceptions=True)
            for saving in self._saving:  # the next start makes the jobs again
                saving.cancel()
            await asyncio.gather(*self._saving, return_exceptions=True)

    def enqueue(self, live: Live) -> None:
        """Give the job its turn, after those of its caller that wait already."""
        self._register.turns.add(live.record.order.caller, live.record.export_id)
        self._queued.release()

    async def take_up(self) -> None:
        """Queue the jobs that a killed process left, and end those that cannot be begun again.

        Those that were begun most often come last: one of them may be what kills the process.
        """
        if self._register.live:
            LOG.info("%d jobs are left of the last run", len(self._register.live))
        for live in sorted(self._register.live.values(), key=lambda each: each.record.runs):
            record = replace(live.record, state=JobState.QUEUED)
            if error := self._hindrance(live.record):
                await self._finish(record, self._maker.tell(record.order, error))
            else:
                live.record = record
                self.enqueue(live)

    async def cancel(self, live: Live) -> None:
        """End the job, and wait until that is kept.

        Raises:
            SpoolFull: there is no room for that; it is kept as soon as there is.
        """
        was_cancelled, live.is_cancelled = live.is_cancelled, True
        if live.task is not None:
            if not was_cancelled:  # a second time it would end what undoes the first run
                live.task.cancel()
        elif self._register.turns.remove(live.record.order.caller, live.record.export_id):
            await self._surely(self._finish(live.record, self._maker.tell(live.record.order, asyncio.CancelledError())))
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await live.ended.wait()
        except TimeoutError:
            raise SpoolFull("the end of the job cannot be kept yet; the log tells more", field="SPOOL_DIR") from None

    def _hindrance(self, record: Record) -> ExportError | None:
        if record.runs >= MOST_RUNS:
            return Interrupted(f"the process ended {record.runs} times while it made this")
        if record.order.has_body and not self._store.files.body(record.export_id).is_file():
            return SourceUnavailable("the rows of the job cannot be had again", field="SPOOL_DIR")
        return None

    async def _work(self) -> None:
        """One after the other, until the service drains."""
        with suppress(Draining):
            while True:
                await self._queued.acquire()
                async with self._gate.open_slot_patiently():
                    export_id = self._register.turns.take()
                    if export_id is not None:  # else its caller wants no more of it
                        await self._run(self._register.live[export_id])

    async def _run(self, live: Live) -> None:
        live.task = asyncio.create_task(self._make(live))
        try:
            await asyncio.wait({live.task})
        except asyncio.CancelledError:
            live.task.cancel()
            await asyncio.wait({live.task})
            raise
        if live.is_cancelled and not live.has_begun:  # a task that is cancelled before its first step never takes it
            await self._surely(self._finish(live.record, self._maker.tell(live.record.order, asyncio.CancelledError())))
        elif not live.task.cancelled() and (fault := live.task.exception()) is not None:
            LOG.error("a job could not be ended", exc_info=fault, extra={"export_id": live.record.export_id})

    async def _make(self, live: Live) -> None:
        """One run, and what comes of it."""
        live.has_begun = True
        order = live.record.order
        error: BaseException = ExportError("what came of it gave way to other receipts", field="RECEIPTS_KEPT")
        try:
            began_at, runs = self._register.now(), live.record.runs + 1
            await self._register.save(replace(live.record, state=JobState.RUNNING, began_at=began_at, runs=runs))
            await self._maker.make(live)
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if not live.is_cancelled:
                await self._surely(self._put_back(live))
                raise
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is the end of this job alone
            error = raised
            log_cause(raised, export_id=order.export_id, request_id=order.request_id)
        await self._surely(self._finish(live.record, live.outcome or self._maker.tell(order, error)))

    async def _put_back(self, live: Live) -> None:
        """The service stops: the job is for its next start, and what was made of it is forgotten."""
        begun = live.record.state is JobState.RUNNING  # else the run that ends here was never counted
        queued = replace(live.record, state=JobState.QUEUED, runs=live.record.runs - begun)
        LOG.info("a job is left to the next start", extra={"export_id": live.record.export_id})
        with suppress(ExportError):  # it stays as running, and is queued by the next start all the same
            await self._register.save(queued)

    async def _surely(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, which goes on to its end though whoever waits is cancelled, and before the service has ended."""
        await run_to_end(work, self._ending)

    async def _finish(self, record: Record, outcome: Outcome) -> None:
        """Keep the end; where there is no room for that, as soon as there is."""
        record = self._store.ended(record, outcome)
        try:
            await self._store.keep_end(record)
        except ExportError as error:
            log_cause(error, export_id=record.export_id)
            if record.state is not JobState.COMPLETED:  # one that is may have to be made again
                await self._store.clear(record)
            held(self._end_later(record), self._saving)

    async def _end_later(self, record: Record) -> None:
        while True:
            await asyncio.sleep(SAVE_AGAIN_SECONDS)
            with suppress(ExportError):
                await self._store.keep_end(record)
                return
