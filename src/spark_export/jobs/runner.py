"""Runs jobs in their turn: each in a slot as every export is, with a file in the place of a client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from spark_export.admission.gate import Gate
from spark_export.errors import Draining, ExportError, Interrupted, SourceUnavailable
from spark_export.job import Export, Job
from spark_export.jobs.folder import JobFiles
from spark_export.jobs.receipt import outcome_of
from spark_export.jobs.record import JobState, Order, Record, ended
from spark_export.jobs.register import Live, Register
from spark_export.logs import log_cause
from spark_export.observe import Observer
from spark_export.outcome import Outcome, State
from spark_export.pipeline import Exporter
from spark_export.receipts import Receipts
from spark_export.shielded import run_to_end
from spark_export.writers.base import Chunk

LOG = logging.getLogger("spark_export")

MOST_RUNS = 100
"""A job during which the process was killed so often is not begun again: it may be what kills it."""
SAVE_AGAIN_SECONDS = 1.0
"""While the disk is full the end of a job cannot be kept; it is tried again so often."""


class Sink(Protocol):
    """Takes the chunks of a file.

    Attributes:
        object_tag: entity tag of the object, once it is whole; None where it is no object.
    """

    object_tag: str | None

    async def write(self, chunk: Chunk) -> None:
        """Take the whole chunk.

        Raises:
            SinkError: it cannot be taken.
        """
        ...


OpenSink = Callable[[Order, Export], AbstractAsyncContextManager[Sink]]
"""Where the file of an order goes; it is there when the block ends well, else not at all."""
MakeJob = Callable[[Order, Path | None], Job]


class Runner:
    """Runs the queued jobs of the register.

    Args:
        register: of jobs.
        files: their bodies.
        open_body: the body of an order, in a folder of its own.
        open_sink: where files go.
        make_job: the export of an order and its body.
        exporter, gate: make the file, in a slot.
        receipts, observer: told of the end.
        ttl_seconds: how long a file is kept.
    """

    def __init__(
        self,
        register: Register,
        files: JobFiles,
        *,
        open_body: Callable[[Order], AbstractAsyncContextManager[Path | None]],
        open_sink: OpenSink,
        make_job: MakeJob,
        exporter: Exporter,
        gate: Gate,
        receipts: Receipts,
        observer: Observer,
        ttl_seconds: float,
    ) -> None:
        self._register = register
        self._files = files
        self._open_body = open_body
        self._open_sink = open_sink
        self._make_job = make_job
        self._exporter = exporter
        self._gate = gate
        self._receipts = receipts
        self._observer = observer
        self._ttl_seconds = ttl_seconds
        self._queued = asyncio.Semaphore(0)
        self._saving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs until the block ends; those that run then are queued again, for the next start.

        All slots but one may be theirs: whoever waits at the other end of a connection gets that one.
        """
        workers = [asyncio.create_task(self._work()) for _ in range(max(1, self._gate.slots - 1))]
        try:
            yield
        finally:
            for worker in (*workers, *self._saving):
                worker.cancel()
            await asyncio.gather(*workers, *self._saving, return_exceptions=True)

    def enqueue(self, live: Live) -> None:
        """Give the job its turn, after those of its caller that wait already."""
        self._register.turns.add(live.record.order.caller, live.record.export_id)
        self._queued.release()

    async def take_up(self) -> None:
        """Queue the jobs that a killed process left, and end those that cannot be begun again.

        Those that were begun most often come last: one of them may be what kills the process.
        """
        for live in sorted(self._register.live.values(), key=lambda each: each.record.runs):
            record = replace(live.record, state=JobState.QUEUED)
            if error := self._hindrance(live.record):
                await self._finish(record, self._told(record.order, error))
            else:
                live.record = record
                self.enqueue(live)

    async def cancel(self, live: Live) -> None:
        """End the job, and wait until that is kept."""
        live.is_cancelled = True
        if live.task is not None:
            live.task.cancel()
        elif self._register.turns.remove(live.record.order.caller, live.record.export_id):
            await run_to_end(self._finish(live.record, self._told(live.record.order, None)))
        await live.ended.wait()

    def _hindrance(self, record: Record) -> ExportError | None:
        if record.runs >= MOST_RUNS:
            return Interrupted(f"the process ended {record.runs} times while it made this")
        if record.order.has_body and not self._files.body(record.export_id).is_file():
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
        if not live.task.cancelled() and (fault := live.task.exception()) is not None:
            LOG.error("a job could not be ended", exc_info=fault, extra={"export_id": live.record.export_id})

    async def _make(self, live: Live) -> None:
        """One run, and what comes of it."""
        order = live.record.order
        error: BaseException | None = None
        try:
            began_at, runs = self._register.now(), live.record.runs + 1
            await self._register.save(replace(live.record, state=JobState.RUNNING, began_at=began_at, runs=runs))
            await self._make_file(live)
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if not live.is_cancelled:
                await run_to_end(self._put_back(live))
                raise
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is the end of this job alone
            error = raised
            log_cause(raised, export_id=order.export_id, request_id=order.request_id)
        outcome = self._receipts.take(order.export_id) or self._told(order, error)
        await run_to_end(self._finish(live.record, outcome))

    async def _make_file(self, live: Live) -> None:
        order = live.record.order
        async with (
            self._open_body(order) as body,
            self._exporter.open(self._make_job(order, body), admitted=True) as export,
        ):
            live.progress = export.progress
            async with self._open_sink(order, export) as sink:
                async for chunk in export.body:
                    await sink.write(chunk)
            live.record = replace(live.record, media_type=export.media_type, object_tag=sink.object_tag)

    async def _put_back(self, live: Live) -> None:
        """The service stops: the job is for its next start, and what was made of it is forgotten."""
        self._receipts.take(live.record.export_id)
        queued = replace(live.record, state=JobState.QUEUED, runs=max(live.record.runs - 1, 0))
        with suppress(ExportError):  # it stays as running, and is queued by the next start all the same
            await self._register.save(queued)

    async def _finish(self, record: Record, outcome: Outcome) -> None:
        """Keep the end; where there is no room for that, as soon as there is."""
        record = ended(record, outcome, self._register.now(), self._ttl_seconds)
        try:
            await self._register.end(record)
        except ExportError as error:
            log_cause(error, export_id=record.export_id)
            saving = asyncio.create_task(self._end_later(record))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)
        await self._files.remove_body(record.export_id)

    async def _end_later(self, record: Record) -> None:
        while True:
            await asyncio.sleep(SAVE_AGAIN_SECONDS)
            with suppress(ExportError):
                await self._register.end(record)
                return

    def _told(self, order: Order, error: BaseException | None) -> Outcome:
        """The outcome of a job that did not come as far as an export, told to whoever watches."""
        is_cancelled = error is None or isinstance(error, asyncio.CancelledError)
        reason = State.CANCELLED.value if is_cancelled else getattr(error, "reason", ExportError.reason)
        outcome = outcome_of(
            order,
            State.CANCELLED if is_cancelled else State.FAILED,
            reason,
            error.detail if isinstance(error, ExportError) else None,
            self._register.now(),
        )
        self._observer.finished(outcome)
        self._receipts.take(order.export_id)
        return outcome
