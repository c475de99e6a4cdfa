"""Jobs, as the API sees them: accepted, looked at, removed; and files that are kept of exports that are none."""

from __future__ import annotations

import asyncio
from heapq import nlargest
from itertools import chain
from pathlib import Path

from spark_export.admission.gate import Gate
from spark_export.errors import (
    ContentExpired,
    ContentNotReady,
    KeyReused,
    NoContent,
    UnknownExport,
)
from spark_export.jobs.downloads import Downloads
from spark_export.jobs.kept import KeptStream
from spark_export.jobs.keys import FIELD, Keys
from spark_export.jobs.places import Places
from spark_export.jobs.receipt import Receipt, receipt_of_stream
from spark_export.jobs.record import Callback, JobState, Key, Order, Record, ends_to_come
from spark_export.jobs.register import Live
from spark_export.jobs.runner import Runner
from spark_export.jobs.store import JobStore
from spark_export.outcome import Outcome
from spark_export.receipts import Receipts
from spark_export.shielded import run_to_end


class Jobs:
    """The jobs of one service.

    Args:
        store: what is kept of them.
        runner: makes them.
        receipts: of exports that are none.
        gate: says when the service drains.
        most_waiting: jobs that may wait, of one caller half.

    Attributes:
        keys: of requests that are on their way.
        places: of jobs that wait.
        files: the bodies and files.
        downloads: of those.
    """

    def __init__(self, store: JobStore, runner: Runner, receipts: Receipts, gate: Gate, most_waiting: int) -> None:
        self.keys = Keys()
        self.places = Places(store.register.turns, gate, most_waiting)
        self.files = store.files
        self.downloads = Downloads()
        self._store = store
        self._register = store.register
        self._runner = runner
        self._receipts = receipts
        self._gate = gate

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._register.now()

    @property
    def draining(self) -> bool:
        """Whether the service shuts down."""
        return self._gate.draining

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._register.turns)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._register.live) - self.waiting

    async def accept(self, order: Order, body: memoryview | Path | None, key: Key | None) -> Receipt:
        """Keep the job, so that it is made whatever becomes of this process; its receipt.

        Args:
            order: what to make.
            body: JSON text of its rows, or the file of a body that is rows, which is taken over; None without one.
            key: with which it was asked for.

        Raises:
            SpoolFull: there is no room for it.
        """
        if isinstance(body, Path):
            await self.files.keep_body(order.export_id, order.caller, body)
        elif body is not None:
            await self.files.keep_rows(order.export_id, order.caller, body)
        url = order.request.callback_url
        record = Record(
            order.shown(),
            JobState.QUEUED,
            self._register.now(),
            callback=None if url is None else Callback(url),
            key=key,
        )
        await run_to_end(self._enlist(record, order))
        return self._register.receipt(record)

    async def _enlist(self, record: Record, order: Order) -> None:
        try:
            await self._register.enlist(record, order)
        except BaseException:
            await self.files.remove_body(order.export_id, order.caller)
            raise
        live = self._register.live[record.export_id] = Live(record)
        self._runner.enqueue(live)

    async def knows(self, caller: str, key: str) -> bool:
        """Whether the caller has asked for something with that key before."""
        return await self._register.find_by_key(caller, key) is not None

    async def answered(self, caller: str, key: Key) -> Record | None:
        """What the caller has asked for with that key before; None where it has not.

        Raises:
            KeyReused: it was something else.
        """
        record = await self._register.find_by_key(caller, key.text)
        if record is None or record.key is None:
            return None
        if record.has_file and (self._is_over(record) or not await asyncio.to_thread(self._has_file, record)):
            await self._store.expire([record.export_id])  # a key lives as long as its file
            return None
        if record.key.fingerprint != key.fingerprint:
            raise KeyReused("this key came with another request; take a new one for each", field=FIELD)
        return record

    async def receipt(self, caller: str, export_id: str) -> Receipt:
        """The caller's receipt of that id.

        Raises:
            UnknownExport: it has none.
        """
        record = await self._find(caller, export_id)
        if record is not None:
            return self._register.receipt(record)
        outcome = self._receipts.get(export_id)
        if outcome is None or outcome.caller != caller:
            raise _unknown()
        return receipt_of_stream(outcome)

    async def page(self, caller: str, before: tuple[float, str], count: int) -> list[Receipt]:
        """At most so many of the caller's receipts, newest first, of those that began before that time and id."""
        jobs = await self._register.page(caller, before, count)
        streams = (each for each in self._receipts.iter_of(caller) if place_of(each) < before)
        newest = nlargest(count, chain(jobs, streams), key=place_of)
        return [each if isinstance(each, Receipt) else receipt_of_stream(each) for each in newest]

    async def until_ended(self, export_id: str, seconds: float) -> bool:
        """Wait so long for the job's end, or until the service shuts down; whether it has ended."""
        live = self._register.live.get(export_id)
        if live is None:
            return True
        waits = [asyncio.ensure_future(each) for each in (live.ended.wait(), self._gate.until_draining())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return live.ended.is_set()

    async def content(self, caller: str, export_id: str) -> Record:
        """The caller's completed job of that id, whose file is kept.

        Raises:
            UnknownExport: it has none.
            NoContent: it has no file here.
            ContentNotReady: it has not ended.
            ContentExpired: it is no longer kept.
        """
        record = await self._find(caller, export_id)
        if record is None:
            await self.receipt(caller, export_id)
            raise NoContent("the file of this export was streamed, and is not kept", field="export_id")
        if not record.state.is_final:
            raise ContentNotReady(f"the export is {record.state.value}; its file comes with its end", field="export_id")
        if record.state is JobState.EXPIRED or (record.has_file and self._is_over(record)):
            raise ContentExpired("the file is no longer kept; export it again", field="export_id")
        if not record.has_file:
            detail = record.outcome.detail if record.outcome is not None else None
            ends = {JobState.COMPLETED: "was delivered elsewhere", JobState.CANCELLED: "was cancelled"}
            ended = ends.get(record.state, f"failed: {detail}" if detail else "failed")
            raise NoContent(f"the export has no file here: it {ended}", field="export_id")
        return record

    async def remove(self, caller: str, export_id: str) -> None:
        """Cancel the caller's job of that id, or remove it with its file where it has ended.

        Raises:
            UnknownExport: it has none.
        """
        record = await self._find(caller, export_id)
        live = self._register.live.get(export_id)
        if live is not None and record is not None:
            await self._runner.cancel(live)
            record = await self._register.find(export_id)  # it may have been completed just then
        if live is None or (record is not None and record.has_file):
            await self._remove_ended(caller, export_id, record)

    async def _remove_ended(self, caller: str, export_id: str, record: Record | None) -> None:
        if record is not None:
            await self.files.remove_file(export_id, caller)  # first: on a full disk the other may take its room
            await self._register.remove(export_id)
        else:
            await self.receipt(caller, export_id)
            self._receipts.take(export_id)

    async def _find(self, caller: str, export_id: str) -> Record | None:
        record = await self._register.find(export_id)
        if record is not None and record.order.caller != caller:
            raise _unknown()
        return record

    def _has_file(self, record: Record) -> bool:
        return self.files.file(record.export_id).is_file()

    def keeping(self, order: Order, key: Key) -> KeptStream:
        """Keeps the file of an export that is streamed, for whoever comes with the key again."""
        return KeptStream(order, key, self._store, self._receipts)

    def _is_over(self, record: Record) -> bool:
        if record.expires_at is None:
            return False
        earliest, latest = ends_to_come(self._register.now(), self._store.ttl_seconds)
        return not earliest < record.expires_at <= latest


def place_of(receipt: Outcome) -> tuple[float, str]:
    """Where a receipt stands among the others: by its time, and by its id where that is the same."""
    return receipt.started_at, receipt.export_id


def _unknown() -> UnknownExport:
    detail = "no receipt of that id: it never was, was removed or forgotten, or is a stream that still runs"
    return UnknownExport(detail, field="export_id")
