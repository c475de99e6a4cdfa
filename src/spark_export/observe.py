"""What the core tells whoever watches: it knows this protocol, never Prometheus or a log format."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from spark_export.model import Format
from spark_export.outcome import Outcome, State

LOG = logging.getLogger("spark_export")


class Observer(Protocol):
    """Watches exports. Its methods are called on the event loop and return at once."""

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """So many more bytes went to a client."""

    def finished(self, outcome: Outcome) -> None:
        """An export ended, whatever the way; called once for each."""


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.wrote(file_format, sent_bytes)

    def finished(self, outcome: Outcome) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.finished(outcome)


class LogObserver:
    """One log line an export, which is the audit: who, what, by which filters, how much, what came of it; no cells."""

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Say nothing: a line a chunk helps nobody."""

    def finished(self, outcome: Outcome) -> None:
        """Log the outcome; a failure as an error."""
        level = logging.ERROR if outcome.state is State.FAILED else logging.INFO
        LOG.log(
            level,
            "export %s: %d rows, %d bytes, %.3f s%s",
            outcome.state.value,
            outcome.rows,
            outcome.bytes,
            outcome.seconds,
            f" ({': '.join(filter(None, (outcome.reason, outcome.detail)))})" if outcome.reason else "",
            extra={"action": "export_finished", **vars(outcome)},
        )
