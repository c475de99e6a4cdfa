"""What is kept no longer: files whose time is over or that give way to new ones, and the receipts of old jobs."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from spark_export.errors import SinkError
from spark_export.jobs.folder import JobFiles
from spark_export.jobs.register import Register
from spark_export.logs import log_cause
from spark_export.shielded import run_to_end

LOOK_EVERY_SECONDS = 10.0
LOOKS_A_LIFE = 4
"""Of a file: one with a short life does not stay for long beyond it."""


class Keeper:
    """Has files and receipts go.

    Args:
        register, files: of jobs.
        ttl_seconds: how long a file is kept, and a key.
        receipts_seconds: how long the receipt is kept after that.
        receipts_kept: at most so many receipts of a caller's jobs that have neither file nor key.
    """

    def __init__(
        self, register: Register, files: JobFiles, ttl_seconds: float, receipts_seconds: float, receipts_kept: int
    ) -> None:
        self._register = register
        self._files = files
        self._every_seconds = min(LOOK_EVERY_SECONDS, ttl_seconds / LOOKS_A_LIFE)
        self._ttl_seconds = ttl_seconds
        self._receipts_seconds = receipts_seconds
        self._receipts_kept = receipts_kept

    async def run(self) -> None:
        """Look again and again."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be over by the next time
                log_cause(error)
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Have go what is over."""
        await self.expire(await self._register.expired())
        keys_before = self._register.now() - self._ttl_seconds
        await self._register.forget(keys_before, keys_before - self._receipts_seconds, self._receipts_kept)

    async def give_way(self, caller: str) -> bool:
        """Have the caller's oldest finished file go; whether there was one."""
        oldest = next((export_id for export_id, owner in self._register.kept.items() if owner == caller), None)
        if oldest is None:
            return False
        await self.expire([oldest])
        return True

    async def expire(self, export_ids: list[str]) -> None:
        """Say that they are no longer kept, and then remove them; the one is not left without the other."""
        kept = self._register.kept
        owned = {export_id: kept[export_id] for export_id in export_ids if export_id in kept}
        if owned:
            await run_to_end(self._expire(owned))

    async def _expire(self, owned: dict[str, str]) -> None:
        await self._register.expire(owned)
        for export_id, caller in owned.items():
            with suppress(SinkError):  # the next start removes what nobody knows
                await self._files.remove_file(export_id, caller)
