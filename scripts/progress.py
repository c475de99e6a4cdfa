"""What a script says of its progress."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TOLD_EVERY_SECONDS = {True: 0.1, False: 5.0}
"""On a terminal, and elsewhere."""


class Progress:
    """Says on standard error what is under way: a line that changes on a terminal, lines of their own elsewhere.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._step, self._bytes, self._began, self._told = "", 0, 0.0, 0.0

    def step(self, text: str) -> None:
        """Something begins."""
        self._step, self._bytes = text, 0
        self._began = self._told = time.monotonic()
        self._write(text)

    def add(self, count: int) -> None:
        """So many bytes have come."""
        self._bytes += count
        now = time.monotonic()
        if now - self._told >= TOLD_EVERY_SECONDS[self._terminal]:
            self._told = now
            self._write(f"{self._step}: {self._bytes / 1e6:,.1f} MB in {now - self._began:.1f} s")

    def note(self, text: str) -> None:
        """Something happened."""
        self.clear()
        print(text, file=self._stream)

    def clear(self) -> None:
        """Take the changing line away."""
        if self._terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def _write(self, line: str) -> None:
        if self._terminal:
            self.clear()
            print(line, end="", file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)
