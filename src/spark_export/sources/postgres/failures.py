"""PostgreSQL's errors as ours, by SQLSTATE (appendix A); their texts, which may hold SQL or values, are for the log."""

from __future__ import annotations

from spark_export.errors import SourceError, SourceTimeout, SourceUnavailable

GONE = ("08", "53", "57P", "58", "28", "3D", "40", "55P03")
"""No connection, no room, shut down, not let in, no such database, lost to a conflict, locked: all may pass."""
UNREADABLE = ("42P01", "42501", "3F000")
"""No such table, no right to it, no such schema."""
CANCELLED = "57014"
READ_ONLY = "25006"


def translated(error: Exception) -> SourceError:
    """The error for the caller."""
    state = getattr(error, "sqlstate", None)
    if state == CANCELLED:
        return SourceTimeout("the database ended the query: it took longer than it may; the log tells more")
    if state is None or state.startswith(GONE):
        return SourceUnavailable("the database cannot be reached, or is too busy; the log tells more")
    if state in UNREADABLE:
        return SourceUnavailable("the dataset's data cannot be read; the log tells more")
    if state == READ_ONLY:
        return SourceError("the dataset's query would change data, which no export may")
    return SourceError("the dataset's query failed; the log tells more")


def is_about_values(error: Exception) -> bool:
    """Whether a value did not read as one of its type (class 22)."""
    return (getattr(error, "sqlstate", None) or "").startswith("22")
