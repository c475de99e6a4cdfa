"""Places of jobs that wait for their turn: so many, and of one caller half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from spark_export.admission.gate import Gate, draining_error
from spark_export.admission.turns import Turns
from spark_export.errors import QueueFull

RETRY_SECONDS = 10
"""After which the queue of jobs may have room again."""


class Places:
    """Counts them.

    Args:
        turns: those that wait.
        gate: says when the service drains.
        most: that may wait.
    """

    def __init__(self, turns: Turns[str], gate: Gate, most: int) -> None:
        self._turns = turns
        self._gate = gate
        self._most = most
        self._accepting: Counter[str] = Counter()

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """A place for a job that is being accepted.

        Raises:
            QueueFull, Draining: as of `check`.
        """
        self.check(caller)
        self._accepting[caller] += 1
        try:
            yield
        finally:
            self._accepting[caller] -= 1
            if not self._accepting[caller]:
                del self._accepting[caller]

    def check(self, caller: str) -> None:
        """Refuse what could not be accepted now.

        Raises:
            QueueFull: as many wait as may, or of the caller's half of that.
            Draining: the service is shutting down.
        """
        if self._gate.draining:
            raise draining_error()
        waiting = len(self._turns) + self._accepting.total()
        own = self._turns.held_by(caller) + self._accepting[caller]
        if waiting >= self._most or own >= self._most // 2:
            detail = f"{waiting} jobs wait already, {own} of them this caller's, who may have half of {self._most}"
            raise QueueFull(detail, retry_after_seconds=RETRY_SECONDS, field="MAX_JOBS")
