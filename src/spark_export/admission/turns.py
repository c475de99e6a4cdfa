"""Whose turn it is: it goes round the callers that wait, first come first served within each. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Places of callers that wait; every operation but `remove` takes a time that grows with the callers at most."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for places in self._places.values():
            yield from places

    def held_by(self, caller: str) -> int:
        """How many places the caller holds."""
        return len(self._places.get(caller, ()))

    def greediest(self, but: str) -> str | None:
        """Who holds the most places, of all but one; None where there is nobody."""
        callers = [caller for caller in self._places if caller != but]
        return max(callers, key=self.held_by, default=None)

    def add(self, caller: str, item: T) -> None:
        """Give the caller one more place, its last."""
        self._places.setdefault(caller, deque()).append(item)
        self._count += 1

    def take(self) -> T | None:
        """Whoever's turn it is, who loses the place; the next turn is another caller's. None where nobody waits."""
        if not self._places:
            return None
        caller, places = next(iter(self._places.items()))
        item = places.popleft()
        self._count -= 1
        self._places.move_to_end(caller)
        self._forget_if_empty(caller)
        return item

    def take_last(self, caller: str) -> T:
        """The caller's last place, which it loses."""
        item = self._places[caller].pop()
        self._count -= 1
        self._forget_if_empty(caller)
        return item

    def remove(self, caller: str, item: T) -> bool:
        """Give a place up; whether it was there."""
        if item not in self._places.get(caller, ()):
            return False
        self._places[caller].remove(item)
        self._count -= 1
        self._forget_if_empty(caller)
        return True

    def place(self, caller: str, item: T) -> int | None:
        """How many turns it is until the item's, itself included, if nobody comes or leaves; None where it has none."""
        if item not in self._places.get(caller, ()):
            return None
        own = self._places[caller].index(item)
        before, turns = True, own + 1
        for other, places in self._places.items():
            if other == caller:
                before = False
            else:
                turns += min(len(places), own + before)
        return turns

    def _forget_if_empty(self, caller: str) -> None:
        if not self._places[caller]:
            del self._places[caller]
