"""POSTs to addresses that callers name.

What a name stands for is looked up once and checked, and that very address is connected to: an answer of the name
service that changes in between makes no difference.

No proxy, no variable of the environment but SSL_CERT_FILE and SSL_CERT_DIR, no redirect followed, no connection used
twice. A look-up holds a thread of its own until the system's resolver gives up, though nobody waits any longer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from spark_export.outward.addresses import AddressPolicy, OutwardFailed

if TYPE_CHECKING:  # loaded by the first request: 20 ms, and 70 ms for https
    import httpcore

    from spark_export.outward.connections import GuardedBackend

BODY_SECONDS = 1.0
"""For the rest of an answer whose status is known: one that is closed unread is a broken connection to its server."""


@dataclass(frozen=True)
class Answer:
    """What came back; the body is not kept.

    Attributes:
        status: the code, 100 to 999.
        headers: by their names in lower case; of one that is repeated, all values joined by a comma.
    """

    status: int
    headers: Mapping[str, str]


@asynccontextmanager
async def open_outward(policy: AddressPolicy) -> AsyncIterator[Outward]:
    """The way out; at the end of the block its connections are closed, whatever is still under way."""
    outward = Outward(policy)
    try:
        yield outward
    finally:
        outward.abort()


class Outward:
    """Sends requests to where a policy lets them go."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._ways: set[GuardedBackend] = set()
        self._trust: ssl.SSLContext | None = None
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Outward: {len(self._ways)} requests>"

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_seconds: float) -> Answer:
        """The answer to a POST, whatever its status.

        Args:
            url: http or https, in ASCII; its fragment stays here.
            headers: of the request, in ASCII; Host, Connection and Content-Length are added.
            body: of the request.
            timeout_seconds: from the look-up of the name to the head of the answer.

        Raises:
            AddressRefused: the policy refuses every address of the host.
            OutwardFailed: no answer came.
        """
        request = _request(url, headers, body, timeout_seconds)
        until = asyncio.get_running_loop().time() + timeout_seconds
        with self._open_way() as way, _translating(request.url.host.decode("ascii")):
            try:
                async with asyncio.timeout_at(until):
                    response = await self._send(request, way)
            except TimeoutError as error:
                raise OutwardFailed(f"no answer within {timeout_seconds:g} s") from error
            await _finish(response, until)
        return Answer(response.status, _joined(response.headers))

    async def _send(self, request: httpcore.Request, way: GuardedBackend) -> httpcore.Response:
        import httpcore

        # No pool: of requests that are cancelled, httpcore 1.0.9's keeps one connection in fifty, open for ever.
        trust = await self._load_trust() if request.url.scheme == b"https" else None
        connection = httpcore.AsyncHTTPConnection(request.url.origin, ssl_context=trust, network_backend=way)
        return await connection.handle_async_request(request)

    @contextmanager
    def _open_way(self) -> Iterator[GuardedBackend]:
        from spark_export.outward.connections import GuardedBackend

        way = GuardedBackend(self._policy)
        self._ways.add(way)
        try:
            yield way
        finally:
            self._ways.discard(way)
            way.abort()

    async def _load_trust(self) -> ssl.SSLContext:
        async with self._loading:
            if self._trust is None:
                self._trust = await asyncio.to_thread(_new_trust)
        return self._trust

    def abort(self) -> None:
        """Close every connection at once; requests that are under way fail."""
        for way in self._ways:
            way.abort()


def _new_trust() -> ssl.SSLContext:
    """What servers' certificates are checked by: certifi's, or those that SSL_CERT_FILE names."""
    import httpx

    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise OutwardFailed("the certificates that servers are checked by cannot be read here") from error


def _target(url: str) -> httpcore.URL:
    """The URL in parts. httpcore's own reading loses what follows a `;` in the path.

    Raises:
        OutwardFailed: it cannot be used.
    """
    import httpcore

    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host, target = (parts.hostname or "").encode("ascii"), path.encode("ascii")
        port = parts.port
    except ValueError as error:
        raise OutwardFailed("the URL cannot be read") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise OutwardFailed("the URL does not begin with http:// or https:// and a host")
    return httpcore.URL(scheme=parts.scheme, host=host, port=port, target=target)


def _request(url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> httpcore.Request:
    import httpcore

    target = _target(url)
    # httpcore would write an IPv6 host without its brackets.
    host = urlsplit(url).netloc.rpartition("@")[2]
    added = {"Host": host, "Connection": "close", "Content-Length": str(len(body))}
    extensions = {"timeout": {"connect": timeout_seconds}}
    return httpcore.Request(
        "POST", target, headers=[*added.items(), *headers.items()], content=body, extensions=extensions
    )


async def _finish(response: httpcore.Response, until: float) -> None:
    """Read what may be left of the answer, for a moment."""
    import httpcore

    patience = min(until, asyncio.get_running_loop().time() + BODY_SECONDS)
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout_at(patience):
            async for _ in response.aiter_stream():
                pass


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


@contextmanager
def _translating(host: str) -> Iterator[None]:
    """Make httpcore's exceptions ours.

    Raises:
        OutwardFailed: for any of them.
    """
    import httpcore

    try:
        yield
    except httpcore.ConnectError as error:
        raise OutwardFailed(_why_not_connected(error.__cause__, host)) from error.__cause__
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise OutwardFailed(f"{host} closed the connection, or spoke no HTTP, before it answered") from error


def _why_not_connected(cause: BaseException | None, host: str) -> str:
    match cause:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"the certificate of {host} is not to be trusted: {message}"
        case ssl.SSLError():
            return f"{host} does not speak TLS as it should"
        case socket.gaierror() | UnicodeError():
            return f"the name {host} cannot be resolved"
        case _:
            return f"cannot connect to {host}"
