"""Receipts: the outcomes of the latest exports, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from spark_export.errors import Unauthorized
from spark_export.model import Format
from spark_export.outcome import Outcome


class Receipts:
    """Keeps the latest outcomes.

    Args:
        capacity: most outcomes kept, 1 to 3 kB each; the oldest goes first.
        seconds: how long one is kept.
        clock: seconds that never go back.
    """

    def __init__(self, capacity: int, seconds: float, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        self._outcomes: OrderedDict[str, tuple[float, Outcome]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Receipts {len(self._outcomes)}/{self._capacity}>"

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Keep nothing: a receipt states an end."""

    def finished(self, outcome: Outcome) -> None:
        """Keep the outcome; but who has no key cannot read one, and must not displace those of others."""
        if outcome.reason == Unauthorized.reason:
            return
        self._outcomes[outcome.export_id] = (self._clock(), outcome)
        if len(self._outcomes) > self._capacity:
            self._outcomes.popitem(last=False)
        self._forget()

    def get(self, export_id: str) -> Outcome | None:
        """The export's outcome, None while it runs, where it is unknown, and after it was displaced or forgotten."""
        self._forget()
        found = self._outcomes.get(export_id)
        return None if found is None else found[1]

    def take(self, export_id: str) -> Outcome | None:
        """The export's outcome, which is not kept here any longer."""
        found = self._outcomes.pop(export_id, None)
        return None if found is None else found[1]

    def iter_of(self, caller: str) -> Iterator[Outcome]:
        """The caller's outcomes, the one that ended last first."""
        self._forget()
        return (outcome for _, outcome in reversed(self._outcomes.values()) if outcome.caller == caller)

    def _forget(self) -> None:
        """Drop what is too old: the first ones, as they stand in the order of their ends."""
        oldest = self._clock() - self._seconds
        while self._outcomes and next(iter(self._outcomes.values()))[0] < oldest:
            self._outcomes.popitem(last=False)
