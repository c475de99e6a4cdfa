"""How far an export is, on one line of a terminal.

Some forty lines do what is needed of tqdm, which is 80 kB and starts a thread: nothing is installed for it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TextIO

from spark_export.job import Progress

DRAWN_EVERY_SECONDS = 0.1
BAR_CELLS = 24
UNKNOWN_COLUMNS = 80
"""Of a terminal that says it has none, as a serial line or a new pseudo-terminal does."""
CLEARED = "\r\x1b[K"
"""The line is empty, and the cursor at its beginning (ECMA-48 8.3.41)."""


class Bar:
    """The line of a terminal; draws by itself, whatever the export does.

    Args:
        terminal: where.

    Attributes:
        progress: of the export; None until its first bytes are made.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.progress: Progress | None = None
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

    async def _draw(self) -> None:
        while True:
            columns = os.get_terminal_size(self._terminal.fileno()).columns or UNKNOWN_COLUMNS
            self._write(line(self.progress, time.monotonic() - self._began)[: columns - 1])
            await asyncio.sleep(DRAWN_EVERY_SECONDS)

    def _write(self, text: str) -> None:
        self._terminal.write(CLEARED + text)
        self._terminal.flush()


def line(progress: Progress | None, seconds: float) -> str:
    """How far it is after so many seconds; what it will come to where the source knows."""
    if progress is None:
        return f"waiting for the first rows, {seconds:.0f} s"
    rate = progress.rows / seconds if seconds else 0.0
    made = f"{progress.bytes / 1e6:,.1f} MB  {rate:,.0f} rows/s"
    total = progress.total_rows
    if not total:
        return f"{progress.rows:,} rows  {made}  {seconds:.0f} s"
    share = min(progress.rows / total, 1.0)
    filled = int(share * BAR_CELLS)
    left = f"{(total - progress.rows) / rate:.0f} s left" if rate else ""
    bar = "#" * filled + "-" * (BAR_CELLS - filled)
    return f"[{bar}] {share:4.0%}  {progress.rows:,} of {total:,} rows  {made}  {left}"
