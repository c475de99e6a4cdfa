"""Where files may be delivered: the prefixes of DELIVER_ALLOW, and addresses that mean one place to everybody.

A prefix is compared with the text of an address. So an address that a store, or a proxy before it, may understand as
another place than its text says is permitted nowhere: one with dot segments, also percent-encoded, say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spark_export.errors import Forbidden

FIELD = "deliver.url"

PLACE = re.compile(
    r"(?P<scheme>s3)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,62})(?P<key>/[!-\[\]-~]*)?"
    r"|(?P<web>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(?P<path>/[!-\[\]-~]*)?"
)
PORTS = {"http": 80, "https": 443}
MOST_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

DOT_SEGMENT = re.compile(r"/\.{1,2}(;[^/]*)?(?=/|$)")
"""With parameters too, which some servers take away before they resolve the dots (RFC 3986 3.3)."""
HIDDEN = re.compile(r"%(?:25)*(?:2e|2f|5c)", re.IGNORECASE)
"""A dot, slash or backslash, percent-encoded once or more often."""


@dataclass(frozen=True)
class _Place:
    """An address in parts that are compared exactly.

    Attributes:
        origin: scheme, and bucket or host and port.
        path: what follows, before a query; empty or from the first slash.
    """

    origin: tuple[str, str, int]
    path: str

    def permits(self, other: _Place) -> bool:
        """Whether the other is this place, or lies in it."""
        folder = self.path if self.path.endswith("/") else f"{self.path}/"
        return self.origin == other.origin and (other.path == self.path or other.path.startswith(folder))


class DeliverRules:
    """The places that DELIVER_ALLOW permits.

    Args:
        allow: prefixes such as `s3://bucket/exports/` and `https://host/path/`; of a bucket or host alone all of it.

    Raises:
        ValueError: an entry is no such prefix; the text names it.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._allowed = tuple(_allowed(each) for each in allow)

    def check(self, url: str) -> None:
        """Return where a file may be delivered to the URL.

        Raises:
            Forbidden: it may not, or the URL names no file.
        """
        if not self._allowed:
            raise Forbidden("nothing may be delivered anywhere: DELIVER_ALLOW is empty", field=FIELD)
        address, mark, _ = url.partition("?")
        try:
            place = _placed(address)
            _check_file(place, has_query=bool(mark))
        except ValueError as error:
            raise Forbidden(f"no file may be delivered there: the URL {error}", field=FIELD) from None
        if not any(allowed.permits(place) for allowed in self._allowed):
            raise Forbidden("no file may be delivered there: no prefix in DELIVER_ALLOW permits it", field=FIELD)


def shown(url: str) -> str:
    """The URL without its query, which is the secret of a presigned one, and without a user and a password."""
    return re.sub("//[^/]*@", "//", re.split("[?#]", url, maxsplit=1)[0])


def _allowed(entry: str) -> _Place:
    try:
        return _placed(entry)
    except ValueError as error:
        raise ValueError(f"{shown(entry)!r} permits no place: it {error}") from None


def _placed(address: str) -> _Place:
    found = PLACE.fullmatch(address)
    if found is None or "#" in address or "?" in address:
        raise ValueError("is not of the form s3://bucket/key or https://host/path, without user, query and fragment")
    path = found["key"] or found["path"] or ""
    if DOT_SEGMENT.search(path):
        raise ValueError("holds a dot segment")
    if found["scheme"]:
        if "//" in path:
            raise ValueError("holds an empty segment")
        return _Place(("s3", found["bucket"], 0), path)
    if HIDDEN.search(path):
        raise ValueError("holds a percent-encoded dot, slash or backslash")
    port = int(found["port"] or PORTS[found["web"]])
    if not 0 < port <= 65535:
        raise ValueError("has no port between 1 and 65535")
    return _Place((found["web"], found["host"].lower(), port), path)


def _check_file(place: _Place, *, has_query: bool) -> None:
    if not place.path or place.path.endswith("/"):
        raise ValueError("names no file: it ends where a name should follow")
    if place.origin[0] != "s3":
        return
    if has_query:
        raise ValueError("of a bucket takes no query")
    if len(place.path) - 1 > MOST_KEY_BYTES:
        raise ValueError(f"has a key of more than {MOST_KEY_BYTES} bytes")
