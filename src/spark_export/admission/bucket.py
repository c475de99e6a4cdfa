"""A token bucket for each caller. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

CALLERS_KEPT = 100_000
"""A caller who has been away longest is forgotten first; a forgotten one starts with a full bucket again."""


@dataclass(frozen=True)
class Quota:
    """Where a caller stands after a request.

    Attributes:
        allowed: whether the request may go on.
        limit: tokens of a full bucket.
        remaining: whole tokens left.
        window_seconds: time in which an empty bucket fills.
        reset_seconds: whole seconds until the bucket is full, or until the next token where there is none.
    """

    allowed: bool
    limit: int
    remaining: int
    window_seconds: int
    reset_seconds: int


@dataclass(frozen=True)
class Rate:
    """How fast a caller may come.

    Attributes:
        per_second: tokens that a bucket gains.
        burst: tokens of a full bucket.
    """

    per_second: float
    burst: int


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """A token bucket for each caller, in bounded memory.

    Args:
        rate: of callers without one of their own; None for no limit.
        callers_kept: most callers remembered.
    """

    def __init__(self, rate: Rate | None, callers_kept: int = CALLERS_KEPT) -> None:
        self._rate = rate
        self._callers_kept = callers_kept
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def try_take(self, caller: str, now: float, own: Rate | None = None) -> Quota | None:
        """Take a token of the caller's; None where there is no limit.

        Args:
            caller: key's name or address.
            now: seconds of a clock that never goes back.
            own: the caller's own rate, always the same; None for that of all.
        """
        return self._look(caller, now, own or self._rate, tokens=1)

    def look(self, caller: str, now: float, own: Rate | None = None) -> Quota | None:
        """What `try_take` would say, without taking."""
        return self._look(caller, now, own or self._rate, tokens=0)

    def _look(self, caller: str, now: float, rate: Rate | None, *, tokens: int) -> Quota | None:
        if rate is None:
            return None
        bucket = self._buckets.pop(caller, None) or _Bucket(rate.burst, now)
        self._buckets[caller] = bucket
        while len(self._buckets) > self._callers_kept:
            self._buckets.popitem(last=False)
        bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.at) * rate.per_second)
        bucket.at = now
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= tokens
        return _quota(bucket, rate, allowed=allowed)


def _quota(bucket: _Bucket, rate: Rate, *, allowed: bool) -> Quota:
    wanted = rate.burst if bucket.tokens >= 1 else 1
    return Quota(
        allowed=allowed,
        limit=rate.burst,
        remaining=int(bucket.tokens),
        window_seconds=max(1, math.ceil(rate.burst / rate.per_second)),
        reset_seconds=max(1, math.ceil((wanted - bucket.tokens) / rate.per_second)),
    )
