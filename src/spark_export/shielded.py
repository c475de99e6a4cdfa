"""Work that goes on to its end though whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_RUNNING: set[asyncio.Task[Any]] = set()
"""The event loop keeps only weak references to its tasks."""


async def run_to_end(work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]] = _RUNNING) -> T:
    """What the work returns; cancelled meanwhile, the wait ends and the work goes on.

    Args:
        work: to be done.
        among: has its task until it is done.
    """
    return await asyncio.shield(held(work, among))


def held(work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    """The work's task, which the set has until it is done."""
    task = asyncio.create_task(work)
    among.add(task)
    task.add_done_callback(among.discard)
    return task
