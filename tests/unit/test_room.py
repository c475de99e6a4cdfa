"""Room for files: bounded in all, and shared by who keeps what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.errors import SpoolFull
from spark_export.jobs.room import Room

MOST = 100


@dataclass
class Shelf:
    """Finished files, the oldest first, which give way when they are asked to."""

    files: list[tuple[str, int]] = field(default_factory=list)
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        self.room = Room(MOST, self._give_way)

    async def put(self, caller: str, size: int) -> bool:
        """One more finished file; whether there was room."""
        try:
            await self.room.take(caller, size)
        except SpoolFull:
            return False
        self.files.append((caller, size))
        return True

    async def _give_way(self, caller: str) -> bool:
        found = next((each for each in self.files if each[0] == caller), None)
        if found is None:
            return False
        self.files.remove(found)
        self.room.give(*found)
        return True


def play(*puts: tuple[str, int]) -> tuple[list[bool], list[tuple[str, int]]]:
    """What there was room for, and what is left."""
    shelf = Shelf()

    async def run() -> list[bool]:
        return [await shelf.put(caller, size) for caller, size in puts]

    return asyncio.run(run()), shelf.files


def test_the_oldest_gives_way() -> None:
    """A caller's own oldest files go until there is room, and no more of them."""
    assert play(("a", 40), ("a", 40), ("a", 30)) == ([True, True, True], [("a", 40), ("a", 30)])


def test_who_keeps_most_gives_way() -> None:
    """A caller who keeps less takes the room of the one who keeps the most."""
    assert play(("a", 60), ("a", 30), ("b", 30)) == ([True, True, True], [("a", 30), ("b", 30)])


def test_nobody_gives_way_to_one_who_keeps_more() -> None:
    """A file that would make its caller the greediest costs nobody else a file, and does not fit."""
    assert play(("a", 30), ("b", 90)) == ([True, False], [("a", 30)])
    assert play(("a", 30), ("b", 60), ("b", 80)) == ([True, True, False], [("a", 30)])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120))))
def test_never_more_than_may_be(puts: list[tuple[str, int]]) -> None:
    """Whatever comes, what is kept fits, a file beyond all bounds does not, and every byte is counted once."""
    shelf = Shelf()

    async def run() -> None:
        for caller, size in puts:
            assert await shelf.put(caller, size) <= (size <= MOST)
            assert shelf.room.used_bytes == sum(size for _, size in shelf.files) <= MOST

    asyncio.run(run())


def test_less_room_than_there_was() -> None:
    """What is there already is counted though it does not fit, and goes until the rest does, as far as it may."""
    shelf = Shelf([("a", 60), ("b", 30), ("a", 50)])

    async def run() -> None:
        for caller, size in shelf.files:
            shelf.room.count(caller, size)
        shelf.room.count("c", 45)  # a body, which does not go
        await shelf.room.shrink()
        assert (shelf.files, shelf.room.used_bytes) == ([("b", 30)], 75)
        shelf.room.count("c", 100)
        await shelf.room.shrink()
        assert (shelf.files, shelf.room.used_bytes) == ([], 145)

    asyncio.run(run())


def test_what_does_not_fit_says_so() -> None:
    """The error names the setting."""
    with pytest.raises(SpoolFull) as found:
        asyncio.run(Room(MOST, Shelf()._give_way).take("a", MOST + 1))
    assert found.value.field == "SPOOL_MAX_BYTES"
