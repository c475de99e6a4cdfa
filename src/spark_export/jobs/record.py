"""A job as it is kept: what was asked for, and what has become of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from pydantic import TypeAdapter

from spark_export.delivery.rules import shown
from spark_export.model import Deliver, ExportRequest, Format
from spark_export.outcome import Outcome, State, asked_of
from spark_export.sources.upload.table import BodyForm


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """It was completed, and its file is no longer kept."""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in {JobState.QUEUED, JobState.RUNNING}

    @classmethod
    def of(cls, ended: State) -> JobState:
        """How a job ended whose export ended so."""
        return {State.COMPLETED: cls.COMPLETED, State.CANCELLED: cls.CANCELLED}.get(ended, cls.FAILED)


@dataclass(frozen=True)
class Order:
    """What was asked for: all that is needed to make the file, again if need be.

    Attributes:
        export_id, request_id: of the export, and of the request that asked for it.
        caller: name of who asked; its bounds are those that it has when the file is made.
        address: where the request came from.
        request: what to make.
        file_format: of the file.
        has_body: whether a file holds the rows.
        form: what that is said to be; None where it is the rows of a JSON body, or there is none.
        is_stream: whether it was streamed, and its file is kept besides.
        asked: what the rows are chosen by, as an outcome has it, where the request does not say it any more.
    """

    export_id: str
    request_id: str
    caller: str
    address: str
    request: ExportRequest
    file_format: Format
    has_body: bool = False
    form: BodyForm | None = None
    is_stream: bool = False
    asked: str = ""

    @property
    def is_kept_here(self) -> bool:
        """Whether the file stays here, to be fetched."""
        return self.request.deliver is None

    def shown(self) -> Order:
        """Without what only making the file takes, of which there may be a megabyte, and without a URL's secrets."""
        request = self.request
        deliver = None if request.deliver is None else Deliver(url=shown(request.deliver.url))
        kept = ExportRequest(
            dataset=request.dataset, filename=request.filename, on_limit=request.on_limit, deliver=deliver
        )
        return replace(self, request=kept, form=None, asked=asked_of(request))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The order of its JSON."""
        return _ORDERS.validate_json(text)

    def to_json(self) -> str:
        """As JSON, without what the request left out."""
        return _ORDERS.dump_json(self, exclude_unset=True).decode()


@dataclass(frozen=True)
class Attempt:
    """One try to tell the caller.

    Attributes:
        at: when, seconds since the epoch.
        status: of the answer, None where there was none.
        detail: why it did not do; None where it did.
    """

    at: float
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Callback:
    """What has come of telling the caller.

    Attributes:
        url: that is told.
        state: `waiting` for the end, `pending` until the next try, `delivered`, or `failed` for good.
        attempts: so far.
        next_at: when the next one is due, seconds since the epoch.
    """

    url: str
    state: str = "waiting"
    attempts: tuple[Attempt, ...] = ()
    next_at: float | None = None

    def shown(self) -> Callback:
        """Without the query of its URL, which may be a secret between the caller and the receiver."""
        return replace(self, url=shown(self.url))

    @classmethod
    def from_json(cls, text: str) -> Callback:
        """The callback of its JSON."""
        return _CALLBACKS.validate_json(text)

    def to_json(self) -> str:
        """As JSON."""
        return _CALLBACKS.dump_json(self).decode()


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key, and the digest of what came with it."""

    text: str
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """A job.

    Attributes:
        order: what was asked for, as it is shown.
        state: where it is.
        accepted_at, began_at, ended_at: seconds since the epoch; None while it has not come to it.
        expires_at: when its file goes; None where there is none to go.
        runs: times it was begun, but for those that a shutdown ended.
        media_type: of the file.
        outcome: what came of it; None before its end.
        object_tag: entity tag of the object that it was delivered as.
        callback: None where nobody is told.
        key: with which it was asked for.
    """

    order: Order
    state: JobState
    accepted_at: float
    began_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    runs: int = 0
    media_type: str | None = None
    outcome: Outcome | None = None
    object_tag: str | None = None
    callback: Callback | None = None
    key: Key | None = field(default=None, repr=False)

    @property
    def export_id(self) -> str:
        """Its id."""
        return self.order.export_id

    @property
    def has_file(self) -> bool:
        """Whether its file is kept here."""
        return self.state is JobState.COMPLETED and self.order.is_kept_here

    @property
    def file_bytes(self) -> int:
        """Of the file that is kept."""
        return self.outcome.bytes if self.has_file and self.outcome is not None else 0


def ended(record: Record, outcome: Outcome, now: float, ttl_seconds: float) -> Record:
    """The record of a job that ends so, now; its file is kept so long."""
    callback = record.callback
    record = replace(
        record,
        state=JobState.of(outcome.state),
        ended_at=now,
        outcome=outcome,
        callback=None if callback is None else replace(callback, state="pending", next_at=now),
        key=None if outcome.state is State.CANCELLED else record.key,  # who ended it may ask for it again
    )
    return replace(record, expires_at=now + ttl_seconds) if record.has_file else record


def ends_to_come(now: float, ttl_seconds: float) -> tuple[float, float]:
    """Between which times a file's end lies that is kept: after the first, and not after the second.

    What seems to have more than twice its time left was made before the clock was set back.
    """
    return now, now + 2 * ttl_seconds


_ORDERS = TypeAdapter(Order)
_CALLBACKS = TypeAdapter(Callback)
OUTCOMES = TypeAdapter(Outcome)
