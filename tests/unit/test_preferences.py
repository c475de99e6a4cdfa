"""How a client wants its answer."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from spark_export.api.preferences import MOST_WAIT_SECONDS, Preferences, fingerprint
from spark_export.errors import InvalidField


def of(*fields: tuple[str, str]) -> Preferences:
    """The preferences of these header fields."""
    return Preferences.from_headers(Headers(raw=[(name.encode(), value.encode()) for name, value in fields]))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], (False, 0)),
        (["respond-async"], (True, 0)),
        (["Respond-Async, wait=5"], (True, 5)),
        (["respond-async", "wait=7"], (True, 7)),
        (['wait = "10", respond-async; foo=bar'], (True, 10)),
        (["wait=5, wait=9"], (False, 5)),
        (["wait=soon, respond-async"], (True, 0)),
        ([f"respond-async, wait={10**8}"], (True, MOST_WAIT_SECONDS)),
        (["return=minimal"], (False, 0)),
    ],
)
def test_prefer(values: list[str], found: tuple[bool, int]) -> None:
    """Case does not matter, fields are joined, the first of two holds, what is not understood is ignored (RFC 7240)."""
    preferences = of(*(("prefer", value) for value in values))
    assert (preferences.is_async, preferences.wait_seconds) == found


@pytest.mark.parametrize(("field", "key"), [('"abc"', "abc"), ("abc", "abc"), (' "a-b/c" ', "a-b/c")])
def test_a_key(field: str, key: str) -> None:
    """A key may be a string of a structured field, or plain."""
    assert of(("idempotency-key", field)).key == key


@pytest.mark.parametrize("field", ["", '""', "a b", "x" * 256, '"a', "\tä"])
def test_no_key(field: str) -> None:
    """What is no key is refused with the field's name."""
    with pytest.raises(InvalidField) as found:
        of(("idempotency-key", field))
    assert found.value.field == "Idempotency-Key"


def test_two_keys() -> None:
    """So are two of them."""
    with pytest.raises(InvalidField, match="one key"):
        of(("idempotency-key", "a"), ("idempotency-key", "b"))


def test_fingerprints_tell_parts_apart() -> None:
    """Two payloads have one fingerprint only if each part is the same."""
    assert fingerprint("a", b"bc") == fingerprint(b"a", "bc")
    assert len({fingerprint("a", "bc"), fingerprint("ab", "c"), fingerprint("abc"), fingerprint("a", "bc", "")}) == 4
