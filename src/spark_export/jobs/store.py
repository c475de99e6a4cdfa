"""What is kept of jobs: their records, and the bodies and files that go with them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from spark_export.errors import SinkError
from spark_export.jobs.files import JobFiles
from spark_export.jobs.record import Record
from spark_export.jobs.record import ended as ended_record
from spark_export.jobs.register import Register
from spark_export.outcome import Outcome
from spark_export.shielded import run_to_end


class JobStore:
    """Keeps records and files in step.

    Args:
        register, files: of jobs.
        ttl_seconds: how long a file is kept after the job's end.

    Attributes:
        register, files, ttl_seconds: the same.
    """

    def __init__(self, register: Register, files: JobFiles, ttl_seconds: float) -> None:
        self.register = register
        self.files = files
        self.ttl_seconds = ttl_seconds

    async def load(self) -> None:
        """Read what the last process left, and remove what nobody knows."""
        await self.register.load()
        await self.files.sweep(await self.register.alive(), self.register.kept)

    def ended(self, record: Record, outcome: Outcome) -> Record:
        """The record of a job that ends so, now."""
        return ended_record(record, outcome, self.register.now(), self.ttl_seconds)

    async def keep_end(self, record: Record) -> None:
        """Keep the end of a job, and then only its file.

        Raises:
            SpoolFull: there is no room for that; nothing is removed.
        """
        await self.register.end(record)
        await self.clear(record)

    async def clear(self, record: Record) -> None:
        """Remove what a job that has ended leaves, but for its file."""
        with suppress(SinkError):  # the next start removes what nobody knows
            await self.files.remove_body(record.export_id, record.order.caller)
            if not record.has_file:  # it may have been whole before the export broke off
                await self.files.remove_file(record.export_id, record.order.caller)

    async def remove_file(self, export_id: str, caller: str) -> None:
        """Remove a file that nobody is told of any more."""
        with suppress(SinkError):  # the next start removes what nobody knows
            await self.files.remove_file(export_id, caller)

    async def give_way(self, caller: str) -> bool:
        """Have the caller's oldest finished file go; whether there was one."""
        oldest = next((export_id for export_id, owner in self.register.kept.items() if owner == caller), None)
        if oldest is None:
            return False
        await self.expire([oldest])
        return True

    async def expire(self, export_ids: Iterable[str]) -> None:
        """Remove files, and then say that they are no longer kept, which on a full disk may take their room."""
        kept = self.register.kept
        owned = {export_id: kept[export_id] for export_id in export_ids if export_id in kept}
        if owned:
            await run_to_end(self._expire(owned))

    async def _expire(self, owned: dict[str, str]) -> None:
        for export_id, caller in owned.items():
            await self.remove_file(export_id, caller)
        await self.register.expire(owned)
