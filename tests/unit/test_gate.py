"""The gate: who is admitted, in which order, and what is left afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.admission.gate import Gate
from spark_export.errors import Draining, MemoryFull, QueueFull, QueueTimeout


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

    def come(self, *names: int, caller: str = "a") -> None:
        """Start exports of those names."""
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name, caller))

    async def _stay(self, name: int, caller: str) -> None:
        async with self.gate.open_slot(caller):
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


def test_callers_take_turns() -> None:
    """One caller's many waiting exports do not hold back another's one; within a caller the first comes first."""

    async def play() -> None:
        crowd = guests(slots=1, queue=200)
        crowd.come(0)
        await settle()
        crowd.come(*range(1, 101))
        crowd.come(500, 501, caller="b")
        crowd.come(900, caller="c")
        await settle()
        for _ in range(8):
            crowd.leave(crowd.entered[-1])
            await settle()
        assert crowd.entered == [0, 1, 500, 900, 2, 501, 3, 4, 5]
        await crowd.everyone_home()

    asyncio.run(play())


def test_a_full_queue_has_room_for_others() -> None:
    """A caller who filled the queue loses its last place to one with fewer, never the other way round."""

    async def play() -> None:
        crowd = guests(slots=1, queue=3)
        crowd.come(1, 2, 3, 4)
        await settle()
        crowd.come(50, caller="b")
        await settle()
        assert isinstance(crowd.tasks[4].exception(), QueueFull)
        crowd.come(51, caller="b")  # two against one would be no fairer than one against two
        await settle()
        assert isinstance(crowd.tasks[51].exception(), QueueFull)
        crowd.come(5)
        await settle()
        assert isinstance(crowd.tasks[5].exception(), QueueFull)
        assert crowd.gate.waiting == 3
        for _ in range(3):
            crowd.leave(crowd.entered[-1])
            await settle()
        assert crowd.entered == [1, 2, 50, 3]
        await crowd.everyone_home()

    asyncio.run(play())


def test_check_refuses_what_the_gate_would() -> None:
    """The door asks the gate: it says no just where entering would be refused at once, and takes no place."""

    async def play() -> None:
        crowd = guests(slots=1, queue=1)
        crowd.gate.check("a")
        crowd.come(1)
        await settle()
        crowd.gate.check("a")
        crowd.come(2)
        await settle()
        with pytest.raises(QueueFull):
            crowd.gate.check("a")
        crowd.gate.drain()
        with pytest.raises(Draining):
            crowd.gate.check("b")
        await crowd.everyone_home()

    asyncio.run(play())


def test_memory_is_waited_for() -> None:
    """Without memory one export runs at a time, the others wait, are let in when it is back, and are told why not."""

    async def play() -> None:
        memory = [False]
        crowd = Guests(Gate(4, 1, 60.0, Clock(), lambda: memory[0]))
        crowd.come(1, 2)
        await settle()
        assert (crowd.entered, crowd.gate.waiting) == ([1], 1)
        with pytest.raises(MemoryFull) as caught:
            crowd.gate.check("a")
        assert (caught.value.field, caught.value.retry_after_seconds > 0) == ("MAX_MEMORY_BYTES", True)
        memory[0] = True
        async with asyncio.timeout(5):
            while crowd.gate.running < 2:  # noqa: ASYNC110 - the gate looks again by itself
                await asyncio.sleep(0.01)
        await crowd.everyone_home()

    asyncio.run(play())


def test_memory_timeout() -> None:
    """Who waited for memory in vain is told so, and takes no slot."""

    async def play() -> None:
        crowd = Guests(Gate(4, 1, 0.01, Clock(), lambda: False))
        crowd.come(1, 2)
        with pytest.raises(MemoryFull):
            await crowd.tasks[2]
        assert (crowd.entered, crowd.gate.running, crowd.gate.waiting) == ([1], 1, 0)
        await crowd.everyone_home()

    asyncio.run(play())


def test_idle_and_busy() -> None:
    """Whoever waits for the gate to be idle or busy is told when it is."""

    async def play() -> None:
        crowd = guests()
        await crowd.gate.until_idle()
        busy = asyncio.create_task(crowd.gate.until_busy())
        await settle()
        assert not busy.done()
        crowd.come(1)
        await settle()
        idle = asyncio.create_task(crowd.gate.until_idle())
        await settle()
        assert (busy.done(), idle.done()) == (True, False)
        await crowd.everyone_home()
        await idle

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
                crowd.come(name, caller="abc"[name % 3])
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
