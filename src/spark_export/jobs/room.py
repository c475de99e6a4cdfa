"""How many bytes may be kept, and which files give way: the oldest finished ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from spark_export.errors import SpoolFull


class Room:
    """Counts the bytes of all that is kept.

    Args:
        most_bytes: at most so many; None for any number.
        give_way: has the oldest finished file go, which gives its bytes; whether there was one.

    Attributes:
        used_bytes: so far.
    """

    def __init__(self, most_bytes: int | None, give_way: Callable[[], Awaitable[bool]]) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._give_way = give_way
        self._clearing = asyncio.Lock()

    async def take(self, count: int) -> None:
        """Count so many more bytes.

        Raises:
            SpoolFull: they do not fit, even with no finished file left.
        """
        if not self._fits(count):
            async with self._clearing:
                while not self._fits(count):
                    if not await self._give_way():
                        detail = f"the files of jobs would be more than the {self.most_bytes} bytes that may be kept"
                        raise SpoolFull(detail, field="SPOOL_MAX_BYTES")
        self.used_bytes += count

    def give(self, count: int) -> None:
        """Count so many bytes less."""
        self.used_bytes -= count

    def _fits(self, count: int) -> bool:
        return self.most_bytes is None or self.used_bytes + count <= self.most_bytes
