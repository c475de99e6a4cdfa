"""Requests that go out, against servers on loopback: what arrives where, and what does not."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpcore
import pytest
import uvloop

from spark_export import __version__
from spark_export.outward import http
from spark_export.outward.addresses import AddressPolicy, AddressRefused, OutwardFailed
from spark_export.outward.callbacks import CallbackFailed, Signer, send
from spark_export.outward.connections import ANSWER_BYTES, Connection, GuardedBackend
from spark_export.outward.http import Answer, Outward, open_outward

ALLOWED, REFUSED = "127.0.0.2", "127.0.0.1"
"""Two addresses of this machine; the policy of these tests lets the one pass, which plays a public one."""
POLICY = AddressPolicy([f"{ALLOWED}/32", "127.0.0.3/32"])
SIGNER = Signer.from_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on the loop of tests, and on the service's."""
    chosen: Run = request.param
    return chosen


@dataclass
class Receiver:
    """A server that answers every request with the same bytes.

    Attributes:
        answer: those bytes.
        endless: others that follow again and again.
        waits: whether it keeps the connection open afterwards.
        connections: how many were made.
        requests: head and body of each.
        asked: whether a request has come.
        left: whether a connection has ended.
        held: connections that have not.
    """

    answer: bytes = OK
    endless: bytes = b""
    waits: bool = False
    host: str = ALLOWED
    port: int = 0
    connections: int = 0
    held: int = 0
    requests: list[tuple[list[str], bytes]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        self.connections += 1
        self.held += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next((int(each.split()[1]) for each in head if each.lower().startswith("content-length:")), 0)
            self.requests.append((head[:-2], await reader.readexactly(length)))
            self.asked.set()
            writer.write(self.answer)
            while self.endless:
                writer.write(self.endless)
                await writer.drain()
            if self.waits:
                await reader.read()
        self.held -= 1
        self.left.set()
        writer.close()


@asynccontextmanager
async def receiving(*receivers: Receiver, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """The servers listen."""
    servers = []
    for each in receivers:
        server = await asyncio.start_server(each.serve, each.host, each.port, ssl=tls)
        each.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(0)


class Names:
    """A name service that gives the next of its answers at each look-up, and of addresses themselves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        """As socket.getaddrinfo."""
        self.asked.append(host)
        addresses = self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


async def post(outward: Outward, url: str, timeout_seconds: float = 20) -> Answer:
    """The answer to a POST of nothing."""
    return await outward.post(url, {}, b"", timeout_seconds=timeout_seconds)


def redirect(location: str, status: int = 307) -> bytes:
    """An answer that leads elsewhere."""
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_what_arrives(run: Run) -> None:
    """A request arrives as it was made, with its host and length; what comes back is its status and headers."""

    async def play() -> None:
        receiver = Receiver(b"HTTP/1.1 201 Made\r\nETag: x\r\nVia: a\r\nvia: b\r\nContent-Length: 0\r\n\r\n")
        async with receiving(receiver), open_outward(POLICY) as outward:
            answer = await outward.post(f"{receiver.url}/a;b/c?d=e#f", {"X-Own": "1"}, b"body", timeout_seconds=20)
        assert answer == Answer(201, {"etag": "x", "via": "a, b", "content-length": "0"})
        ((head, body),) = receiver.requests
        host = f"Host: {ALLOWED}:{receiver.port}"
        assert head == ["POST /a;b/c?d=e HTTP/1.1", host, "Connection: close", "Content-Length: 4", "X-Own: 1"]
        assert body == b"body"

    run(play())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]", "0.0.0.0"])  # noqa: S104
def test_loopback_is_refused(run: Run, host: str) -> None:
    """Nothing reaches a server on loopback by any of its names, unless the operator allows it."""

    async def play() -> None:
        receiver = Receiver(host=REFUSED)
        async with receiving(receiver):
            url = f"http://{host}:{receiver.port}/"
            async with open_outward(AddressPolicy()) as outward:
                with pytest.raises(AddressRefused, match="is not public; CALLBACK_ALLOW names"):
                    await post(outward, url)
            assert receiver.connections == 0
            async with open_outward(AddressPolicy(["127.0.0.1/32", "0.0.0.0/32"])) as outward:
                assert (await post(outward, url)).status == 200

    run(play())


def test_ipv6(run: Run) -> None:
    """An IPv6 address that is allowed is reached, and its brackets stay in Host (RFC 9110 7.2)."""

    async def play() -> None:
        receiver = Receiver(host="::1")
        async with receiving(receiver), open_outward(AddressPolicy(["::1/128"])) as outward:
            await post(outward, f"http://[::1]:{receiver.port}/")
        assert f"Host: [::1]:{receiver.port}" in receiver.requests[0][0]

    run(play())


def test_name_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once a request, and what is connected to is the address that was checked."""

    async def play() -> None:
        target = Receiver(host=REFUSED)
        async with receiving(target):
            receiver = Receiver(port=target.port)
            async with receiving(receiver), open_outward(POLICY) as outward:
                names = Names(monkeypatch, (ALLOWED,), (REFUSED,), (REFUSED,))
                url = f"http://rebinding.test:{target.port}/"
                assert (await post(outward, url)).status == 200
                assert names.asked == ["rebinding.test"]
                with pytest.raises(AddressRefused, match="is not public"):
                    await post(outward, url)
        assert names.asked == ["rebinding.test"] * 2
        assert (receiver.connections, target.connections) == (1, 0)
        assert f"Host: rebinding.test:{target.port}" in receiver.requests[0][0]

    asyncio.run(play())


@pytest.mark.parametrize("order", [(REFUSED, ALLOWED), (ALLOWED, REFUSED)])
def test_mixed_names(monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]) -> None:
    """Of a name's addresses those that may be connected to are; the others are not, even where no other takes it."""

    async def play() -> None:
        target = Receiver(host=REFUSED)
        async with receiving(target), open_outward(POLICY) as outward:
            Names(monkeypatch, order, order)
            url = f"http://mixed.test:{target.port}/"
            with pytest.raises(OutwardFailed, match=r"^cannot connect to mixed\.test$"):
                await post(outward, url)
            receiver = Receiver(port=target.port)
            async with receiving(receiver):
                await post(outward, url)
        assert (receiver.connections, target.connections) == (1, 0)

    asyncio.run(play())


def test_names_whose_servers_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups that hang hold up no other, though there are many of them and whoever asked has given up."""
    hanging = threading.Event()

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        if host.startswith("slow"):
            hanging.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ALLOWED, port))]

    async def play() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        receiver = Receiver()
        async with receiving(receiver), open_outward(POLICY) as outward:
            for number in range(40):
                with pytest.raises(OutwardFailed, match="no answer within"):
                    await post(outward, f"http://slow{number}.test/", timeout_seconds=0.01)
            assert (await post(outward, f"http://good.test:{receiver.port}/", timeout_seconds=5)).status == 200

    try:
        asyncio.run(play())
    finally:
        hanging.set()


def test_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one address does not take the connection the next is tried, to the eighth."""

    async def play() -> None:
        receiver = Receiver()
        async with receiving(receiver), open_outward(AddressPolicy(["127.0.0.0/8"])) as outward:
            nobody = tuple(f"127.0.1.{number}" for number in range(1, 9))
            Names(monkeypatch, (*nobody[:7], ALLOWED), (*nobody, ALLOWED))
            url = f"http://many.test:{receiver.port}/"
            await post(outward, url)
            with pytest.raises(OutwardFailed, match="cannot connect"):
                await post(outward, url)
        assert receiver.connections == 1

    asyncio.run(play())


def test_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose other end turns out to be another than was meant is closed before anything is sent."""
    connect = asyncio.open_connection

    async def elsewhere(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert host == ALLOWED
        return await connect(REFUSED, port)

    monkeypatch.setattr(asyncio, "open_connection", elsewhere)

    async def play() -> None:
        receiver = Receiver(host=REFUSED)
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(AddressRefused, match="is not public"):
                await post(outward, f"http://{ALLOWED}:{receiver.port}/")
            await receiver.left.wait()
        assert (receiver.connections, receiver.requests) == (1, [])

    asyncio.run(play())


def test_unix_sockets_are_refused() -> None:
    """No way leads to a socket of this machine's own."""
    with pytest.raises(AddressRefused):
        asyncio.run(GuardedBackend(AddressPolicy(["0.0.0.0/0"])).connect_unix_socket("/run/docker.sock"))


@pytest.mark.parametrize("url", ["ftp://127.0.0.2/", "http:///", "http://[::1", "http://127.0.0.2:99999/", "http://ü/"])
def test_bad_urls(url: str) -> None:
    """What is no http or https URL is a failure like others."""

    async def play() -> None:
        async with open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match="the URL"):
                await post(outward, url)

    asyncio.run(play())


