"""How many bytes may be kept, and whose files give way: the oldest finished ones of who keeps the most."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from spark_export.errors import SpoolFull


class Room:
    """Counts the bytes of all that is kept, by caller.

    Nobody's files give way to one who keeps more: so a caller's endless file costs that caller's own, and then fails.

    Args:
        most_bytes: at most so many; None for any number.
        give_way: has the oldest finished file of a caller go, which gives its bytes; whether there was one.
    """

    def __init__(self, most_bytes: int | None, give_way: Callable[[str], Awaitable[bool]]) -> None:
        self._most_bytes = most_bytes
        self._give_way = give_way
        self._used: Counter[str] = Counter()
        self._clearing = asyncio.Lock()

    @property
    def used_bytes(self) -> int:
        """Of everything."""
        return self._used.total()

    async def take(self, caller: str, count: int) -> None:
        """Count so many more bytes of the caller's.

        Raises:
            SpoolFull: they do not fit, even without the finished files of those who keep as much.
        """
        if not self._fits(count):
            async with self._clearing:
                while not self._fits(count):
                    await self._clear(caller, count)
        self.count(caller, count)

    def count(self, caller: str, count: int) -> None:
        """Count what is there already, whether or not it fits."""
        self._used[caller] += count

    async def shrink(self) -> None:
        """Have finished files go until what there is fits, as far as it can be."""
        with suppress(SpoolFull):
            await self.take("", 0)

    def give(self, caller: str, count: int) -> None:
        """Count so many bytes of the caller's less."""
        self._used[caller] -= count
        if not self._used[caller]:
            del self._used[caller]

    def _fits(self, count: int) -> bool:
        return self._most_bytes is None or self.used_bytes + count <= self._most_bytes

    async def _clear(self, caller: str, count: int) -> None:
        own = self._used[caller] + count
        for other, used in self._used.most_common():
            if (other == caller or used >= own) and await self._give_way(other):
                return
        detail = f"the files of jobs would be more than the {self._most_bytes} bytes of SPOOL_MAX_BYTES"
        raise SpoolFull(detail, field="SPOOL_MAX_BYTES")
