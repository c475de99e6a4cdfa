"""Connection strings (libpq, 34.1.1): what is added to the operator's, and how none of it gets into a log. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

APPLICATION_NAME = "spark-export"
CONNECT_SECONDS = 5
DEFAULTS = {
    "connect_timeout": str(CONNECT_SECONDS),
    # A server that vanished is noticed after half a minute, not after the kernel's two hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
URI = re.compile(r"postgres(?:ql)?://(?:(?P<user>.*)@)?(?P<place>[^@?]*)(?:\?(?P<options>.*))?", re.DOTALL)
PAIR = re.compile(r"\s*(?P<key>\w+)\s*=\s*(?P<value>'(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])*)(?:\s+|$)", re.DOTALL)
HIDDEN = "…"


def complete(dsn: str) -> str:
    """The connection string with the service's name, and with timeouts where it has none of its own.

    Raises:
        ValueError: it is no connection string; the message holds nothing of it.
    """
    own = set(_options(dsn))
    added = {name: value for name, value in DEFAULTS.items() if name not in own} | {
        "application_name": APPLICATION_NAME
    }
    if URI.fullmatch(dsn):
        return dsn + ("&" if "?" in dsn else "?") + "&".join(f"{name}={value}" for name, value in added.items())
    return dsn + " " + " ".join(f"{name}={value}" for name, value in added.items())


def hide(text: str, dsn: str) -> str:
    """The text without any value of the connection string: what libpq says of a failure repeats some of them."""
    for value in sorted(_values(dsn), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
    return text


def _options(dsn: str) -> dict[str, str]:
    if uri := URI.fullmatch(dsn):
        pairs = [pair.partition("=") for pair in (uri["options"] or "").split("&") if pair]
        return {key: unquote(value) for key, _, value in pairs}
    found, place = {}, 0
    while place < len(dsn):
        if (pair := PAIR.match(dsn, place)) is None:
            raise ValueError("is no connection string: postgresql://user:password@host/database or key=value pairs")
        found[pair["key"]] = re.sub(r"\\(.)", r"\1", pair["value"].removeprefix("'").removesuffix("'"))
        place = pair.end()
    return found


def _values(dsn: str) -> set[str]:
    values = set(_options(dsn).values())
    if uri := URI.fullmatch(dsn):
        user, _, password = (uri["user"] or "").partition(":")
        values |= {user, password, *re.split(r"[/:,\[\]]+", uri["place"])}
        values |= {unquote(value) for value in values}
    return values - {""}
