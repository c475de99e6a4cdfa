"""Everything that can go wrong with an export, as a tree by who must act.

    ExportError
    ├── RequestError                 the caller can mend it
    │   ├── MalformedBody            the body is not what its media type says
    │   ├── InvalidField             a field's value cannot be used; `field` names it
    │   ├── UnknownDataset           no dataset has that name
    │   ├── UnknownExport            no receipt has that id
    │   ├── NoContent                the export has no file here: it failed, was sent elsewhere, or was not a job
    │   ├── ContentNotReady          the job has not ended
    │   ├── ContentExpired           the job's file was kept its time, or gave way to others
    │   ├── PreconditionFailed       If-Match names another file, or If-Unmodified-Since an older one
    │   ├── RangeNotSatisfiable      Range begins beyond the file
    │   ├── KeyInUse                 the first request with the Idempotency-Key is not answered yet
    │   ├── KeyReused                the Idempotency-Key came with another payload
    │   ├── NotAcceptable            no format that Accept allows
    │   ├── UnsupportedMediaType     no source reads that media type
    │   ├── BodyTooLarge             over MAX_BODY_BYTES or MAX_UPLOAD_BYTES
    │   ├── BodyTooSlow              the body came slower than MIN_CLIENT_BYTES_PER_SECOND
    │   ├── RowLimitExceeded         over MAX_ROWS, or over the key's own cap
    │   ├── Unencodable              the requested encoding cannot hold a character of the rows
    │   ├── Unauthorized             no known API key
    │   └── Forbidden                the key may not export that dataset, or the file not go there
    ├── AdmissionError               retry later; `retry_after_seconds` says when
    │   ├── RateLimited              the caller's token bucket is empty
    │   ├── QueueFull                MAX_QUEUE exports, or MAX_JOBS jobs, wait already
    │   ├── QueueTimeout             no slot within QUEUE_TIMEOUT_SECONDS
    │   ├── MemoryFull               the process is over MAX_MEMORY_BYTES
    │   └── Draining                 the service is shutting down
    ├── SourceError                  the rows could not be had
    │   ├── SourceUnavailable        the store behind a dataset cannot be reached or read
    │   └── SourceTimeout            the store gave the query up: it took too long
    ├── WriterError                  the file could not be made of the rows
    ├── SinkError                    the file could not be handed over
    │   ├── ClientTooSlow            the client read slower than MIN_CLIENT_BYTES_PER_SECOND
    │   ├── SpoolFull                no room under SPOOL_DIR, or over SPOOL_MAX_BYTES
    │   └── DeliveryFailed           the bucket, or the presigned URL, did not take the file
    ├── DeadlineExceeded             EXPORT_TIMEOUT_SECONDS passed
    └── Interrupted                  the process was killed again and again while it made the job

`detail` is for the caller and never holds a secret, a path or SQL; what an operator needs beyond it travels as the
exception's `__cause__` into the log. A client that left is an outcome, not an error. HTTP status codes live in one
table, in `api.problems`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")

DETAIL_CHARACTERS = 1000
FIELD_CHARACTERS = 200
FIELDS_NAMED = 20
"""An error may quote what a client sent; it goes into an answer, the log, and a receipt that is kept."""


class ExportError(Exception):
    """An export that did not become a file.

    Attributes:
        slug: stable, lower-case name of the kind of error, with hyphens: the problem type.
        reason: the same with underscores: in receipts, the log, and the `reason` label of the metrics.
        detail: one sentence for the caller, cut where it is very long.
        field: path of the request field, or name of the setting, that must change, such as `where[0].value`.
    """

    slug = "internal"
    reason = "internal"

    def __init_subclass__(cls) -> None:
        cls.reason = cls.slug.replace("-", "_")

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        self.detail = _cut(detail, DETAIL_CHARACTERS)
        self.field = None if field is None else _cut(field, FIELD_CHARACTERS)
        super().__init__(self.detail)


class RequestError(ExportError):
    """The caller can mend the request."""

    slug = "invalid-request"


class MalformedBody(RequestError):
    """The body is not what its media type says."""

    slug = "malformed-body"


class InvalidField(RequestError):
    """A field's value cannot be used.

    Args:
        detail: what is wrong and what would be right.
        field: the field's path.
        more: every (field, detail) found in the same request, where there are several; the first of very many.
    """

    slug = "invalid-field"

    def __init__(self, detail: str, *, field: str, more: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail, field=field)
        self.more = tuple(
            (_cut(each, FIELD_CHARACTERS), _cut(text, DETAIL_CHARACTERS)) for each, text in more[:FIELDS_NAMED]
        )


class UnknownDataset(RequestError):
    """No dataset has that name."""

    slug = "unknown-dataset"


class UnknownExport(RequestError):
    """No receipt has that id: it never was, still runs, or is forgotten."""

    slug = "unknown-export"


class NoContent(RequestError):
    """The export has no file here: it failed, was sent elsewhere, or was no job."""

    slug = "no-content"


class ContentNotReady(RequestError):
    """The job has not ended."""

    slug = "content-not-ready"


class ContentExpired(RequestError):
    """The job's file was kept for JOB_TTL_SECONDS, or gave way to others under SPOOL_MAX_BYTES."""

    slug = "content-expired"


class PreconditionFailed(RequestError):
    """If-Match names another file, or If-Unmodified-Since an older one (RFC 9110 13.1.1, 13.1.4)."""

    slug = "precondition-failed"