def test_names_without_address(run: Run) -> None:
    """A name that cannot be looked up is a failure like others."""

    async def play() -> None:
        async with open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match=r"^the name a{64}\.test cannot be resolved$"):
                await post(outward, f"http://{'a' * 64}.test/")

    run(play())


def test_proxies_are_not_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names sees nothing."""

    async def play() -> None:
        proxy, receiver = Receiver(host=REFUSED), Receiver()
        async with receiving(proxy, receiver), open_outward(POLICY) as outward:
            for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(variable, proxy.url)
            await post(outward, receiver.url)
        assert (proxy.connections, receiver.connections) == (0, 1)

    run(play())


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    ],
)
def test_endless_body(run: Run, answer: bytes, endless: bytes) -> None:
    """Of a body without end a little is read, the connection is closed, and the status counts."""

    async def play() -> None:
        receiver = Receiver(answer, endless)
        async with receiving(receiver), open_outward(POLICY) as outward:
            assert (await post(outward, receiver.url)).status == 200
            await receiver.left.wait()

    run(play())


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    ],
)
def test_endless_head(run: Run, answer: bytes, endless: bytes) -> None:
    """Of interim answers or a head without end a little is read, and it is a failure."""

    async def play() -> None:
        receiver = Receiver(answer, endless)
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match="before it answered"):
                await post(outward, receiver.url)
            await receiver.left.wait()

    run(play())


def test_bound(run: Run) -> None:
    """Of one connection just so much can be read, whatever the size of the pieces."""

    async def play() -> None:
        receiver = Receiver(endless=b"x" * 65536)
        async with receiving(receiver):
            connection = Connection(*await asyncio.open_connection(receiver.host, receiver.port))
            await connection.write(b"GET / HTTP/1.1\r\n\r\n")
            read = 0
            while read < ANSWER_BYTES:
                read += len(await connection.read(1000))
            assert read == ANSWER_BYTES
            with pytest.raises(httpcore.ReadError, match="too long"):
                await connection.read(1000)
            await connection.aclose()
            await receiver.left.wait()

    run(play())


def test_body_that_does_not_come(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is promised and does not come is not waited for: the status counts."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)

    async def play() -> None:
        receiver = Receiver(b"HTTP/1.1 202 OK\r\nContent-Length: 3\r\n\r\n", waits=True)
        async with receiving(receiver), open_outward(POLICY) as outward:
            assert (await post(outward, receiver.url, timeout_seconds=60)).status == 202
            await receiver.left.wait()

    run(play())


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200"])
def test_no_http(run: Run, answer: bytes) -> None:
    """A server that closes the connection, or answers otherwise than in HTTP, is a failure that names it."""

    async def play() -> None:
        receiver = Receiver(answer)
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match=f"^{ALLOWED} closed the connection, or spoke no HTTP"):
                await post(outward, receiver.url)

    run(play())


def test_timeout(run: Run) -> None:
    """A server that does not answer in time is a failure that says so, and its connection is closed."""

    async def play() -> None:
        receiver = Receiver(b"", waits=True)
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match=r"^no answer within 0\.5 s$"):
                await post(outward, receiver.url, timeout_seconds=0.5)
            await receiver.left.wait()

    run(play())


def test_cancelled(run: Run) -> None:
    """Who is cancelled while waiting for the answer leaves no connection behind."""

    async def play() -> None:
        receiver = Receiver(b"", waits=True)
        async with receiving(receiver), open_outward(POLICY) as outward:
            asking = asyncio.create_task(post(outward, receiver.url))
            await receiver.asked.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await receiver.left.wait()

    run(play())


def test_cancelled_at_any_moment(run: Run) -> None:
    """No connection outlives a request that is cancelled, in whatever turn of the loop."""

    async def play() -> None:
        receiver = Receiver(b"", waits=True)
        async with receiving(receiver), open_outward(POLICY) as outward:
            for turns in range(100):
                asking = asyncio.create_task(post(outward, receiver.url))
                for _ in range(turns % 50):
                    await asyncio.sleep(0)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            receiver.asked.clear()
            last = asyncio.create_task(post(outward, receiver.url))
            await receiver.asked.wait()  # connections are taken in their order: now all were
            while receiver.held > 1:
                receiver.left.clear()
                await receiver.left.wait()
            assert repr(outward) == "<Outward: 1 requests>"
            last.cancel()
            await asyncio.wait([last])
            assert repr(outward) == "<Outward: 0 requests>"
        assert receiver.connections > 10

    run(play())


def test_end_of_the_way_out(run: Run) -> None:
    """A request that is still under way when the way out is closed fails, and its connection is closed."""

    async def play() -> None:
        receiver = Receiver(b"", waits=True)
        async with receiving(receiver):
            async with open_outward(POLICY) as outward:
                asking = asyncio.create_task(post(outward, receiver.url))
                await receiver.asked.wait()
            with pytest.raises(OutwardFailed, match="closed the connection"):
                await asking
            await receiver.left.wait()

    run(play())


async def callback(outward: Outward, url: str) -> int:
    """Send one."""
    return await send(outward, SIGNER, url, "msg_1", 1_700_000_000.9, b'{"a":1}')


def test_callback(run: Run) -> None:
    """A callback is a signed POST of JSON that says who sends it; any status of the 200s takes it."""

    async def play() -> None:
        receiver = Receiver(b"HTTP/1.1 204 None\r\n\r\n")
        async with receiving(receiver), open_outward(POLICY) as outward:
            assert await callback(outward, f"{receiver.url}/hook") == 204
        ((head, body),) = receiver.requests
        assert (head[0], body) == ("POST /hook HTTP/1.1", b'{"a":1}')
        signed = SIGNER.headers("msg_1", 1_700_000_000, body)
        sent = {"Content-Type": "application/json", "User-Agent": f"spark-export/{__version__}", **signed}
        assert {f"{name}: {value}" for name, value in sent.items()} <= set(head)

    run(play())


@pytest.mark.parametrize(("status", "final"), [(301, False), (302, False), (303, False), (400, False), (410, True),
                                               (429, False), (500, False)])  # fmt: skip
def test_callback_not_taken(status: int, *, final: bool) -> None:
    """Any other status is a failure, redirects that change the method among them; 410 is the last word."""

    async def play() -> None:
        target = Receiver()
        async with receiving(target):
            receiver = Receiver(redirect(target.url, status))
            async with receiving(receiver), open_outward(POLICY) as outward:
                with pytest.raises(CallbackFailed, match=f"answered {status}") as caught:
                    await callback(outward, receiver.url)
        assert (caught.value.status, caught.value.final, target.connections) == (status, final, 0)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("said", "seconds"), [("", 0), ("7", 7), ("Fri, 27 Nov 2026 08:00:01 GMT", 0), ("-1", 0), ("²", 0), ("9" * 5000, 0)]
)
def test_when_to_come_again(said: str, seconds: int) -> None:
    """What a receiver says of that in seconds is told; what cannot be read is nothing."""

    async def play() -> None:
        answer = f"HTTP/1.1 503 Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode()
        receiver = Receiver(answer)
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(CallbackFailed) as caught:
                await callback(outward, receiver.url)
        assert caught.value.retry_after_seconds == seconds

    asyncio.run(play())


def chain(*receivers: Receiver) -> None:
    """Let each lead to the next."""
    for one, other in pairwise(receivers):
        one.answer = redirect(f"{other.url}/next", 308 if other is receivers[1] else 307)


def test_redirects(run: Run) -> None:
    """Three redirects that keep the method are followed, with the same body and signature; a fourth is not."""

    async def play() -> None:
        receivers = [Receiver() for _ in range(5)]
        async with receiving(*receivers), open_outward(POLICY) as outward:
            chain(*receivers[:4])
            assert await callback(outward, receivers[0].url) == 200
            first, last = receivers[0].requests[0], receivers[3].requests[0]
            assert (last[0][0], last[1]) == ("POST /next HTTP/1.1", first[1])
            assert first[0][2:] == last[0][2:]
            chain(*receivers)
            with pytest.raises(CallbackFailed, match="more than 3 times"):
                await callback(outward, receivers[0].url)
        assert [each.connections for each in receivers] == [2, 2, 2, 2, 0]

    run(play())


@pytest.mark.parametrize("place", ["http://127.0.0.1:{}/", "//127.0.0.1:{}/", "http://localhost:{}/admin"])
def test_redirect_inwards(run: Run, place: str) -> None:
    """A redirect to an address that may not be connected to is refused, and its server sees no connection."""

    async def play() -> None:
        target = Receiver(host=REFUSED)
        async with receiving(target):
            receiver = Receiver(redirect(place.format(target.port)))
            async with receiving(receiver), open_outward(POLICY) as outward:
                with pytest.raises(AddressRefused):
                    await callback(outward, receiver.url)
        assert (receiver.connections, target.connections) == (1, 0)

    run(play())


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.2/", "unix:/run/docker.sock"])
def test_redirect_to_other_schemes(location: str) -> None:
    """A redirect to anything but http and https is not followed."""

    async def play() -> None:
        receiver = Receiver(redirect(location))
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(CallbackFailed, match="no URL for callbacks"):
                await callback(outward, receiver.url)

    asyncio.run(play())


@dataclass(frozen=True)
class Identity:
    """A server's key and a certificate that vouches for itself, for `receiver.test` and 127.0.0.3 alone."""

    certificate: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Made by openssl."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=spark-export test", "-addext", "subjectAltName=DNS:receiver.test,IP:127.0.0.3",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Identity(certificate, context)


