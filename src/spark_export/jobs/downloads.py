"""Files of jobs that are on their way to clients; a service that shuts down lets them end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Downloads:
    """Counts them."""

    def __init__(self) -> None:
        self._none = asyncio.Event()
        self._none.set()
        self.running = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One that lasts as long as the block."""
        self.running += 1
        self._none.clear()
        try:
            yield
        finally:
            self.running -= 1
            if not self.running:
                self._none.set()

    async def until_none(self) -> None:
        """Wait until none is under way."""
        await self._none.wait()
