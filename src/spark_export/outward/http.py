"""HTTP requests to addresses that callers name.

What a name stands for is looked up once and checked, and that very address is connected to: an answer of the name
service that changes in between makes no difference.

No proxy, no variable of the environment but SSL_CERT_FILE and SSL_CERT_DIR, no redirect followed, no connection used
twice. A look-up holds a thread of the loop's until the system's resolver gives up, though nobody waits any longer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from spark_export.outward.addresses import AddressPolicy, AddressRefused, OutwardFailed

if TYPE_CHECKING:
    import httpcore
    from httpcore import AsyncNetworkBackend, AsyncNetworkStream
else:
    # httpcore takes whatever has the methods. It is loaded where it is used: 20 ms, and httpx's context 70 ms, that
    # a service spares which sends nothing out.
    AsyncNetworkBackend = AsyncNetworkStream = object

__all__ = ["AddressPolicy", "AddressRefused", "Answer", "Outward", "OutwardFailed", "open_outward"]

ANSWER_BYTES = 64 * 1024
"""Most that is read of an answer, with all that comes before it: interim answers (RFC 9110 15.2) may never end."""
BODY_SECONDS = 1.0
"""For the rest of an answer whose status is known: one that is closed unread is a broken connection to its server."""
MOST_ADDRESSES = 8
"""Of one name that are tried: whoever owns it could name thousands of other people's."""


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
    async with AsyncExitStack() as stack:
        yield Outward(policy, stack)


class Outward:
    """Sends requests to where a policy lets them go."""

    def __init__(self, policy: AddressPolicy, stack: AsyncExitStack) -> None:
        self._backend = GuardedBackend(policy)
        self._stack = stack
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}
        self._making = asyncio.Lock()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterable[bytes],
        *,
        timeout_seconds: float,
    ) -> Answer:
        """The answer to a request, whatever its status.

        Args:
            method: such as POST.
            url: http or https, in ASCII; its fragment stays here.
            headers: of the request, in ASCII. Host and Connection are added, and Content-Length to bytes; to content
                that is iterated over, the caller gives it.
            content: the body. What iterating over it raises is raised here unchanged.
            timeout_seconds: from the look-up of the name to the head of the answer.

        Raises:
            AddressRefused: the policy refuses every address of the host.
            OutwardFailed: no answer came.
        """
        request = _request(method, url, headers, content, timeout_seconds)
        until = asyncio.get_running_loop().time() + timeout_seconds
        with _translating(request.url.host.decode("ascii"), timeout_seconds):
            async with _open_deadline(until, timeout_seconds):
                pool = await self._pool(request.url.scheme.decode("ascii"))
                response = await pool.handle_async_request(request)
            await _finish(response, until)
        return Answer(response.status, _joined(response.headers))

    async def _pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        async with self._making:
            if scheme not in self._pools:
                self._pools[scheme] = await self._stack.enter_async_context(await self._new_pool(scheme))
        return self._pools[scheme]

    async def _new_pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        import httpcore

        trust = await asyncio.to_thread(_load_trust) if scheme == "https" else None
        return httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=None,  # callers know how many requests they have; one that waits here would time out
            max_keepalive_connections=0,
            network_backend=self._backend,
        )


