"""How far an export is, on one line of a terminal.

Some forty lines do what is needed of tqdm, which is 80 kB and starts a thread: nothing is installed for it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol, TextIO

DRAWN_EVERY_SECONDS = 0.1
BAR_CELLS = 24
UNKNOWN_COLUMNS = 80
"""Of a terminal that says it has none, as a serial line or a new pseudo-terminal does."""
CLEARED = "\r\x1b[K"
"""The line is empty, and the cursor at its beginning (ECMA-48 8.3.41)."""


class Made(Protocol):
    """How far an export is.

    Attributes:
        rows: so far.
        total_rows: that there will be; None where nobody knows.
        bytes: so far.
    """

    rows: int
    total_rows: int | None
    bytes: int


class Bar:
    """The line of a terminal; draws by itself, whatever the export does.

    Args:
        terminal: where.

    Attributes:
        draw: what the line says after so many seconds; that nothing is made yet, unless told.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.draw: Callable[[float], str] = partial(line, None)
        self._terminal = terminal
        self._began = time.monotonic()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Drawn until the block ends, and then gone."""
        drawing = asyncio.create_task(self._draw())
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            self._write("")

    def loading(self) -> Callable[[int, int | None], None]:
        """What shows, from now on, the bytes of a file that it is told, and of how many where that is known."""
        began = time.monotonic()
        found_bytes: int | None = None

        def show(loaded_bytes: int, total_bytes: int | None) -> None:
            nonlocal found_bytes
            if found_bytes is None:
                found_bytes = loaded_bytes if total_bytes else 0
            text = loaded_line(loaded_bytes, total_bytes, time.monotonic() - began, found_bytes)
            self.draw = lambda _: text

        return show

    def pausing(self, why: str, seconds: float) -> None:
        """Show what failed, and when it is tried again."""
        again = time.monotonic() - self._began + seconds
        self.draw = lambda now: f"again in {max(again - now, 0.0):.0f} s: {why}"

    async def _draw(self) -> None:
        while True:
            columns = os.get_terminal_size(self._terminal.fileno()).columns or UNKNOWN_COLUMNS
            self._write(self.draw(time.monotonic() - self._began)[: columns - 1])
            await asyncio.sleep(DRAWN_EVERY_SECONDS)

    def _write(self, text: str) -> None:
        self._terminal.write(CLEARED + text)
        self._terminal.flush()


def line(made: Made | None, seconds: float) -> str:
    """How far an export is after so many seconds; what it will come to where the source knows."""
    if made is None:
        return f"waiting for the first rows, {seconds:.0f} s"
    rate = made.rows / seconds if seconds else 0.0
    file = f"{made.bytes / 1e6:,.1f} MB  {rate:,.0f} rows/s"
    total = made.total_rows
    if not total:
        return f"{made.rows:,} rows  {file}  {seconds:.0f} s"
    return f"{_share(made.rows, total)}  {made.rows:,} of {total:,} rows  {file}  {_left(total - made.rows, rate)}"


def queued_line(place: int | None, seconds: float) -> str:
    """Where a job stands in the queue; 1 is next."""
    return f"queued{'' if place is None else f' at place {place:,}'}, {seconds:.0f} s"


def loaded_line(loaded_bytes: int, total_bytes: int | None, seconds: float, found_bytes: int = 0) -> str:
    """How much of a file has come after so many seconds, of how much where that is known; some had come before."""
    rate = (loaded_bytes - found_bytes) / seconds if seconds else 0.0
    if not total_bytes:
        return f"{loaded_bytes / 1e6:,.1f} MB  {rate / 1e6:,.1f} MB/s  {seconds:.0f} s"
    loaded = f"{loaded_bytes / 1e6:,.1f} of {total_bytes / 1e6:,.1f} MB  {rate / 1e6:,.1f} MB/s"
    return f"{_share(loaded_bytes, total_bytes)}  {loaded}  {_left(total_bytes - loaded_bytes, rate)}"


def _share(done: int, total: int) -> str:
    share = min(done / total, 1.0)
    filled = int(share * BAR_CELLS)
    return f"[{'#' * filled}{'-' * (BAR_CELLS - filled)}] {share:4.0%}"


def _left(amount: int, rate: float) -> str:
    return f"{amount / rate:.0f} s left" if rate else ""
