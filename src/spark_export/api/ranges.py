"""Which part of a file a request asks for, and whether it wants it at all (RFC 9110 13, 14). Pure."""

from __future__ import annotations

import datetime as dt
import re
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers

from spark_export.errors import PreconditionFailed, RangeNotSatisfiable

ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
"""Of several ranges none is served: the whole file is an answer too (RFC 9110 14.2)."""


def range_of(headers: Headers, size_bytes: int, tag: str, modified: str) -> range | None:
    """The bytes that are asked for; None for the whole file.

    Args:
        headers: of the request.
        size_bytes: of the file.
        tag: its strong entity tag.
        modified: its Last-Modified field.

    Raises:
        RangeNotSatisfiable: the range begins beyond the file.
    """
    found = ONE_RANGE.fullmatch(headers.get("range", "").strip())
    condition = headers.get("if-range")
    if found is None or (condition is not None and condition not in {tag, modified}):
        return None
    first, last = found.groups()
    if not first:
        return _last_bytes(int(last), size_bytes) if last else None
    start, stop = int(first), size_bytes if not last else min(int(last) + 1, size_bytes)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise _unsatisfiable(size_bytes)
    return range(start, stop)


def check_match(headers: Headers, tag: str, modified: str) -> None:
    """Refuse a request that is for another file; a time counts where no tag is named (RFC 9110 13.2.2).

    Raises:
        PreconditionFailed: it is.
    """
    if "if-match" in headers:
        if not _tags(headers, "if-match") & {"*", tag}:
            raise PreconditionFailed("the file is another than If-Match names", field="If-Match")
    elif _is_later(modified, headers.get("if-unmodified-since")):
        raise PreconditionFailed("the file is younger than If-Unmodified-Since", field="If-Unmodified-Since")


def is_known(headers: Headers, tag: str, modified: str) -> bool:
    """Whether the client has the file already; tags are compared weakly (RFC 9110 13.1.2)."""
    if "if-none-match" in headers:
        return bool({each.removeprefix("W/") for each in _tags(headers, "if-none-match")} & {"*", tag})
    return _is_later(modified, headers.get("if-modified-since")) is False


def _tags(headers: Headers, field: str) -> set[str]:
    return {each.strip() for line in headers.getlist(field) for each in line.split(",")}


def _is_later(modified: str, given: str | None) -> bool | None:
    """Whether a time of the file's is later than the one given; None where none is, or what is given is no time."""
    try:
        return None if given is None else _time(modified) > _time(given)
    except (ValueError, OverflowError):  # OverflowError of a zone of too many hours
        return None


def _time(text: str) -> dt.datetime:
    """The time of an HTTP-date; that of C's asctime has no zone, which is UTC (RFC 9110 5.6.7)."""
    time = parsedate_to_datetime(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=dt.UTC)


def _last_bytes(count: int, size_bytes: int) -> range:
    if count == 0 or size_bytes == 0:
        raise _unsatisfiable(size_bytes)
    return range(max(size_bytes - count, 0), size_bytes)


def _unsatisfiable(size_bytes: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"the file has {size_bytes} bytes, and the range none of them", size_bytes=size_bytes, field="Range"
    )
