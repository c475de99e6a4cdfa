"""What is kept no longer, for its time is over: files, keys and receipts of jobs."""

from __future__ import annotations

import asyncio

from spark_export.jobs.store import JobStore
from spark_export.logs import log_cause

LOOK_EVERY_SECONDS = 10.0
LOOKS_A_LIFE = 4
"""Of a file: one with a short life does not stay for long beyond it."""


class Keeper:
    """Has files and receipts go.

    Args:
        store: of jobs; a key is kept as long as a file.
        receipts_seconds: how long the receipt is kept after that.
        receipts_kept: at most so many receipts of a caller's jobs that have neither file nor key.
    """

    def __init__(self, store: JobStore, receipts_seconds: float, receipts_kept: int) -> None:
        self._store = store
        self._every_seconds = min(LOOK_EVERY_SECONDS, store.ttl_seconds / LOOKS_A_LIFE)
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
        register, ttl_seconds = self._store.register, self._store.ttl_seconds
        await self._store.expire(await register.expired(ttl_seconds))
        await register.forget(ttl_seconds, ttl_seconds + self._receipts_seconds, self._receipts_kept)
