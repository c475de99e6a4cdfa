"""Slots behind a bounded queue with a deadline: who runs, who waits, who is sent away.

Fair by caller: whose turn it is goes round the callers that wait, first come first served within each. When the queue
is full, a caller with fewer places than the one with most takes that one's last; so nobody can fill it for the others.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from spark_export.admission.turns import Turns
from spark_export.errors import AdmissionError, Draining, MemoryFull, QueueFull, QueueTimeout

RELEASES_REMEMBERED = 32
LONGEST_RETRY_SECONDS = 600
DRAINING_RETRY_SECONDS = 5
LOOK_AGAIN_SECONDS = 0.1
"""How often memory is looked at while an export waits for it."""

PATIENT = " patient"
"""Under this name, which no caller has, wait those who need no place in the queue; together they are one caller."""

Ticket = asyncio.Future[None]


class Gate:
    """Admits up to `slots` exports at once; up to `queue` more wait.

    Args:
        slots: exports that run at once.
        queue: exports that may wait.
        timeout_seconds: longest wait.
        clock: seconds of a clock that never goes back.
        has_memory: whether there is memory for one more; where nothing runs one is admitted whatever it says, since
            nobody else could give memory back.
    """

    def __init__(
        self,
        slots: int,
        queue: int,
        timeout_seconds: float,
        clock: Callable[[], float],
        has_memory: Callable[[], bool] = lambda: True,
    ) -> None:
        self.slots = slots
        self.queue = queue
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._has_memory = has_memory
        self._turns: Turns[Ticket] = Turns()
        self._releases: deque[float] = deque(maxlen=RELEASES_REMEMBERED)
        self._looking: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._busy = asyncio.Event()
        self._drains = asyncio.Event()
        self._idle.set()
        self.running = 0
        self.arriving = 0

    def __repr__(self) -> str:
        return f"<Gate running {self.running}/{self.slots}, waiting {self.waiting}/{self.queue}>"

    @property
    def draining(self) -> bool:
        """Whether nobody is admitted any more."""
        return self._drains.is_set()

    @property
    def waiting(self) -> int:
        """How many places of the queue are taken."""
        return len(self._turns) - self._turns.held_by(PATIENT)

    @asynccontextmanager
    async def open_slot(self, caller: str) -> AsyncIterator[None]:
        """Hold a slot; it comes back however the block ends, and so does a place in the queue.

        Args:
            caller: whose turn is taken.

        Raises:
            QueueFull: as many wait as may, and none of them holds more places than this caller.
            QueueTimeout: none came free in time.
            MemoryFull: there was a slot, but no memory, in time.
            Draining: the service is shutting down.
        """
        await self._acquire(caller)
        try:
            yield
        finally:
            self._release()

    @asynccontextmanager
    async def open_slot_patiently(self) -> AsyncIterator[None]:
        """Hold a slot as `open_slot` does, however long it takes to come free, and without a place in the queue.

        Raises:
            Draining: the service is shutting down.
        """
        if self.draining:
            raise draining_error()
        if self._admits():
            self._take()
        else:
            await self._wait(PATIENT, None)
        try:
            yield
        finally:
            self._release()

    def check(self, caller: str) -> None:
        """Refuse what `open_slot` would refuse at once.

        Raises:
            QueueFull, MemoryFull, Draining: as there.
        """
        if self.draining:
            raise draining_error()
        if self._admits() or self.waiting < self.queue or self._displaceable(caller) is not None:
            return
        raise self._full_error()

    def check_memory(self) -> None:
        """Refuse to take in more of what comes while the exports that run need all the memory.

        Raises:
            MemoryFull: they do.
        """
        if self.running and not self._has_memory():
            raise self._memory_error()

    @contextmanager
    def count_arrival(self) -> Iterator[None]:
        """A body on its way to a file, of which there may be as many as exports that could run or wait.

        Raises:
            QueueFull: there are.
            Draining: the service is shutting down.
        """
        if self.draining:
            raise draining_error()
        if self.arriving >= self.slots + self.queue:
            raise self._error(QueueFull, f"{self.arriving} bodies are on their way already", "MAX_QUEUE")
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    def drain(self) -> None:
        """Admit nobody any more and send away whoever waits; those who run go on."""
        self._drains.set()
        for ticket in self._turns:
            if not ticket.done():
                ticket.set_exception(draining_error())

    async def until_draining(self) -> None:
        """Return when nobody is admitted any more."""
        await self._drains.wait()

    async def until_idle(self) -> None:
        """Return when nothing runs."""
        await self._idle.wait()

    async def until_busy(self) -> None:
        """Return when something runs."""
        await self._busy.wait()

    def _admits(self) -> bool:
        """Whether whoever comes now need not wait."""
        return not self._turns and self._has_room()

    def _has_room(self) -> bool:
        return self.running == 0 or (self.running < self.slots and self._has_memory())

    async def _acquire(self, caller: str) -> None:
        self.check(caller)
        if self._admits():
            self._take()
            return
        if self.waiting >= self.queue and (greedy := self._displaceable(caller)) is not None:
            self._displace(greedy)
        await self._wait(caller, self._timeout_seconds)

    async def _wait(self, caller: str, timeout_seconds: float | None) -> None:
        ticket: Ticket = asyncio.get_running_loop().create_future()
        self._turns.add(caller, ticket)
        self._look_again()
        try:
            async with asyncio.timeout(timeout_seconds):
                await ticket
        except TimeoutError:
            self._leave(caller, ticket)
            raise self._timeout_error() from None
        except BaseException:
            self._leave(caller, ticket)
            raise

    def _leave(self, caller: str, ticket: Ticket) -> None:
        """Give up a place, or the slot that was handed over in the very moment of leaving."""
        if (
            not self._turns.remove(caller, ticket)
            and ticket.done()
            and not ticket.cancelled()
            and ticket.exception() is None
        ):
            self._release()

    def _displaceable(self, caller: str) -> str | None:
        """The caller who holds the most places, if those are more than this caller would hold with one more."""
        greedy = self._turns.greediest(but=PATIENT)
        if greedy is None or self._turns.held_by(greedy) <= self._turns.held_by(caller) + 1:
            return None
        return greedy

    def _displace(self, greedy: str) -> None:
        last = self._turns.take_last(greedy)
        if not last.done():
            last.set_exception(self._full_error())

    def _take(self) -> None:
        self.running += 1
        self._idle.clear()
        self._busy.set()

    def _release(self) -> None:
        self.running -= 1
        if self.running == 0:
            self._idle.set()
            self._busy.clear()
        self._releases.append(self._clock())
        self._admit()

    def _admit(self) -> None:
        """Hand free slots to those who wait, a caller after the other."""
        while self._turns and self._has_room():
            ticket = self._turns.take()
            if ticket is not None and not ticket.done():
                self._take()
                ticket.set_result(None)
        self._look_again()

    def _look_again(self) -> None:
        """While someone waits beside a free slot it is memory that is missing, and nobody tells when it is back."""
        if self._looking is None and self._turns and self.running < self.slots:
            self._looking = asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        self._admit()

    def _full_error(self) -> AdmissionError:
        return self._error(QueueFull, f"{self.running} exports run and {self.waiting} wait already", "MAX_QUEUE")

    def _timeout_error(self) -> AdmissionError:
        detail = f"no slot came free within {self._timeout_seconds:g} s"
        return self._error(QueueTimeout, detail, "QUEUE_TIMEOUT_SECONDS")

    def _error(self, kind: type[AdmissionError], detail: str, setting: str) -> AdmissionError:
        """An error of that kind, or where it is not a slot that is missing, of the other."""
        if self.running < self.slots:
            return self._memory_error()
        return kind(detail, retry_after_seconds=self._retry_after_seconds(), field=setting)

    def _memory_error(self) -> MemoryFull:
        return MemoryFull(
            "the exports that run need all the memory",
            retry_after_seconds=self._retry_after_seconds(),
            field="MAX_MEMORY_BYTES",
        )

    def _retry_after_seconds(self) -> int:
        """When whoever comes last now would get a slot, at the pace at which slots came free lately."""
        if len(self._releases) < 2:
            return max(1, math.ceil(self._timeout_seconds / 4))
        pace = (self._clock() - self._releases[0]) / len(self._releases)
        return min(max(1, math.ceil(pace * (self.waiting + 1))), LONGEST_RETRY_SECONDS)


def draining_error() -> Draining:
    """What whoever comes is told while the service shuts down."""
    return Draining(
        "the service is shutting down; another instance may serve this", retry_after_seconds=DRAINING_RETRY_SECONDS
    )
