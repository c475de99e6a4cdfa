"""Files that are kept of exports that are streamed, for whoever comes with their Idempotency-Key again."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from spark_export.errors import ExportError
from spark_export.jobs.record import JobState, Key, Order, Record
from spark_export.jobs.store import JobStore
from spark_export.jobs.writing import Writing
from spark_export.receipts import Receipts
from spark_export.shielded import run_to_end


class KeptStream:
    """Keeps the file of one export beside its being streamed.

    Args:
        order: that it is made by.
        key: for whoever comes with it again.
        store: where it is kept.
        receipts: what came of it.
    """

    def __init__(self, order: Order, key: Key, store: JobStore, receipts: Receipts) -> None:
        self._order = replace(order.shown(), is_stream=True)
        self._key = key
        self._store = store
        self._receipts = receipts

    def open(self) -> AbstractAsyncContextManager[Writing]:
        """Takes the chunks of the file.

        Raises:
            SinkError: it cannot be stored.
        """
        return self._store.files.open_file(self._order.export_id, self._order.caller)

    async def drop(self) -> None:
        """Remove what there is of the file of an export that has not ended well."""
        await self._store.remove_file(self._order.export_id, self._order.caller)

    async def keep(self, media_type: str) -> None:
        """Keep the file, now that the export has ended well.

        Raises:
            SpoolFull: there is no room for that.
        """
        outcome = self._receipts.get(self._order.export_id)
        if outcome is None:  # others have displaced it
            await self.drop()
            return
        record = Record(
            self._order,
            JobState.RUNNING,
            accepted_at=outcome.started_at,
            began_at=outcome.started_at + outcome.queued_seconds,
            runs=1,
            media_type=media_type,
            key=self._key,
        )
        await run_to_end(self._end(self._store.ended(record, outcome)))

    async def _end(self, record: Record) -> None:
        """Either the record is kept with the file, or neither."""
        try:
            await self._store.keep_end(record)
        except ExportError:
            await self.drop()
            raise
        self._receipts.take(record.export_id)
