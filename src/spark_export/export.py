"""One export on its way: what is to be made, what it has come to, and what is ready to be sent."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from spark_export.access import Caller
from spark_export.admission.bucket import Quota
from spark_export.model import ExportRequest, Format
from spark_export.sources.base import Table
from spark_export.writers.base import Chunk, Writer

ID_BYTES = 16


def new_id() -> str:
    """An unguessable id of 32 hexadecimal digits: it begins with no `-`, which a command would take for a flag."""
    return secrets.token_hex(ID_BYTES)


@dataclass(frozen=True)
class Plan:
    """An export to be made.

    Attributes:
        export_id, request_id: for the receipt and the log.
        caller: whose token it takes, and whose bounds hold.
        request: what to make.
        file_format: decided from the request and what the client accepts.
        table: where the rows come from; called after admission, so that nothing is prepared for a rejected export.
        coding: content coding that the client likes best, None for none.
        untyped: whether texts of the rows may be numbers that nobody said to be some, as in a CSV body.
    """

    export_id: str
    request_id: str
    caller: Caller
    request: ExportRequest
    file_format: Format
    table: Callable[[], Table]
    coding: str | None = None
    untyped: bool = False


@dataclass
class Progress:
    """What an export has come to so far; `total_rows` is what it will come to, None where nobody knows."""

    started_at: float
    began: float
    rows: int = 0
    total_rows: int | None = None
    truncated: bool = False
    bytes: int = 0
    sent_bytes: int = 0
    queued_seconds: float = 0.0
    first_byte_seconds: float | None = None
    writer: Writer | None = None
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class Export:
    """An admitted export whose first chunk is made.

    Attributes:
        plan: what it was asked to be.
        media_type: of the file.
        quota: where the caller stands, None without a limit.
        coding: content coding of the body, None for the file as it is.
        truncated: whether rows will be left out at the caller's cap, as it asked for.
        body: the bytes to send.
        progress: what of it is made.
    """

    plan: Plan
    media_type: str
    quota: Quota | None
    coding: str | None
    truncated: bool
    body: AsyncGenerator[Chunk, None]
    progress: Progress


@dataclass(frozen=True)
class Clocks:
    """Time as a parameter.

    Attributes:
        monotonic: seconds that never go back.
        wall: seconds since the epoch.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
