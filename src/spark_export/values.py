"""What a value of a request may be: checks that know one value and nothing else.

Each gives the value back, or raises ValueError with what it takes.
"""

from __future__ import annotations

import codecs
import math
import re
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

FORBIDDEN_IN_FILENAME = re.compile(r'[\x00-\x1f\x7f-\x9f"/\\\u2028\u2029\ud800-\udfff]')
PAGE_SIZES = ("auto", "A4", "A3", "Letter", "Legal")
CUSTOM_PAGE_SIZE = re.compile(r"(\d{1,4}(?:\.\d{1,2})?)x(\d{1,4}(?:\.\d{1,2})?)mm", re.ASCII)
MM_PT = 72 / 25.4
"""Points of a millimetre."""
LEAST_PAGE_MM, MOST_PAGE_MM = 50, 5080
"""Two margins with room for a word between them; what ISO 32000-1 annex C recommends at most."""

MOST_VALUES = 10_000
"""Of all conditions: they become as many bound parameters."""

PLAIN_URL = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes, which libraries read in different ways."""
URL_MAX_CHARACTERS = 4000

FILENAME_MAX_CHARACTERS = 200
"""With four bytes a character and an extension it still fits the 255 bytes that file systems allow, for all but
the longest names in the widest scripts; longer ones are a mistake more often than a wish."""


def check_timezone(name: str) -> str:
    """The IANA name of a time zone that this machine knows."""
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError(f"{name!r} is no IANA time zone, such as 'UTC' or 'Europe/Istanbul'") from None
    return name


def check_encoding(name: str) -> str:
    """The name of a text encoding that Python knows."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        codec = None
    # The only public way to ask a codec whether it makes bytes of text (zlib, rot13 and the like do not).
    if (
        codec is None
        or not getattr(codec, "_is_text_encoding", False)
        or codec.name in {"undefined", "idna", "punycode"}
    ):
        raise ValueError(f"{name!r} is no text encoding, such as 'utf-8', 'windows-1254' or 'utf-16'")
    return name


def check_filename(name: str) -> str:
    """A name without a folder, which any file system takes."""
    if FORBIDDEN_IN_FILENAME.search(name):
        raise ValueError("a file name holds no line breaks, control characters, quotes or slashes")
    if not name.strip(" ."):
        raise ValueError("a file name is more than dots and spaces")
    return name


def check_callback_url(url: str) -> str:
    """A URL that takes a POST."""
    return _check_url(url, ("http", "https"))


def check_deliver_url(url: str) -> str:
    """A URL of a bucket, or one that takes a PUT."""
    return _check_url(url, ("s3", "http", "https"))


def _check_url(url: str, schemes: tuple[str, ...]) -> str:
    """What is no plain URL to every library alike is none here (RFC 3986 3)."""
    if not PLAIN_URL.fullmatch(url):
        raise ValueError("takes a URL in printable ASCII without spaces and backslashes")
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"takes a URL that begins with {' or '.join(f'{each}://' for each in schemes)}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("takes a URL without user, password and fragment")
    try:
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        raise ValueError("takes a URL whose port is a number to 65535") from None
    return url


def check_delimiter(character: str) -> str:
    """What may stand between two fields of a CSV file."""
    if character in '"\r\n\0' or character.isalnum():
        raise ValueError("the delimiter is one character that is no quote, line break, letter or digit")
    return character


def _check_finite(values: Iterable[Any]) -> None:
    """JSON has no others (RFC 8259 6); `1e999` is read as one all the same."""
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise ValueError("takes finite numbers")


def check_scalars(value: Any) -> Any:
    """One scalar, or a list of them as a tuple; a union of types would answer a mistake with five complaints."""
    _check_finite(value if isinstance(value, list | tuple) else [value])
    if isinstance(value, list | tuple):
        at_most(MOST_VALUES)(value)
        if not all(isinstance(each, str | int | float | bool) for each in value):
            raise ValueError("takes texts, numbers and booleans")
        return tuple(value)
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError("takes a text, a number, a boolean, or a list of them")
    return value


def check_params(values: dict[str, Any]) -> dict[str, Any]:
    """Values of a dataset's parameters, by their names."""
    _check_finite(values.values())
    for name, value in values.items():
        if value is not None and not isinstance(value, str | int | float | bool):
            raise ValueError(f"{name!r} takes a text, a number or a boolean")
    return values


def check_page_size(name: str) -> str:
    """The name of a page size, or width and height."""
    if name in PAGE_SIZES:
        return name
    if not (custom := CUSTOM_PAGE_SIZE.fullmatch(name)):
        raise ValueError(f"takes {', '.join(PAGE_SIZES)}, or width and height in millimetres as '100x150mm'")
    if not all(LEAST_PAGE_MM <= float(side) <= MOST_PAGE_MM for side in custom.groups()):
        raise ValueError(
            f"{name} is too small for its margins or too large for a PDF: {LEAST_PAGE_MM} to {MOST_PAGE_MM} mm a side"
        )
    return name


def at_most(items: int) -> Callable[[Any], Any]:
    """Refuses a long list at once: pydantic looks at every item first, 4 s for the mistakes of 200,000."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) > items:
            raise ValueError(f"takes at most {items}, not {len(value)}")
        return tuple(value) if isinstance(value, list) else value

    return check
