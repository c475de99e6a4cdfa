"""Which format and coding a client likes best, by the rules of RFC 9110 12.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.api.negotiation import accepts_format, preferred
from spark_export.model import Format

TYPES = ("text/csv", "application/pdf")
CODINGS = ("zstd", "gzip", "identity")


@pytest.mark.parametrize(
    ("header", "best"),
    [
        (None, "text/csv"),
        ("*/*", "text/csv"),
        ("application/pdf", "application/pdf"),
        ("application/*", "application/pdf"),
        ("text/csv;q=0.5, application/pdf", "application/pdf"),
        ("text/csv;q=0.5, application/pdf;q=0.4", "text/csv"),
        ("*/*;q=0.1, application/pdf;q=0.2", "application/pdf"),
        ("text/csv;q=0, */*", "application/pdf"),
        ("text/*;q=0.3, text/csv;q=0.9, application/pdf;q=0.8", "text/csv"),
        ("TEXT/CSV ; Q=0.1 , Application/PDF ; Q=0.2", "application/pdf"),
        ("text/html, application/xml", None),
        ("text/csv;q=0", None),
        ("text/csv;q=abc", None),
        ("application/json, text/plain, */*", "text/csv"),
        ("text/csv; header=present; q=0.3, application/pdf;q=0.2", "text/csv"),
    ],
)
def test_accept(header: str | None, best: str | None) -> None:
    """The most specific range gives the quality, the highest quality wins, the earlier offer of equals."""
    assert preferred(header, TYPES) == best


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("*", "zstd"),
        ("gzip;q=0, *;q=0.5", "zstd"),
        ("br", None),
    ],
)
def test_accept_encoding(header: str, best: str | None) -> None:
    """Codings are chosen by the same rule."""
    assert preferred(header, CODINGS) == best


def test_accepts_format() -> None:
    """A format is accepted when its media type is."""
    assert accepts_format("application/pdf", Format.PDF)
    assert not accepts_format("application/pdf", Format.CSV)
    assert accepts_format(None, Format.CSV)


@given(st.text())
def test_any_header(header: str) -> None:
    """No header is too odd: the answer is an offer or none."""
    assert preferred(header, TYPES) in {*TYPES, None}
