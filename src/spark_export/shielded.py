"""Work that goes on to its end though whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_RUNNING: set[asyncio.Task[Any]] = set()
"""The event loop keeps only weak references to its tasks."""


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns; cancelled meanwhile, the wait ends and the work goes on."""
    task = asyncio.create_task(work)
    _RUNNING.add(task)
    task.add_done_callback(_RUNNING.discard)
    return await asyncio.shield(task)
