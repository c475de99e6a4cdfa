"""Where every job stands: those that have not ended in memory, all of them in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from sqlite3 import Connection

from spark_export.admission.turns import Turns
from spark_export.export import Progress
from spark_export.jobs import table
from spark_export.jobs.database import Database
from spark_export.jobs.receipt import Receipt, receipt_of
from spark_export.jobs.record import Callback, Order, Record
from spark_export.outcome import Outcome


@dataclass
class Live:
    """A job that has not ended.

    Attributes:
        record: as it is kept.
        progress: of its run, once the first bytes are made.
        task: that makes it.
        has_begun: whether that has taken its first step.
        outcome: what came of the export, once it has ended.
        is_cancelled: whether its caller wants no more of it.
        ended: set when its end is kept.
    """

    record: Record
    progress: Progress | None = None
    task: asyncio.Task[None] | None = None
    has_begun: bool = False
    outcome: Outcome | None = None
    is_cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Register:
    """The jobs.

    Args:
        database: that keeps them.
        now: seconds since the epoch.

    Attributes:
        live: those that have not ended, by id.
        turns: ids of those that are queued.
        kept: callers of the files that are kept, by id, of the job that ended first on.
    """

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self.now = now
        self.live: dict[str, Live] = {}
        self.turns: Turns[str] = Turns()
        self.kept: dict[str, str] = {}

    async def load(self) -> None:
        """Read what the last process left."""
        self.kept = await self._database.read(table.read_kept)
        for record in await self._database.read(table.read_alive):
            self.live[record.export_id] = Live(record)

    async def alive(self) -> dict[str, str]:
        """Callers of all jobs that have not ended, by id."""
        return await self._database.read(table.read_alive_callers)

    async def find(self, export_id: str) -> Record | None:
        """The job of that id."""
        live = self.live.get(export_id)
        if live is not None:
            return live.record
        return await self._database.read(lambda connection: table.read(connection, export_id))

    async def find_by_key(self, caller: str, key: str) -> Record | None:
        """The job that the caller asked for with that Idempotency-Key."""
        return await self._database.read(lambda connection: table.read_by_key(connection, caller, key))

    async def page(self, caller: str, before: tuple[float, str], count: int) -> list[Receipt]:
        """At most so many of the caller's jobs, newest first, of those that were accepted before that time and id."""
        records = await self._database.read(lambda connection: table.read_page(connection, caller, before, count))
        return [self.receipt(record) for record in records]

    async def save(self, record: Record) -> None:
        """Keep the record."""
        await self._database.transact(lambda connection: table.write(connection, record))
        if record.export_id in self.live:
            self.live[record.export_id].record = record

    async def enlist(self, record: Record, order: Order) -> None:
        """Keep a job that is to be made by the order."""

        def write(connection: Connection) -> None:
            table.write(connection, record)
            table.write_order(connection, order)

        await self._database.transact(write)

    async def order(self, export_id: str) -> Order:
        """What the job is made by.

        Raises:
            ValueError: it cannot be read.
        """
        return await self._database.read(lambda connection: table.read_order(connection, export_id))

    async def end(self, record: Record) -> None:
        """Keep the record of a job that has ended, and tell whoever waits for that."""
        await self.save(record)
        if record.has_file:
            self.kept[record.export_id] = record.order.caller
        live = self.live.pop(record.export_id, None)
        if live is not None:
            self.turns.remove(record.order.caller, record.export_id)
            live.ended.set()

    async def expire(self, export_ids: Collection[str]) -> None:
        """Say that the files of completed jobs are no longer kept."""
        await self._database.transact(lambda connection: table.expire(connection, export_ids))
        for export_id in export_ids:
            self.kept.pop(export_id, None)

    async def expired(self, ttl_seconds: float) -> list[str]:
        """Ids of the completed jobs whose time is over; each file has so many seconds."""
        return await self._database.read(lambda connection: table.read_expired(connection, self.now(), ttl_seconds))

    async def forget(self, key_seconds: float, receipt_seconds: float, most: int) -> None:
        """Drop what is past of the jobs that have no file.

        Args:
            key_seconds: how long keys are kept after the end.
            receipt_seconds: how long jobs are.
            most: jobs of one caller that are kept, beside those that have a key still.
        """

        def write(connection: Connection) -> None:
            table.free_keys(connection, self.now(), key_seconds)
            table.forget(connection, self.now(), receipt_seconds, most)

        await self._database.transact(write)

    async def remove(self, export_id: str) -> None:
        """Drop a job that has ended."""
        await self._database.transact(lambda connection: table.delete(connection, export_id))
        self.kept.pop(export_id, None)

    async def due_callbacks(self, within: float, count: int) -> list[Record]:
        """Jobs whose caller is to be told by now, the longest due first; none is due later than within some seconds."""
        return await self._database.read(
            lambda connection: table.read_due_callbacks(connection, self.now(), within, count)
        )

    async def told(self, export_id: str, callback: Callback) -> None:
        """Keep what has come of telling the caller, where the job is still there."""
        await self._database.transact(lambda connection: table.write_callback(connection, export_id, callback))

    def receipt(self, record: Record) -> Receipt:
        """What its caller is shown of the job, as it is now."""
        live = self.live.get(record.export_id)
        if live is None:
            return receipt_of(record, self.now())
        place = self.turns.place(record.order.caller, record.export_id)
        return receipt_of(live.record, self.now(), live.progress, place)
