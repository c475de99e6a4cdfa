"""What a caller is shown of an export: its outcome, and how far a job has come."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter

from spark_export.export import Progress
from spark_export.jobs.record import Callback, JobState, Order, Record
from spark_export.outcome import Outcome, State, asked_of, state_of, told

CONTENT = "/exports/{}/content"


@dataclass(frozen=True)
class Receipt(Outcome):
    """An outcome, and what only jobs have; what is not known yet is 0 or null.

    Attributes:
        state: queued, running, completed, failed, cancelled, expired; of an export that was no job, as of `Outcome`.
        total_rows: that there will be, where the source knows; null else.
        place: turns until a queued job begins, 1 for the next; null where it waits no longer.
        runs: times that it was begun.
        content: path of its file; null where there is none.
        expires_at: when the file goes, seconds since the epoch.
        delivered_to: address of the file once it is elsewhere, as it was asked to be, without its query.
        object_tag: entity tag of the object there, once it is whole.
        callback: what has come of telling the caller.
    """

    state: State | JobState  # type: ignore[assignment]  # the one field that says more than it does of an outcome
    total_rows: int | None = None
    place: int | None = None
    runs: int = 0
    content: str | None = None
    expires_at: float | None = None
    delivered_to: str | None = None
    object_tag: str | None = None
    callback: Callback | None = None


def receipt_of(record: Record, now: float, progress: Progress | None = None, place: int | None = None) -> Receipt:
    """The job's receipt.

    Args:
        record: as it is kept.
        now: seconds since the epoch.
        progress: of the run.
        place: of a queued one.
    """
    order = record.order
    outcome = record.outcome or _begun(order, progress)
    deliver = order.request.deliver if record.state is JobState.COMPLETED else None
    shown = _shown(outcome) | {
        "state": record.state,
        "started_at": record.accepted_at,
        # The clock may have been set back.
        "queued_seconds": max((record.began_at or record.ended_at or now) - record.accepted_at, 0.0),
        "seconds": max((record.ended_at or now) - record.accepted_at, 0.0),
    }
    return Receipt(
        **shown,
        total_rows=progress.total_rows if progress is not None else outcome.rows if outcome.sha256 else None,
        place=place,
        runs=record.runs,
        content=CONTENT.format(order.export_id) if record.has_file else None,
        expires_at=record.expires_at,
        delivered_to=None if deliver is None else deliver.url,
        object_tag=record.object_tag,
        callback=None if record.callback is None else record.callback.shown(),
    )


def receipt_of_stream(outcome: Outcome) -> Receipt:
    """The receipt of an export that was no job."""
    return Receipt(**_shown(outcome), total_rows=outcome.rows if outcome.sha256 else None, runs=1)


def outcome_of(order: Order, error: BaseException | None, now: float) -> Outcome:
    """The outcome of a job that did not come as far as an export."""
    return Outcome(
        export_id=order.export_id,
        request_id=order.request_id,
        caller=order.caller,
        address=order.address,
        format=order.file_format,
        dataset=order.request.dataset,
        asked=order.asked or asked_of(order.request),
        state=state_of(error),
        started_at=now,
        **told(error),
    )


def _begun(order: Order, progress: Progress | None) -> Outcome:
    """What is known of an export that has not ended; its state is that of the job."""
    begun = outcome_of(order, None, 0.0)
    if progress is None:
        return begun
    return replace(
        begun,
        rows=progress.rows,
        bytes=progress.bytes,
        sent_bytes=progress.sent_bytes,
        first_byte_seconds=progress.first_byte_seconds,
    )


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {each.name: getattr(outcome, each.name) for each in fields(Outcome)}


RECEIPTS = TypeAdapter(Receipt)
