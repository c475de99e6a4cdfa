"""Files that are kept of exports that are streamed, for whoever comes with their Idempotency-Key again."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace

from spark_export.errors import ExportError, SinkError
from spark_export.jobs.folder import JobFiles, Writing
from spark_export.jobs.record import JobState, Key, Order, Record, ended
from spark_export.jobs.register import Register
from spark_export.receipts import Receipts
from spark_export.shielded import run_to_end


class KeptStream:
    """Keeps the file of one export beside its being streamed.

    Args:
        order: that it is made by.
        key: for whoever comes with it again.
        register, files, receipts: where it is kept, and what came of it.
        ttl_seconds: how long.
    """

    def __init__(
        self, order: Order, key: Key, register: Register, files: JobFiles, receipts: Receipts, ttl_seconds: float
    ) -> None:
        self._order = replace(order.shown(), is_stream=True)
        self._key = key
        self._register = register
        self._files = files
        self._receipts = receipts
        self._ttl_seconds = ttl_seconds

    def open(self) -> AbstractAsyncContextManager[Writing]:
        """Takes the chunks of the file.

        Raises:
            SinkError: it cannot be stored.
        """
        return self._files.open_file(self._order.export_id, self._order.caller)

    async def drop(self) -> None:
        """Remove what there is of the file of an export that has not ended well."""
        with suppress(SinkError):  # the next start removes what nobody knows
            await self._files.remove_file(self._order.export_id, self._order.caller)

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
        await run_to_end(self._end(ended(record, outcome, self._register.now(), self._ttl_seconds)))

    async def _end(self, record: Record) -> None:
        """Either the record is kept with the file, or neither."""
        try:
            await self._register.end(record)
        except ExportError:
            await self.drop()
            raise
        self._receipts.take(record.export_id)
