"""Idempotency keys whose first request is not answered yet (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spark_export.errors import KeyInUse

FIELD = "Idempotency-Key"


class Keys:
    """The keys of requests that are on their way; those of answered ones are in the register, with their jobs."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, caller: str, key: str) -> Iterator[None]:
        """Let no other request of the caller's have the key.

        Raises:
            KeyInUse: one has it.
        """
        if (caller, key) in self._held:
            raise KeyInUse("the first request with this key is not answered yet; try again in a moment", field=FIELD)
        self._held.add((caller, key))
        try:
            yield
        finally:
            self._held.discard((caller, key))
