"""Who is admitted: the bucket by arithmetic, the gate by what is left afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.admission.bucket import Quota, Rate, RateLimiter
from spark_export.admission.gate import Gate
from spark_export.errors import Draining, QueueFull, QueueTimeout


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


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.now


@dataclass
class Guests:
    """Exports at a gate: each enters, tells its name, and stays until it is sent home."""

    gate: Gate
    entered: list[int] = field(default_factory=list)
    ends: dict[int, asyncio.Event] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def come(self, *names: int) -> None:
        """Start exports of those names."""
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name))

    async def _stay(self, name: int) -> None:
        async with self.gate.open_slot("a"):
            self.entered.append(name)
            await self.ends[name].wait()

    def leave(self, *names: int) -> None:
        """Send exports home."""
        for name in names:
            self.ends[name].set()

    async def everyone_home(self) -> None:
        """End all that is left, and see that nothing is held afterwards."""
        self.leave(*self.ends)
        async with asyncio.timeout(5):
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert (self.gate.running, self.gate.waiting) == (0, 0)


async def settle() -> None:
    """Let every task run as far as it can; none of them waits for time."""
    for _ in range(20):
        await asyncio.sleep(0)


def guests(slots: int = 1, queue: int = 2, timeout_seconds: float = 60.0, clock: Clock | None = None) -> Guests:
    """Nobody yet, at a gate."""
    return Guests(Gate(slots, queue, timeout_seconds, clock or Clock()))


def test_gate_is_first_in_first_out() -> None:
    """Slots go to those who wait in the order in which they came, and never to more than there are."""

    async def play() -> None:
        crowd = guests(slots=2, queue=5)
        crowd.come(1, 2, 3, 4, 5)
        await settle()
        assert (crowd.entered, crowd.gate.running, crowd.gate.waiting) == ([1, 2], 2, 3)
        crowd.leave(2)
        await settle()
        assert (crowd.entered, crowd.gate.running, crowd.gate.waiting) == ([1, 2, 3], 2, 2)
        crowd.leave(1, 3)
        await settle()
        assert crowd.entered == [1, 2, 3, 4, 5]
        await crowd.everyone_home()

    asyncio.run(play())


def test_nobody_overtakes() -> None:
    """Whoever comes while others wait does not take the slot that came free for them."""

    async def play() -> None:
        crowd = guests(queue=3)
        crowd.come(1, 2)
        await settle()
        crowd.leave(1)
        await crowd.tasks[1]
        crowd.come(3)
        await settle()
        assert crowd.entered == [1, 2]
        await crowd.everyone_home()
        assert crowd.entered == [1, 2, 3]

    asyncio.run(play())


def test_queue_full() -> None:
    """One more than may wait is sent away at once, and names the setting."""

    async def play() -> None:
        crowd = guests()
        crowd.come(1, 2, 3)
        await settle()
        with pytest.raises(QueueFull) as caught:
            async with crowd.gate.open_slot("a"):
                pass
        assert (caught.value.field, crowd.gate.running, crowd.gate.waiting) == ("MAX_QUEUE", 1, 2)
        await crowd.everyone_home()

    asyncio.run(play())


def test_no_queue() -> None:
    """With a queue of 0 nobody waits."""

    async def play() -> None:
        crowd = guests(queue=0)
        crowd.come(1, 2)
        await settle()
        assert isinstance(crowd.tasks[2].exception(), QueueFull)
        await crowd.everyone_home()

    asyncio.run(play())


def test_queue_timeout() -> None:
    """Who waited as long as is allowed is sent away, gives its place back and takes no slot."""

    async def play() -> None:
        crowd = guests(timeout_seconds=0.01)
        crowd.come(1, 2)
        with pytest.raises(QueueTimeout) as caught:
            await crowd.tasks[2]
        assert (caught.value.field, crowd.gate.running, crowd.gate.waiting) == ("QUEUE_TIMEOUT_SECONDS", 1, 0)
        await crowd.everyone_home()
        assert crowd.entered == [1]

    asyncio.run(play())


def test_timeout_is_for_waiting_only() -> None:
    """A slot may be held for longer than the longest wait."""

    async def play() -> None:
        gate = Gate(1, 1, 0.001, Clock())
        async with gate.open_slot("a"):
            with pytest.raises(QueueTimeout):
                async with gate.open_slot("a"):
                    pass
            await settle()
        assert gate.running == 0

    asyncio.run(play())


def test_cancelled_while_waiting() -> None:
    """Who leaves the queue gives the place to another, and the one behind gets the slot."""

    async def play() -> None:
        crowd = guests()
        crowd.come(1, 2, 3)
        await settle()
        crowd.tasks[2].cancel()
        await settle()
        assert (crowd.gate.running, crowd.gate.waiting) == (1, 1)
        crowd.leave(1)
        await settle()
        assert crowd.entered == [1, 3]
        await crowd.everyone_home()

    asyncio.run(play())


@pytest.mark.parametrize("leaves_first", [True, False])
def test_cancelled_at_the_hand_over(*, leaves_first: bool) -> None:
    """A slot that is handed to someone who is cancelled in the same turn of the loop goes on to the next."""

    async def play() -> None:
        crowd = guests(slots=1, queue=2)
        gate = crowd.gate
        slot = gate.open_slot("a")
        await slot.__aenter__()
        crowd.come(2, 3)
        await settle()
        if leaves_first:
            crowd.tasks[2].cancel()
        await slot.__aexit__(None, None, None)
        if not leaves_first:
            crowd.tasks[2].cancel()
        await settle()
        assert crowd.tasks[2].cancelled()
        assert (crowd.entered, gate.running, gate.waiting) == ([3], 1, 0)
        await crowd.everyone_home()

    asyncio.run(play())


def test_failure_gives_the_slot_back() -> None:
    """A block that raises gives its slot back."""

    async def play() -> None:
        gate = Gate(1, 0, 1.0, Clock())
        for _ in range(3):
            with pytest.raises(KeyError):
                async with gate.open_slot("a"):
                    raise KeyError
        assert gate.running == 0

    asyncio.run(play())


def test_drain() -> None:
    """Draining sends away who waits and who comes; who runs goes on to the end."""

    async def play() -> None:
        crowd = guests()
        crowd.come(1, 2, 3)
        await settle()
        crowd.gate.drain()
        crowd.come(4)
        await settle()
        assert [type(crowd.tasks[name].exception()) for name in (2, 3, 4)] == [Draining] * 3
        assert (crowd.gate.running, crowd.gate.waiting, crowd.tasks[1].done()) == (1, 0, False)
        await crowd.everyone_home()

    asyncio.run(play())


def test_release_while_draining() -> None:
    """A slot that comes free in the turn of the loop in which the gate drains is not lost."""

    async def play() -> None:
        crowd = guests()
        slot = crowd.gate.open_slot("a")
        await slot.__aenter__()
        crowd.come(2, 3)
        await settle()
        crowd.gate.drain()
        await slot.__aexit__(None, None, None)
        await settle()
        assert crowd.entered == []
        await crowd.everyone_home()

    asyncio.run(play())


def _refusals(crowd: Guests) -> Iterator[int]:
    for task in crowd.tasks.values():
        error = task.exception() if task.done() and not task.cancelled() else None
        if isinstance(error, QueueFull):
            yield error.retry_after_seconds


def test_retry_after_follows_the_pace() -> None:
    """`Retry-After` is when the last in the queue would get a slot, at the pace of the last releases."""

    async def play() -> None:
        clock = Clock()
        crowd = guests(slots=1, queue=3, clock=clock)
        for name in range(10):  # one slot comes free every 4 s
            crowd.come(name)
            await settle()
            clock.now += 4
            crowd.leave(name)
            await settle()
        crowd.come(100, 101, 102, 103, 104)
        await settle()
        (seconds,) = _refusals(crowd)
        assert 4 * 3 <= seconds <= 4 * 5
        await crowd.everyone_home()

    asyncio.run(play())


def test_retry_after_is_bounded() -> None:
    """`Retry-After` is whole seconds from 1 to 600, whatever the pace, and before there is one."""

    async def play() -> None:
        for pause in (0.0, 1e-9, 1e6):
            clock = Clock()
            crowd = guests(slots=1, queue=1, clock=clock)
            for name in range(5):
                crowd.come(10 * name, 10 * name + 1, 10 * name + 2)
                await settle()
                clock.now += pause
                crowd.leave(*crowd.ends)
                await settle()
            seconds = list(_refusals(crowd))
            assert len(seconds) == 5
            assert all(type(each) is int and 1 <= each <= 600 for each in seconds)
            await crowd.everyone_home()

    asyncio.run(play())


@given(st.lists(st.tuples(st.sampled_from(["come", "leave", "cancel"]), st.integers(0, 15)), max_size=60))
def test_gate_never_loses_a_slot(steps: list[tuple[str, int]]) -> None:
    """Whatever comes, leaves and is cancelled in whatever order, the bounds hold and all is given back."""

    async def play() -> None:
        crowd = guests(slots=2, queue=3)
        for number, (step, name) in enumerate(steps):
            if step == "come" and name not in crowd.tasks:
                crowd.come(name)
            elif step == "leave" and name in crowd.ends:
                crowd.leave(name)
            elif step == "cancel" and name in crowd.tasks:
                crowd.tasks[name].cancel()
            if number % 3 == 0:
                await settle()
            assert crowd.gate.running <= 2
            assert crowd.gate.waiting <= 3
        await crowd.everyone_home()

    asyncio.run(play())
