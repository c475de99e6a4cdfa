"""What every writer is, and the threads its kernels run in."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

Chunk = bytes | memoryview
"""A piece of a file; a view of a kernel's own buffer where that spares a copy."""

LACKING_NAMED = 20
"""Characters that a receipt names."""

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class Tally:
    """What a writer counts while it writes, for the receipt.

    Attributes:
        escaped_cells: texts that the formula guard changed.
        replaced_characters: characters that the encoding could not hold, or that no font of a PDF has.
        lacking_characters: the most frequent of those that no font has, as `U+6F22`, and how often each was met.
    """

    escaped_cells: int = 0
    replaced_characters: int = 0
    lacking_characters: dict[str, int] = field(default_factory=dict)

    def lack(self, characters: Counter[str]) -> None:
        """Take over the count of the characters that no font has."""
        counts = dict(characters)  # at once: a kernel may be counting on
        self.replaced_characters = sum(counts.values())
        most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:LACKING_NAMED]
        self.lacking_characters = {f"U+{ord(character):04X}": count for character, count in most}


class Writer(Protocol):
    """Makes one file of one export's batches.

    Attributes:
        media_type: value of the Content-Type field.
        tally: counted so far.
    """

    media_type: str
    tally: Tally

    def write(self, batches: AsyncIterator[Any]) -> AsyncGenerator[Chunk, None]:
        """The file's bytes, chunk by chunk, never more than a few batches behind the source.

        The first chunk holds the first batch, so that what can fail early fails before it. The caller closes the
        generator; it owns nothing that must be given back.

        Raises:
            WriterError: the rows cannot be written; what came out before is no whole file.
        """
        ...


async def map_ordered(
    items: AsyncIterator[T], work: Callable[[T], S], threads: Executor, ahead: int = 1
) -> AsyncGenerator[S, None]:
    """`work` of each item, in order, in threads; up to `ahead` results are made while one is consumed.

    With `ahead` 0 the calls never overlap each other: each begins when the one before has ended, and runs while that
    one's result is consumed. The first result is handed on at once, since somebody waits for the first byte. Closing
    early leaves at most `ahead + 1` calls of `work` to run out.
    """
    loop = asyncio.get_running_loop()
    pending: deque[asyncio.Future[S]] = deque()
    limit = 0
    try:
        async for item in items:
            ended = [await pending.popleft()] if pending and ahead == 0 else []
            pending.append(loop.run_in_executor(threads, work, item))
            for result in ended:
                yield result
            while len(pending) > limit:
                yield await pending.popleft()
                limit = max(ahead, 1)
        while pending:
            yield await pending.popleft()
    finally:
        for future in pending:
            future.cancel()
