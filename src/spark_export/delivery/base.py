"""What every delivery comes to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Delivered:
    """A file that is where it was to go, whole.

    Attributes:
        url: where, without a query.
        etag: the store's name for this very content (RFC 9110 8.8.3), None where it gave none.
        bytes: of the file.
    """

    url: str
    etag: str | None
    bytes: int