@pytest.fixture
def trusted(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """The identity, which SSL_CERT_FILE says to trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.certificate))
    return identity


def test_tls(trusted: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate has the name of the URL is reached, by the address that its name stands for."""

    async def play() -> None:
        receiver = Receiver()
        async with receiving(receiver, tls=trusted.context), open_outward(POLICY) as outward:
            Names(monkeypatch, (ALLOWED,), (ALLOWED,))
            url = f"https://receiver.test:{receiver.port}/"
            answers = await asyncio.gather(post(outward, url), post(outward, url))
        assert [answer.status for answer in answers] == [200, 200]

    asyncio.run(play())


def test_tls_by_address(run: Run, trusted: Identity) -> None:
    """A certificate may name an address; a long body arrives whole."""
    body = bytes(range(256)) * 10_000

    async def play() -> None:
        receiver = Receiver(host="127.0.0.3")
        async with receiving(receiver, tls=trusted.context), open_outward(POLICY) as outward:
            url = f"https://127.0.0.3:{receiver.port}/"
            assert (await outward.post(url, {}, body, timeout_seconds=20)).status == 200
        assert receiver.requests[0][1] == body

    run(play())


def test_tls_of_another_name(trusted: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate has another name than the URL gets no request."""

    async def play() -> None:
        receiver = Receiver()
        async with receiving(receiver, tls=trusted.context), open_outward(POLICY) as outward:
            Names(monkeypatch, (ALLOWED,))
            with pytest.raises(
                OutwardFailed, match=r"the certificate of other\.test is not to be trusted: Hostname mism"
            ):
                await post(outward, f"https://other.test:{receiver.port}/")
        assert receiver.requests == []

    asyncio.run(play())


def test_tls_of_an_unknown_issuer(run: Run, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate nobody trusts gets no request."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def play() -> None:
        receiver = Receiver(host="127.0.0.3")
        async with receiving(receiver, tls=identity.context), open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match="is not to be trusted: self-signed certificate"):
                await post(outward, f"https://127.0.0.3:{receiver.port}/")
        assert receiver.requests == []

    run(play())


def test_no_tls(run: Run) -> None:
    """A server that does not speak TLS is a failure that says so."""

    async def play() -> None:
        receiver = Receiver()

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        receiver.serve = plain  # type: ignore[method-assign]
        async with receiving(receiver), open_outward(POLICY) as outward:
            with pytest.raises(OutwardFailed, match="does not speak TLS as it should"):
                await post(outward, f"https://{ALLOWED}:{receiver.port}/")

    run(play())


def test_no_certificates(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A SSL_CERT_FILE that is not there is a failure of https alone, and is read again when it is there."""

    async def play() -> None:
        receiver = Receiver()
        async with receiving(receiver), open_outward(POLICY) as outward:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
            with pytest.raises(OutwardFailed, match="cannot be read here"):
                await post(outward, f"https://{ALLOWED}:{receiver.port}/")
            await post(outward, receiver.url)
        assert receiver.connections == 1

    run(play())


def test_nothing_is_loaded_early() -> None:
    """What sends requests is loaded with the first of them, and no sooner."""
    modules: Iterable[str] = json.loads(
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, json, spark_export.outward.callbacks; print(json.dumps([*sys.modules]))",
            ],
            check=True,
            capture_output=True,
        ).stdout
    )
    assert not {"httpcore", "httpx", "h11", "certifi"} & set(modules)