class GuardedBackend(AsyncNetworkBackend):
    """Connects httpcore to addresses that the policy lets pass, and to no others."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes it; each has its share of the time.

        Raises:
            AddressRefused: none may be connected to, or what was connected to is another one.
            httpcore.ConnectError, httpcore.ConnectTimeout: of the last that was tried.
        """
        import httpcore

        addresses = self._passing(await _look_up(host, port))
        share = None if timeout is None else timeout / max(1, len(addresses))
        dial = httpcore.AnyIOBackend().connect_tcp
        failure: Exception = httpcore.ConnectError("the name has no addresses")
        for address in addresses:
            try:
                stream = await dial(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return await self._checked(stream)
        raise failure

    def _passing(self, addresses: Iterable[str]) -> list[str]:
        passing, refused = [], []
        for address in addresses:
            try:
                self._policy.check(address)
                passing.append(address)
            except AddressRefused as error:
                refused.append(error)
        if refused and not passing:
            raise refused[0]
        return passing[:MOST_ADDRESSES]

    async def _checked(self, stream: AsyncNetworkStream) -> AsyncNetworkStream:
        """The connection, bounded, once its other end is seen to be what was meant."""
        peer = stream.get_extra_info("server_addr")
        try:
            self._policy.check(str(peer[0]) if peer else "")
        except AddressRefused:
            await stream.aclose()
            raise
        return BoundedStream(stream, ANSWER_BYTES)

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> AsyncNetworkStream:
        """No way leads to this machine's own sockets."""
        raise AddressRefused(f"{path!r} is no address")

    async def sleep(self, seconds: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(seconds)


class BoundedStream(AsyncNetworkStream):
    """A connection that breaks once so many bytes were read from it, so that no answer goes on for ever."""

    def __init__(self, stream: AsyncNetworkStream, most_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = most_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """The next bytes.

        Raises:
            httpcore.ReadError: no more are read.
        """
        import httpcore

        if self._left_bytes == 0:
            raise httpcore.ReadError("the answer is too long")
        data = await self._stream.read(min(max_bytes, self._left_bytes), timeout)
        self._left_bytes -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncNetworkStream:
        """The same under TLS, which counts anew."""
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return BoundedStream(stream, self._left_bytes)

    def get_extra_info(self, info: str) -> Any:
        """What the connection says of itself."""
        return self._stream.get_extra_info(info)


async def _look_up(host: str, port: int) -> Iterable[str]:
    """The addresses of a host, in the order in which to try them (RFC 6724), each once.

    Raises:
        httpcore.ConnectError: it has none.
    """
    import httpcore

    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a label of more than 63 characters is no name to Python's codec
        raise httpcore.ConnectError(error) from error
    return dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)


def _load_trust() -> ssl.SSLContext:
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


def _request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | AsyncIterable[bytes], timeout_seconds: float
) -> httpcore.Request:
    import httpcore

    target = _target(url)
    # httpcore would write an IPv6 host without its brackets.
    added = {"Host": urlsplit(url).netloc.rpartition("@")[2], "Connection": "close"}
    if isinstance(content, bytes):
        added["Content-Length"] = str(len(content))
    extensions = {"timeout": {"connect": timeout_seconds}}
    return httpcore.Request(
        method, target, headers=[*added.items(), *headers.items()], content=content, extensions=extensions
    )


async def _finish(response: httpcore.Response, until: float) -> None:
    """Read what may be left of the answer, for a moment, and close the connection."""
    import httpcore

    patience = min(until, asyncio.get_running_loop().time() + BODY_SECONDS)
    try:
        with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
            async with asyncio.timeout_at(patience):
                async for _ in response.aiter_stream():
                    pass
    finally:
        await response.aclose()


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


@asynccontextmanager
async def _open_deadline(until: float, timeout_seconds: float) -> AsyncIterator[None]:
    """End the block at a time of the loop's.

    Raises:
        OutwardFailed: it took longer.
    """
    deadline = asyncio.timeout_at(until)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise _too_late(timeout_seconds) from error


@contextmanager
def _translating(host: str, timeout_seconds: float) -> Iterator[None]:
    """Make httpcore's exceptions ours.

    Raises:
        OutwardFailed: for any of them.
    """
    import httpcore

    try:
        yield
    except httpcore.TimeoutException as error:
        raise _too_late(timeout_seconds) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        # The pool takes an exception's cause from it; what it was made of is still there.
        cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
        raise OutwardFailed(_why(error, cause, host)) from cause


def _too_late(timeout_seconds: float) -> OutwardFailed:
    return OutwardFailed(f"no answer within {timeout_seconds:g} s")


def _why(error: Exception, cause: Exception, host: str) -> str:
    import httpcore

    match cause:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"the certificate of {host} is not to be trusted: {message}"
        case ssl.SSLError():
            return f"{host} does not speak TLS as it should"
        case socket.gaierror() | UnicodeError():
            return f"the name {host} cannot be resolved"
    if isinstance(error, httpcore.ConnectError):
        return f"cannot connect to {host}"
    return f"{host} closed the connection, or spoke no HTTP, before it answered"
