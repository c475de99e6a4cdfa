"""Which part of a file a request asks for, and whether it wants it at all (RFC 9110 13, 14). Pure."""

from __future__ import annotations

import re

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
    found = ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
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


def check_match(headers: Headers, tag: str) -> None:
    """Refuse a request that is for another file.

    Raises:
        PreconditionFailed: it is.
    """
    wanted = headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and tag not in _tags(wanted):
        raise PreconditionFailed("the file is another than If-Match names", field="If-Match")


def is_known(headers: Headers, tag: str) -> bool:
    """Whether the client has the file already; tags are compared weakly (RFC 9110 13.1.2)."""
    known = headers.get("if-none-match")
    return known is not None and (known.strip() == "*" or tag in {each.removeprefix("W/") for each in _tags(known)})


def _tags(field: str) -> set[str]:
    return {each.strip() for each in field.split(",")}


def _last_bytes(count: int, size_bytes: int) -> range:
    if count == 0 or size_bytes == 0:
        raise _unsatisfiable(size_bytes)
    return range(max(size_bytes - count, 0), size_bytes)


def _unsatisfiable(size_bytes: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"the file has {size_bytes} bytes, and the range none of them", size_bytes=size_bytes, field="Range"
    )
