"""How a signal ends a command that exports."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """End the task at SIGINT and SIGTERM, as its cancellation, so that everything is given back.

    Raises:
        Stopped: it was ended so.
    """
    task, received = asyncio.current_task(), list[int]()

    def stop(number: int) -> None:
        received.append(number)
        if task is not None:
            task.cancel()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop, each)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        raise Stopped(received[0]) from None
