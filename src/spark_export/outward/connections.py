"""Connections for httpcore that lead to no address but those that the policy lets pass.

A name is looked up once, and what was checked is connected to, as a number. This module loads httpcore: 20 ms, which
`outward.http` spares a service that sends nothing out.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from functools import partial
from typing import Any

import httpcore

from spark_export.daemons import Daemons
from spark_export.outward.addresses import AddressPolicy, AddressRefused

ANSWER_BYTES = 64 * 1024
"""Most that is read of an answer, with all that comes before it: interim answers (RFC 9110 15.2) may never end."""
LOOKING = Daemons("look-up")
"""A name whose servers never answer holds its thread for half a minute, long after whoever asked has given up: in the
four threads of uvloop's own, one caller's such names kept all others' from being looked up."""
MOST_ADDRESSES = 8
"""Of one name that are tried: whoever owns it could name thousands of other people's."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects httpcore, once, to an address that the policy lets pass."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._connection: Connection | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        *_: Any,
        **__: Any,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes it; each has its share of the time.

        Raises:
            AddressRefused: none may be connected to, or what was connected to is another one.
            httpcore.ConnectError: of the last that was tried.
        """
        addresses = self._passing(await _look_up(host, port))
        share = None if timeout is None else timeout / max(1, len(addresses))
        failure: Exception = LookupError("the name has no addresses")
        for address in addresses:
            try:
                self._connection = await _dial(address, port, share)
            except OSError as error:
                failure = error
            else:
                self._check_peer(self._connection)
                return self._connection
        raise httpcore.ConnectError(failure) from failure

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

    def _check_peer(self, connection: Connection) -> None:
        """See that the other end is what was meant."""
        peer = connection.get_extra_info("server_addr")
        self._policy.check(str(peer[0]) if peer else "")

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """No way leads to this machine's own sockets."""
        raise AddressRefused(f"{path!r} is no address")

    async def sleep(self, seconds: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(seconds)

    def abort(self) -> None:
        """Close the connection at once, if there is one."""
        if self._connection is not None:
            self._connection.abort()


class Connection(httpcore.AsyncNetworkStream):
    """A connection of asyncio's, of which so much may be read and no more, so that no answer goes on for ever.

    Unlike httpcore's own, which is anyio's, it is closed without a wait, and none is lost to who is cancelled while it
    is made.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._left_bytes = ANSWER_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 - of the whole
        """The next bytes; none at the end.

        Raises:
            httpcore.ReadError: the connection broke, or too much was read.
        """
        if self._left_bytes == 0:
            raise httpcore.ReadError("the answer is too long")
        try:
            data = await self._reader.read(min(max_bytes, self._left_bytes))
        except OSError as error:
            raise httpcore.ReadError(error) from error
        self._left_bytes -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - of the whole
        """Send.

        Raises:
            httpcore.WriteError: the connection broke.
        """
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            raise httpcore.WriteError(error) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - of the whole
    ) -> httpcore.AsyncNetworkStream:
        """The connection, under TLS from here on.

        Raises:
            httpcore.ConnectError: the other end has no certificate of that name that is trusted, or no TLS.
        """
        try:
            await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except OSError as error:
            raise httpcore.ConnectError(error) from error
        return self

    async def aclose(self) -> None:
        """Close."""
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """What the connection says of itself, by httpcore's names."""
        return self._writer.get_extra_info({"server_addr": "peername"}.get(info, info))


async def _dial(address: str, port: int, seconds: float | None) -> Connection:
    async with asyncio.timeout(seconds):
        return Connection(*await asyncio.open_connection(address, port))


async def _look_up(host: str, port: int) -> Iterable[str]:
    """The addresses of a host, in the order in which to try them (RFC 6724), each once.

    Raises:
        httpcore.ConnectError: it has none.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(LOOKING, look_up)
    except (OSError, UnicodeError) as error:  # a label of more than 63 characters is no name to Python's codec
        raise httpcore.ConnectError(error) from error
    return dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
