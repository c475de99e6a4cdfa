"""The token bucket by arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spark_export.admission.bucket import Quota, Rate, RateLimiter


def take(limiter: RateLimiter, caller: str, now: float) -> Quota:
    """The caller's standing after a request; there is a limit."""
    quota = limiter.try_take(caller, now)
    assert quota is not None
    return quota


@given(
    st.floats(0.01, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_bucket_bound(rate: float, burst: int, gaps: list[float]) -> None:
    """In no window are more requests allowed than the burst and what the rate adds in it."""
    limiter = RateLimiter(Rate(rate, burst))
    now, allowed = 0.0, []
    for gap in gaps:
        now += gap
        if take(limiter, "a", now).allowed:
            allowed.append(now)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + rate * (allowed[last] - allowed[first]) + 1e-6


@given(st.floats(0.01, 100), st.integers(1, 50), st.lists(st.floats(0, 0.5), max_size=80))
def test_bucket_reset(rate: float, burst: int, gaps: list[float]) -> None:
    """Whoever is refused and waits for `reset_seconds` is allowed."""
    limiter = RateLimiter(Rate(rate, burst))
    now = 0.0
    quota = take(limiter, "a", now)
    for gap in gaps:
        now += gap
        quota = take(limiter, "a", now)
        assert 0 <= quota.remaining <= burst
    if not quota.allowed:
        assert take(limiter, "a", now + quota.reset_seconds).allowed


def test_bucket_numbers() -> None:
    """A quota says what is left, of how many, in what window."""
    limiter = RateLimiter(Rate(0.5, 3))
    assert take(limiter, "a", 0.0) == Quota(True, 3, 2, 6, 2)
    assert take(limiter, "a", 0.0) == Quota(True, 3, 1, 6, 4)
    assert take(limiter, "a", 0.0) == Quota(True, 3, 0, 6, 2)
    assert take(limiter, "a", 0.0) == Quota(False, 3, 0, 6, 2)
    assert take(limiter, "a", 1.0) == Quota(False, 3, 0, 6, 1)
    assert take(limiter, "a", 2.0) == Quota(True, 3, 0, 6, 2)


def test_buckets_are_apart() -> None:
    """One caller's requests take nothing from another's."""
    limiter = RateLimiter(Rate(1, 1))
    assert [take(limiter, caller, 0.0).allowed for caller in "aabb"] == [True, False, True, False]


def test_no_rate_no_limit() -> None:
    """Without a rate there is no quota."""
    assert RateLimiter(None).try_take("a", 0.0) is None


def test_bucket_memory() -> None:
    """Of more callers than are kept, the one away longest is forgotten, the others are not."""
    limiter = RateLimiter(Rate(1e-9, 1), callers_kept=2)
    assert [take(limiter, caller, 0.0).allowed for caller in "ababcbca"] == [
        True, True, False, False, True, False, False, True]  # fmt: skip


def test_bucket_of_its_own() -> None:
    """A caller with a rate of its own is held to that one, with or without a rate for all."""
    for all_rate in (None, Rate(1, 5)):
        limiter = RateLimiter(all_rate)
        own = [limiter.try_take("a", 0.0, Rate(1, 1)) for _ in range(2)]
        assert [quota and quota.allowed for quota in own] == [True, False]


def test_a_look_takes_nothing() -> None:
    """Looking says what taking would say, however often."""
    limiter = RateLimiter(Rate(1, 1))
    looks = [limiter.look("a", 0.0) for _ in range(3)]
    assert [quota and quota.allowed for quota in looks] == [True] * 3
    assert take(limiter, "a", 0.0).allowed
    refused = limiter.look("a", 0.0)
    assert refused == take(limiter, "a", 0.0)