class RangeNotSatisfiable(RequestError):
    """Range begins beyond the file (RFC 9110 14.1.2).

    Args:
        size_bytes: of the file.
    """

    slug = "range-not-satisfiable"

    def __init__(self, detail: str, *, size_bytes: int, field: str | None = None) -> None:
        super().__init__(detail, field=field)
        self.size_bytes = size_bytes


class KeyInUse(RequestError):
    """The first request with the Idempotency-Key is not answered yet (draft-ietf-httpapi-idempotency-key-header)."""

    slug = "idempotency-key-in-use"


class KeyReused(RequestError):
    """The Idempotency-Key came with another payload (draft-ietf-httpapi-idempotency-key-header)."""

    slug = "idempotency-key-reused"


class NotAcceptable(RequestError):
    """No format that the Accept header allows."""

    slug = "not-acceptable"


class UnsupportedMediaType(RequestError):
    """No source reads a body of that media type."""

    slug = "unsupported-media-type"


class BodyTooLarge(RequestError):
    """The body is over MAX_BODY_BYTES, or MAX_UPLOAD_BYTES."""

    slug = "body-too-large"


class BodyTooSlow(RequestError):
    """The body came slower than MIN_CLIENT_BYTES_PER_SECOND."""

    slug = "body-too-slow"


class RowLimitExceeded(RequestError):
    """The export has more rows than MAX_ROWS, or the key's own cap, allows."""

    slug = "row-limit"


class Unencodable(RequestError):
    """The requested encoding cannot hold a character of the rows."""

    slug = "unencodable"


class Unauthorized(RequestError):
    """The request carries no known API key."""

    slug = "unauthorized"


class Forbidden(RequestError):
    """The key may not export that dataset, or the file not go where DELIVER_ALLOW does not say."""

    slug = "forbidden"


class AdmissionError(ExportError):
    """The export may be tried again.

    Attributes:
        retry_after_seconds: whole seconds, at least 1, after which a retry has a fair chance (RFC 9110 10.2.3).
    """

    slug = "not-admitted"

    def __init__(self, detail: str, *, retry_after_seconds: int, field: str | None = None) -> None:
        super().__init__(detail, field=field)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(AdmissionError):
    """The caller's token bucket is empty.

    Args:
        quota: where the caller stands, an `admission.bucket.Quota`.
    """

    slug = "quota-exceeded"

    def __init__(self, detail: str, *, retry_after_seconds: int, quota: object, field: str | None = None) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds, field=field)
        self.quota = quota


class QueueFull(AdmissionError):
    """As many exports wait as may wait."""

    slug = "queue-full"


class QueueTimeout(AdmissionError):
    """No slot came free while the export was allowed to wait."""

    slug = "queue-timeout"


class MemoryFull(AdmissionError):
    """The process is over MAX_MEMORY_BYTES."""

    slug = "memory-full"


class Draining(AdmissionError):
    """The service is shutting down."""

    slug = "draining"


class SourceError(ExportError):
    """The rows could not be had."""

    slug = "source-failed"


class SourceUnavailable(SourceError):
    """The store behind a dataset cannot be reached or read."""

    slug = "source-unavailable"


class SourceTimeout(SourceError):
    """The store behind a dataset gave the query up: it took too long."""

    slug = "source-timeout"


class WriterError(ExportError):
    """The file could not be made of the rows."""

    slug = "writer-failed"


class SinkError(ExportError):
    """The file could not be handed over."""

    slug = "sink-failed"


class ClientTooSlow(SinkError):
    """The client read slower than MIN_CLIENT_BYTES_PER_SECOND."""

    slug = "client-too-slow"


class SpoolFull(SinkError):
    """There is no room under SPOOL_DIR, or the files there would be over SPOOL_MAX_BYTES."""

    slug = "spool-full"


class DeliveryFailed(SinkError):
    """The bucket, or the presigned URL, did not take the file."""

    slug = "delivery-failed"


class DeadlineExceeded(ExportError):
    """The export took longer than EXPORT_TIMEOUT_SECONDS."""

    slug = "deadline-exceeded"


class Interrupted(ExportError):
    """The process was killed again and again while it made the job."""

    slug = "interrupted"


def error_reasons() -> tuple[str, ...]:
    """The reasons of the whole tree: a closed set."""
    return tuple(dict.fromkeys(kind.reason for kind in _iter_kinds()))


def kind_of(reason: str | None) -> type[ExportError]:
    """The kind of error that has the reason; that of an internal one where none has."""
    return next((kind for kind in _iter_kinds() if kind.reason == reason), ExportError)


def _iter_kinds() -> Iterator[type[ExportError]]:
    queue: list[type[ExportError]] = [ExportError]
    while queue:
        kind = queue.pop(0)
        yield kind
        queue.extend(kind.__subclasses__())


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


class SettingsError(Exception):
    """A setting or a file that it names cannot be used.

    Attributes:
        problems: all that was found, each naming the variable or the key to change.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Problems:
    """Goes on where something cannot be used, and keeps what is wrong with it."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    @property
    def found(self) -> tuple[str, ...]:
        """Every problem so far, each once."""
        return tuple(self._found)

    def instead(self, other: S, make: Callable[[], T]) -> T | S:
        """What is made; the other where it cannot be."""
        try:
            return make()
        except SettingsError as error:
            self._found |= dict.fromkeys(error.problems)
            return other
