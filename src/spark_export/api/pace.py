"""How slow a client may be: a bound on how long it may make the service hold what is for it, or from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from spark_export.api.protocol import BoundedProtocol
from spark_export.errors import ClientTooSlow

GRACE_SECONDS = 30
CREDIT_BYTES = 2**16
"""TCP tells of what was read in steps, on the loopback device of up to 64 KiB: at 1 kB/s nothing seems to move for a
minute. So much more than was due counts for the time to come."""
LOOK_SECONDS = 1.0


class Pace:
    """Tells whether a client has been too slow for too long. Pure.

    Args:
        least_bytes_per_second: it may be slower than that for `GRACE_SECONDS`; None for any speed.
    """

    def __init__(self, least_bytes_per_second: float | None) -> None:
        self._least = least_bytes_per_second or 0.0
        self._lag_bytes = 0.0

    def is_kept(self, seconds: float, moved_bytes: int) -> bool:
        """Whether it may go on, after so many more seconds in which it was waited for and moved so many bytes."""
        self._lag_bytes = max(self._lag_bytes + self._least * seconds - moved_bytes, -CREDIT_BYTES)
        return self._lag_bytes <= self._least * GRACE_SECONDS

    def owes_nothing(self) -> None:
        """The client has everything that there is so far: begin anew."""
        self._lag_bytes = 0.0


@asynccontextmanager
async def open_pace(
    connection: BoundedProtocol | None, least_bytes_per_second: int | None
) -> AsyncIterator[Callable[[int], None]]:
    """End the block when the client has been too slow; gives what is to be told how many bytes were handed over.

    Args:
        connection: the client's; None where the server tells none, so that nothing can be seen of it.
        least_bytes_per_second: None for any speed.

    Raises:
        ClientTooSlow: it read slower than that for too long.
    """
    patience, handed = asyncio.timeout(None), [0]

    def hand_over(size: int) -> None:
        handed[0] += size

    async def watch(client: BoundedProtocol) -> None:
        loop, pace, read = asyncio.get_running_loop(), Pace(least_bytes_per_second), 0
        looked_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            unread, now = client.unread_bytes(), loop.time()
            moved, read = handed[0] - unread - read, handed[0] - unread
            if not unread:
                pace.owes_nothing()
            elif not pace.is_kept(now - looked_at, moved):
                patience.reschedule(now)
                return
            looked_at = now

    try:
        async with patience:
            watching = None if connection is None else asyncio.create_task(watch(connection))
            try:
                yield hand_over
            finally:
                if watching is not None:
                    watching.cancel()
    except TimeoutError:
        if not patience.expired():
            raise
        detail = f"the client read slower than {least_bytes_per_second} bytes a second"
        raise ClientTooSlow(detail, field="MIN_CLIENT_BYTES_PER_SECOND") from None
