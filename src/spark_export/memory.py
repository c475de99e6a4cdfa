"""What memory the process holds, what it may hold, and how to give back what it no longer needs."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of version 2 and of version 1, as a container sees its own."""
NO_LIMIT_BYTES = 2**60
"""Version 1 says no limit by a number near 2**63."""
SHARE_OF_LIMIT = 0.85
"""The rest is for what the exports that run already come to need."""

M_ARENA_MAX = -8
"""Parameter of glibc's mallopt(3)."""
MALLOC_ARENAS = 2
"""Peak memory of 10,000,000 rows as CSV: 227 to 233 MiB with two, 237 to 239 with an arena a thread (glibc's way)."""

TRIM_AGAIN_SECONDS = 1.0


def resident_bytes() -> int:
    """Resident set of this process; its peak where the kernel has no /proc."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def container_limit_bytes() -> int | None:
    """The share of the container's memory limit beyond which nothing new is begun; None without such a limit."""
    for path in CGROUP_LIMITS:
        try:
            limit = int(Path(path).read_text(encoding="ascii"))
        except (OSError, ValueError):  # another version, or `max`
            continue
        if limit < NO_LIMIT_BYTES:
            return int(limit * SHARE_OF_LIMIT)
    return None


def limit_malloc_arenas() -> None:
    """Keep the threads' freed memory in few places; where the C library is another one, nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MALLOC_ARENAS)


def trim() -> None:
    """Give freed memory back to the system (malloc_trim(3)); where the C library is another one, nothing happens."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


class MemoryBound:
    """Whether the process is under its bound.

    Args:
        most_bytes: resident memory that it may hold; None for any.
        clock: seconds that never go back.
    """

    def __init__(self, most_bytes: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes = most_bytes
        self._clock = clock
        self._trimmed_at = -TRIM_AGAIN_SECONDS

    def holds(self) -> bool:
        """Whether there is room; what is free but not given back does not count against it."""
        if self.most_bytes is None or resident_bytes() <= self.most_bytes:
            return True
        if self._clock() - self._trimmed_at < TRIM_AGAIN_SECONDS:
            return False
        trim()
        self._trimmed_at = self._clock()
        return resident_bytes() <= self.most_bytes
