"""Asks the service, and again where it says to come again; what httpx raises before an answer becomes an error here."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from spark_export import __version__
from spark_export.client.bodies import Body
from spark_export.client.errors import ClientError, Refused, Unreachable

TRIES = 8
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
"""With eight tries half a minute passes: a service has been restarted by then."""
LONGEST_RETRY_AFTER_SECONDS = 60
"""Whoever is told to come again later than this is told so."""
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""The service bounds what comes at once; httpx's hundred connections would be taken up by those that wait for jobs."""
SECONDS = re.compile(r"[0-9]{1,9}")
BY_PROXIES = frozenset({502, 503, 504})
"""What a proxy says while nobody is behind it; of the service they are problems."""

Receipt = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Patience:
    """How often what fails is tried again.

    Attributes:
        tries: in a row without any progress.
        sleep: passes the seconds between them.
        spread: a number from 0 to 1, so that clients that fail together do not come again together.
        tell: told before each pause what failed, and for how many seconds that is.
    """

    tries: int = TRIES
    sleep: Sleep = asyncio.sleep
    spread: Callable[[], float] = random.random
    tell: Callable[[str, float], None] = lambda _why, _seconds: None

    async def pause(self, why: str, failures: int, seconds: float | None = None) -> None:
        """Wait after so many failures: as long as the service says, else twice as long as before, or somewhat less."""
        if seconds is None:
            longest = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
            seconds = longest * (0.5 + self.spread() / 2)
        self.tell(why, seconds)
        await self.sleep(seconds)


@dataclass(frozen=True)
class Ask:
    """What is asked of the service.

    Attributes:
        method, path: of the request.
        body: of the request; None for none.
        headers: beside those of every request.
        is_safe: whether it may be asked again where nobody knows what became of it.
        wait_seconds: that the service was asked to take.
    """

    method: str
    path: str
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe: bool = True
    wait_seconds: float = 0

    def comes_again(self, error: Refused | Unreachable) -> bool:
        """Whether the request is made again after that."""
        if self.body is not None and not self.body.can_be_repeated:
            return False
        if isinstance(error, Refused) and error.retry_after_seconds is not None:
            return error.retry_after_seconds <= LONGEST_RETRY_AFTER_SECONDS
        return self.is_safe and (isinstance(error, Unreachable) or _is_passing(error))


class Connection:
    """The connections to one service.

    Args:
        url: of the service.
        key: the API key; None for none.
        timeout_seconds: longest pause of the service's, not the whole.
        transport: of httpx; its own unless given.
        patience: how often what fails is tried again.

    Raises:
        ValueError: the URL or the key is none.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None,
        patience: Patience,
    ) -> None:
        headers = {"User-Agent": f"spark-export/{__version__}", "Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {_checked_key(key)}"
        self.url = _checked_url(url)
        self.patience = patience
        self._timeout_seconds = timeout_seconds
        self._has_answered = False
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout_seconds, transport=transport, limits=LIMITS
        )

    async def aclose(self) -> None:
        """Give up the connections."""
        await self._http.aclose()

    async def receipt(self, ask: Ask) -> tuple[Receipt, int | None]:
        """The receipt that is asked for, and after how many seconds to look again where the service says so.

        Raises:
            Refused, Unreachable: there is none.
        """
        async with self.open(ask) as response:
            return await receipt_in(response), retry_after_seconds(response)

    @asynccontextmanager
    async def open(self, ask: Ask) -> AsyncIterator[httpx.Response]:
        """The answer once its head is there.

        Raises:
            Refused, Unreachable: the last time too.
        """
        failures = 0
        while True:
            try:
                response = await self._send(ask)
                break
            except (Refused, Unreachable) as error:
                failures += 1
                if failures >= self.patience.tries or not ask.comes_again(error) or self._is_nobody_there(error):
                    raise
                seconds = error.retry_after_seconds if isinstance(error, Refused) else None
                await self.patience.pause(str(error), failures, seconds)
        try:
            yield response
        finally:
            await response.aclose()

    async def _send(self, ask: Ask) -> httpx.Response:
        body = ask.body
        request = self._http.build_request(
            ask.method,
            ask.path,
            content=None if body is None else body.sent(),
            params=None if body is None else body.query,
            headers={**({} if body is None else body.headers), **ask.headers},
            timeout=self._timeout_seconds + ask.wait_seconds,
        )
        with unreachable(self.url):
            response = await self._http.send(request, stream=True)
            self._has_answered = True
            if response.is_error:
                try:
                    raise Refused(response.status_code, await _problem_in(response), retry_after_seconds(response))
                finally:
                    await response.aclose()
        return response

    def _is_nobody_there(self, error: ClientError) -> bool:
        """Whoever answered before may be on their way up; of whoever never did, the address is wrong."""
        return not self._has_answered and isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


@contextmanager
def unreachable(url: str) -> Iterator[None]:
    """What httpx raises before an answer is there, as an error of this client's.

    Raises:
        Unreachable: in its place.
        ClientError: it is no request that could be sent.
    """
    try:
        yield
    except httpx.LocalProtocolError as error:
        raise ClientError(f"the request cannot be sent: {error}") from error
    except httpx.RequestError as error:
        said = str(error) or type(error).__name__
        raise Unreachable(f"no answer of {url}: {said}") from error


async def receipt_in(response: httpx.Response) -> Receipt:
    """The receipt that an answer holds.

    Raises:
        ClientError: it holds none.
        Unreachable: it broke.
    """
    with unreachable(str(response.url)):
        await response.aread()
    found = object_of(response.content) or {}
    if not (isinstance(found.get("export_id"), str) and isinstance(found.get("state"), str)):
        raise ClientError(f"the answer of {response.url} is no receipt")
    if found.get("sha256") and not isinstance(found.get("bytes"), int):
        raise ClientError(f"the receipt of {response.url} does not state the bytes of its file")
    return found


def retry_after_seconds(response: httpx.Response) -> int | None:
    """Seconds after which the service says to come again (RFC 9110 10.2.3); None where it says nothing."""
    said = response.headers.get("Retry-After", "")
    return int(said) if SECONDS.fullmatch(said) else None


def _is_passing(error: Refused) -> bool:
    """A proxy that finds nobody behind it; or the first request with the key, whose answer was lost, runs still."""
    return (error.status in BY_PROXIES and error.type is None) or error.is_problem("idempotency-key-in-use")


async def _problem_in(response: httpx.Response) -> Mapping[str, Any]:
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return {}
    await response.aread()
    return object_of(response.content) or {}


def object_of(text: bytes) -> dict[str, Any] | None:
    """The JSON object that somebody sent; None where it is none, or is nested too deep."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _checked_url(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the service's URL cannot be used: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.host or parts.userinfo:
        raise ValueError("the service's URL begins with http:// or https:// and a host, without user and password")
    if parts.query or parts.fragment or not 0 < (parts.port or 1) < 65536:
        raise ValueError("the service's URL has a port to 65535, if any, and neither query nor fragment")
    return url


def _checked_key(key: str) -> str:
    """Checked here, as the message of whoever sends it would show it."""
    if not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key is empty, or holds a character that no header may")
    return key
