"""What can go wrong with a client, as a tree. What the file system refuses stays an OSError.

ClientError
├── Refused          the service said no: its problem details
├── Unreachable      no connection, or none that held until the answer
├── BrokenExport     the connection broke in the middle of the file
├── ExportFailed     the export ended without a file: its receipt says why
└── WrongDigest      the bytes are not those that the receipt states
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROBLEM_PREFIX = "urn:spark-export:problem:"


class ClientError(Exception):
    """There is no file, or no receipt."""


class Refused(ClientError):
    """The service answered with an error (RFC 9457).

    Args:
        status: of HTTP.
        problem: members of the problem details; empty where the answer has none.
        retry_after_seconds: when to come again; None where the service does not say.

    Attributes:
        type, detail, field, request_id, export_id: of the problem; None where it has none.
        errors: each field that must change and why, where there are several.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_seconds: int | None = None) -> None:
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.type: str | None = problem.get("type")
        self.detail: str | None = problem.get("detail")
        self.field: str | None = problem.get("field")
        self.request_id: str | None = problem.get("request_id")
        self.export_id: str | None = problem.get("export_id")
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        super().__init__(self.detail or f"the service answers with status {status}")

    def is_problem(self, name: str) -> bool:
        """Whether it is the service's problem of that name, such as `queue-full`."""
        return self.type == PROBLEM_PREFIX + name


class Unreachable(ClientError):
    """No connection, or none that held until the answer."""


class BrokenExport(ClientError):
    """The connection broke in the middle of the file.

    Attributes:
        export_id: whose receipt may say more later.
    """

    def __init__(self, detail: str, export_id: str) -> None:
        super().__init__(detail)
        self.export_id = export_id


class ExportFailed(ClientError):
    """The export ended without a file, or its file is gone.

    Attributes:
        receipt: says why.
    """

    def __init__(self, receipt: Mapping[str, Any], says: str | None = None) -> None:
        self.receipt = dict(receipt)
        super().__init__(says or receipt.get("detail") or f"the export is {receipt.get('state')}")


class WrongDigest(ClientError):
    """The bytes are not those that the receipt states."""
