"""Which part of a file is asked for."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from spark_export.api.ranges import check_match, is_known, range_of
from spark_export.errors import PreconditionFailed, RangeNotSatisfiable

TAG, MODIFIED = '"abc"', "Fri, 27 Nov 2026 08:00:00 GMT"


def asked(field: str, condition: str | None = None, size_bytes: int = 1000) -> range | None:
    """The range of a file of that size."""
    headers = {"range": field} | ({} if condition is None else {"if-range": condition})
    return range_of(Headers(headers), size_bytes, TAG, MODIFIED)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-", range(1000)),
        ("bytes=500-599", range(500, 600)),
        ("bytes=999-5000", range(999, 1000)),
        ("bytes=-100", range(900, 1000)),
        ("bytes=-5000", range(1000)),
        (" bytes=1-2 ", range(1, 3)),
    ],
)
def test_a_range(field: str, found: range) -> None:
    """First and last byte count from 0, both included; without a first it is the last so many (RFC 9110 14.1.2)."""
    assert asked(field) == found


@pytest.mark.parametrize(
    "field",
    [
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1 0-2 0",
        "rows=0-5",
        "bytes=0-1,5-6",
        "bytes",
        "",
        "bytes=" + "9" * 25 + "-",
    ],
)
def test_what_is_no_range_is_the_whole_file(field: str) -> None:
    """What is malformed, of another unit, or several ranges, is ignored (RFC 9110 14.2)."""
    assert asked(field) is None


@pytest.mark.parametrize(("field", "size_bytes"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0)])
def test_a_range_beyond_the_file(field: str, size_bytes: int) -> None:
    """It is refused with the file's size."""
    with pytest.raises(RangeNotSatisfiable) as found:
        asked(field, size_bytes=size_bytes)
    assert found.value.size_bytes == size_bytes


@pytest.mark.parametrize(
    ("condition", "holds"), [(TAG, True), (MODIFIED, True), ('"other"', False), (f"W/{TAG}", False)]
)
def test_a_range_of_another_file(condition: str, holds: bool) -> None:
    """A range holds only where If-Range names this very file, strongly (RFC 9110 13.1.5)."""
    assert (asked("bytes=1-2", condition) is not None) == holds


@pytest.mark.parametrize(
    ("field", "known"), [(TAG, True), (f'"x", W/{TAG}', True), ("*", True), ('"x"', False), (None, False)]
)
def test_what_the_client_has(field: str | None, known: bool) -> None:
    """If-None-Match is compared weakly."""
    assert is_known(Headers({} if field is None else {"if-none-match": field}), TAG, MODIFIED) == known


@pytest.mark.parametrize(
    ("field", "passes"), [(TAG, True), ("*", True), (f'"x",{TAG}', True), (f"W/{TAG}", False), ('"x"', False)]
)
def test_what_the_client_wants(field: str, passes: bool) -> None:
    """If-Match is compared strongly, and another file is refused."""
    if passes:
        check_match(Headers({"if-match": field}), TAG, MODIFIED)
    else:
        with pytest.raises(PreconditionFailed, match="If-Match"):
            check_match(Headers({"if-match": field}), TAG, MODIFIED)


def test_fields_of_several_lines() -> None:
    """A list may stand in several lines (RFC 9110 5.3)."""
    check_match(Headers(raw=[(b"if-match", b'"x"'), (b"if-match", TAG.encode())]), TAG, MODIFIED)
    assert is_known(Headers(raw=[(b"if-none-match", b'"x"'), (b"if-none-match", TAG.encode())]), TAG, MODIFIED)


EARLIER, LATER = "Fri, 27 Nov 2026 07:59:59 GMT", "Fri, 27 Nov 2026 08:00:01 GMT"
ASCTIME = "Fri Nov 27 08:00:01 2026"
NO_TIMES = ("yesterday", "", "Fri, 27 Nov 2026 08:00:01 +99999999999999999999")


@pytest.mark.parametrize(
    ("field", "known"),
    [(MODIFIED, True), (LATER, True), (ASCTIME, True), (EARLIER, False), *dict.fromkeys(NO_TIMES, False).items()],
)
def test_what_the_client_has_by_time(field: str, known: bool) -> None:
    """If-Modified-Since counts where no tag is named (RFC 9110 13.1.3); what is no time is ignored."""
    assert is_known(Headers({"if-modified-since": field}), TAG, MODIFIED) == known
    assert not is_known(Headers({"if-modified-since": field, "if-none-match": '"x"'}), TAG, MODIFIED)


@pytest.mark.parametrize(
    ("field", "passes"),
    [(MODIFIED, True), (LATER, True), (ASCTIME, True), (EARLIER, False), *dict.fromkeys(NO_TIMES, True).items()],
)
def test_what_the_client_wants_by_time(field: str, passes: bool) -> None:
    """So does If-Unmodified-Since (RFC 9110 13.1.4)."""
    check_match(Headers({"if-unmodified-since": field, "if-match": TAG}), TAG, MODIFIED)
    if passes:
        check_match(Headers({"if-unmodified-since": field}), TAG, MODIFIED)
    else:
        with pytest.raises(PreconditionFailed, match="If-Unmodified-Since"):
            check_match(Headers({"if-unmodified-since": field}), TAG, MODIFIED)
