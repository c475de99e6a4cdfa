"""What came of an export: the receipt, the log line and the metrics are made of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from spark_export.errors import AdmissionError, ExportError, RequestError
from spark_export.model import ExportRequest, Format

ASKED_CHARACTERS = 1000


def asked_of(request: ExportRequest) -> str:
    """What the rows were chosen by, as JSON, for the audit line; cut where it is very long, as a receipt is kept."""
    asked = {
        "params": request.params,
        "columns": [column.name for column in request.columns or ()],
        "where": [condition.model_dump(exclude_none=True) for condition in request.where],
        "order_by": request.order_by,
        "limit": request.limit,
    }
    text = json.dumps({name: value for name, value in asked.items() if value not in ([], (), {}, None)}, default=str)
    return text if len(text) <= ASKED_CHARACTERS else text[: ASKED_CHARACTERS - 1] + "…"


class State(StrEnum):
    """How an export ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The client left, or the service was stopped."""
    REJECTED = "rejected"
    """Not admitted: rate limit, queue, draining."""
    INVALID = "invalid"
    """The request could not be served as it was."""


def state_of(error: BaseException | None, *, had_bytes: bool = False) -> State:
    """How an export ends with that error, None for a good end.

    Args:
        error: that ended it.
        had_bytes: whether its first bytes had been made by then.
    """
    if error is None:
        return State.COMPLETED
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return State.CANCELLED
    kinds = {AdmissionError: State.REJECTED, RequestError: State.INVALID} if not had_bytes else {}
    return next((state for kind, state in kinds.items() if isinstance(error, kind)), State.FAILED)


def told(error: BaseException | None) -> dict[str, Any]:
    """The fields of an outcome that say why the export ended: `reason`, and of our own errors `detail` and `field`."""
    if error is None:
        return {}
    if isinstance(error, ExportError):
        return {"reason": error.reason, "detail": error.detail, "field": error.field}
    return {"reason": State.CANCELLED.value if state_of(error) is State.CANCELLED else ExportError.reason}


@dataclass(frozen=True)
class Outcome:
    """What came of one export.

    Attributes:
        export_id: made here, unguessable.
        request_id: the caller's or made here.
        caller: who asked: a key's name, else an address.
        address: where the request came from.
        format: of the file, None where the request did not get so far.
        dataset: name of the rows, None for rows in the body.
        asked: parameters, columns, filters, order and limit of the request as JSON, cut where it is very long.
        state: how it ended.
        reason: the kind of error, such as `row_limit`; None for a completed export.
        detail: sentence for the caller; None for a completed export.
        rows: read from the source.
        truncated: whether rows were left out at the caller's cap, as it asked for.
        bytes: of the file, before any content coding.
        sent_bytes: handed to the client, after content coding.
        sha256: of the file, hexadecimal; None unless completed.
        started_at: when the request came, seconds since the epoch.
        queued_seconds: waited for a slot.
        first_byte_seconds: from the request to the first byte; None if there was none.
        seconds: from the request to the end.
        escaped_cells: texts that the formula guard changed.
        replaced_characters: characters that the encoding could not hold, or no font of a PDF has.
        lacking_characters: the most frequent of those that no font has, and how often each was met.
        field: path of the request's field, or name of the setting, that must change; None where there is none.
    """

    export_id: str
    request_id: str
    caller: str
    address: str
    format: Format | None
    dataset: str | None
    asked: str
    state: State
    started_at: float
    reason: str | None = None
    detail: str | None = None
    rows: int = 0
    truncated: bool = False
    bytes: int = 0
    sent_bytes: int = 0
    sha256: str | None = None
    queued_seconds: float = 0.0
    first_byte_seconds: float | None = None
    seconds: float = 0.0
    escaped_cells: int = 0
    replaced_characters: int = 0
    lacking_characters: Mapping[str, int] = field(default_factory=dict)
    field: str | None = None  # the last: its name hides the function above
