"""Receipts: the outcomes of the latest exports, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from spark_export.model import Format, Outcome


class Receipts:
    """Keeps the latest outcomes.

    Args:
        capacity: most outcomes kept, about 1 kB each; the oldest goes first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Receipts {len(self._outcomes)}/{self._capacity}>"

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Keep nothing: a receipt states an end."""

    def finished(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        self._outcomes[outcome.export_id] = outcome
        while len(self._outcomes) > self._capacity:
            self._outcomes.popitem(last=False)

    def get(self, export_id: str) -> Outcome | None:
        """The export's outcome, None while it runs, where it is unknown, and after it was displaced."""
        return self._outcomes.get(export_id)

    def latest(self, caller: str, count: int) -> list[Outcome]:
        """At most `count` outcomes of the caller's, newest first."""
        own = (outcome for outcome in reversed(self._outcomes.values()) if outcome.caller == caller)
        return list(islice(own, count))
