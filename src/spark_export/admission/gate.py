"""Slots behind a bounded queue with a deadline: who runs, who waits, who is sent away."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from spark_export.errors import Draining, QueueFull, QueueTimeout

RELEASES_REMEMBERED = 32
LONGEST_RETRY_SECONDS = 600


class Gate:
    """Admits up to `slots` exports at once; up to `queue` more wait, first in first out.

    Args:
        slots: exports that run at once.
        queue: exports that may wait.
        timeout_seconds: longest wait.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, slots: int, queue: int, timeout_seconds: float, clock: Callable[[], float]) -> None:
        self._slots = slots
        self._queue = queue
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._releases: deque[float] = deque(maxlen=RELEASES_REMEMBERED)
        self.running = 0
        self.draining = False

    def __repr__(self) -> str:
        return f"<Gate running {self.running}/{self._slots}, waiting {self.waiting}/{self._queue}>"

    @property
    def waiting(self) -> int:
        """Exports in the queue."""
        return len(self._waiting)

    @asynccontextmanager
    async def open_slot(self) -> AsyncIterator[None]:
        """Hold a slot; it comes back however the block ends, and so does a place in the queue.

        Raises:
            QueueFull: as many wait as may.
            QueueTimeout: none came free in time.
            Draining: the service is shutting down.
        """
        await self._acquire()
        try:
            yield
        finally:
            self._release()

    def drain(self) -> None:
        """Admit nobody any more and send away whoever waits; those who run go on."""
        self.draining = True
        for ticket in self._waiting:
            if not ticket.done():
                ticket.set_exception(self._draining_error())

    async def _acquire(self) -> None:
        if self.draining:
            raise self._draining_error()
        if self.running < self._slots and not self._waiting:
            self.running += 1
            return
        if len(self._waiting) >= self._queue:
            raise QueueFull(
                f"{self.running} exports run and {self.waiting} wait already",
                retry_after_seconds=self._retry_after_seconds(),
                field="MAX_QUEUE",
            )
        await self._wait()

    async def _wait(self) -> None:
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await ticket
        except TimeoutError:
            self._leave(ticket)
            raise QueueTimeout(
                f"no slot came free within {self._timeout_seconds:g} s",
                retry_after_seconds=self._retry_after_seconds(),
                field="QUEUE_TIMEOUT_SECONDS",
            ) from None
        except BaseException:
            self._leave(ticket)
            raise

    def _leave(self, ticket: asyncio.Future[None]) -> None:
        """Give up a place, or the slot that was handed over in the very moment of leaving."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket.done() and not ticket.cancelled() and ticket.exception() is None:
            self._release()

    def _release(self) -> None:
        self.running -= 1
        self._releases.append(self._clock())
        while self._waiting and self.running < self._slots:
            ticket = self._waiting.popleft()
            if not ticket.done():
                self.running += 1
                ticket.set_result(None)

    def _retry_after_seconds(self) -> int:
        """When whoever comes last now would get a slot, at the pace at which slots came free lately."""
        if len(self._releases) < 2:
            return max(1, math.ceil(self._timeout_seconds / 4))
        pace = (self._clock() - self._releases[0]) / len(self._releases)
        return min(max(1, math.ceil(pace * (self.waiting + 1))), LONGEST_RETRY_SECONDS)

    def _draining_error(self) -> Draining:
        return Draining("the service is shutting down; another instance may serve this", retry_after_seconds=5)
