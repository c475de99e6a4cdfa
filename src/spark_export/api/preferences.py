"""How a client wants its answer (RFC 7240), and the key under which it may ask once more."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from spark_export.errors import InvalidField
from spark_export.jobs.keys import FIELD

RESPOND_ASYNC = "respond-async"
MOST_WAIT_SECONDS = 300
"""Longer than any proxy waits for an answer."""
WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.ASCII)
KEY = re.compile(r"[!#-\[\]-~]{1,255}")
QUOTED_KEY = re.compile(r'"([^"\\]*)"')


@dataclass(frozen=True)
class Preferences:
    """What the head says of the answer.

    Attributes:
        is_async: whether the export may outlive its connection.
        wait_seconds: how long the client waits for the file before it takes a job; 0 for not at all.
        key: of the `Idempotency-Key` field; None without one.
    """

    is_async: bool = False
    wait_seconds: int = 0
    key: str | None = None

    @classmethod
    def from_headers(cls, headers: Headers) -> Preferences:
        """Those of a request; of a preference that is given twice the first one holds (RFC 7240 2).

        Raises:
            InvalidField: the key is none.
        """
        asked = [each.partition(";")[0].strip() for field in headers.getlist("prefer") for each in field.split(",")]
        waits = [found[1] for each in asked if (found := WAIT.fullmatch(each.lower()))]
        return cls(
            is_async=RESPOND_ASYNC in {each.lower() for each in asked},
            wait_seconds=min(int(waits[0]), MOST_WAIT_SECONDS) if waits else 0,
            key=_key_of(headers.getlist(FIELD)),
        )

    @property
    def applied(self) -> str:
        """The Preference-Applied field of an answer that obeys (RFC 7240 3)."""
        return f"{RESPOND_ASYNC}, wait={self.wait_seconds}" if self.wait_seconds else RESPOND_ASYNC


def _key_of(fields: list[str]) -> str | None:
    """The key, be it a structured field's string (RFC 9651 3.3.3), as the draft has it, or plain."""
    if not fields:
        return None
    if len(fields) > 1:
        raise InvalidField("a request has one key", field=FIELD)
    quoted = QUOTED_KEY.fullmatch(fields[0].strip())
    key = quoted[1] if quoted else fields[0].strip()
    if not KEY.fullmatch(key):
        raise InvalidField(
            "the key is 1 to 255 printable ASCII characters without spaces, quotes and backslashes", field=FIELD
        )
    return key


def fingerprint(*parts: str | bytes | memoryview) -> str:
    """A digest of what came with a key; each part is told from the next."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
