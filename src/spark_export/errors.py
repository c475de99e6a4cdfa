"""Everything that can go wrong with an export, as a tree by who must act.

    ExportError
    ├── RequestError                 the caller can mend it
    │   ├── MalformedBody            the body is not what its media type says
    │   ├── InvalidField             a field's value cannot be used; `field` names it
    │   ├── UnknownDataset           no dataset has that name
    │   ├── UnknownExport            no receipt has that id
    │   ├── NotAcceptable            no format that Accept allows
    │   ├── UnsupportedMediaType     no source reads that media type
    │   ├── BodyTooLarge             over MAX_BODY_BYTES
    │   ├── RowLimitExceeded         over MAX_ROWS
    │   ├── Unencodable              the requested encoding cannot hold a character of the rows
    │   └── Unauthorized             no known API key
    ├── AdmissionError               retry later; `retry_after_seconds` says when
    │   ├── RateLimited              the caller's token bucket is empty
    │   ├── QueueFull                MAX_QUEUE exports wait already
    │   ├── QueueTimeout             no slot within QUEUE_TIMEOUT_SECONDS
    │   └── Draining                 the service is shutting down
    ├── SourceError                  the rows could not be had
    │   └── SourceUnavailable        the store behind a dataset cannot be reached or read
    ├── WriterError                  the file could not be made of the rows
    └── DeadlineExceeded             EXPORT_TIMEOUT_SECONDS passed

`detail` is for the caller and never holds a secret, a path or SQL; what an operator needs beyond it travels as the
exception's `__cause__` into the log. A client that left is an outcome, not an error. HTTP status codes live in one
table, in `api.problems`.
"""

from __future__ import annotations


class ExportError(Exception):
    """An export that did not become a file.

    Attributes:
        slug: stable, lower-case name of the kind of error: the problem type and the `reason` label of the metrics.
        detail: one sentence for the caller.
        field: path of the request field, or name of the setting, that must change, such as `where[0].value`.
    """

    slug = "internal"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


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
        more: every further (field, detail) found in the same request.
    """

    slug = "invalid-field"

    def __init__(self, detail: str, *, field: str, more: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail, field=field)
        self.more = more


class UnknownDataset(RequestError):
    """No dataset has that name."""

    slug = "unknown-dataset"


class UnknownExport(RequestError):
    """No receipt has that id: it never was, still runs, or is forgotten."""

    slug = "unknown-export"


class NotAcceptable(RequestError):
    """No format that the Accept header allows."""

    slug = "not-acceptable"


class UnsupportedMediaType(RequestError):
    """No source reads a body of that media type."""

    slug = "unsupported-media-type"


class BodyTooLarge(RequestError):
    """The body is over MAX_BODY_BYTES."""

    slug = "body-too-large"


class RowLimitExceeded(RequestError):
    """The export has more rows than MAX_ROWS."""

    slug = "row-limit"


class Unencodable(RequestError):
    """The requested encoding cannot hold a character of the rows."""

    slug = "unencodable"


class Unauthorized(RequestError):
    """The request carries no known API key."""

    slug = "unauthorized"


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


class Draining(AdmissionError):
    """The service is shutting down."""

    slug = "draining"


class SourceError(ExportError):
    """The rows could not be had."""

    slug = "source-failed"


class SourceUnavailable(SourceError):
    """The store behind a dataset cannot be reached or read."""

    slug = "source-unavailable"


class WriterError(ExportError):
    """The file could not be made of the rows."""

    slug = "writer-failed"


class DeadlineExceeded(ExportError):
    """The export took longer than EXPORT_TIMEOUT_SECONDS."""

    slug = "deadline-exceeded"


def error_slugs() -> tuple[str, ...]:
    """The slugs of the whole tree: the closed set of reasons."""
    found: dict[str, None] = {}
    queue: list[type[ExportError]] = [ExportError]
    while queue:
        kind = queue.pop(0)
        found[kind.slug] = None
        queue.extend(kind.__subclasses__())
    return tuple(found)


class SettingsError(Exception):
    """A setting or the datasets file cannot be used; the message names the variable or the key."""
