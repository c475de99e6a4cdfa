"""Malformed, slow and smuggled HTTP, byte by byte through sockets: refused or answered, never a hang or a failure."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat

import httpx
import pytest
import zstandard

from tests.early import begin_early

from .conftest import Server, Start

CLOSED: int | None = None
"""In place of a status: the connection was closed without an answer."""

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /export HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
BODY = b'{"rows":[{"a":1}]}'
LENGTH = b"Content-Length: 18\r\n"
CHUNKED = POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"12\r\n" + BODY + b"\r\n"

HEAD_BYTES = 2**16
STATUS_LINE = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)

IN_A_BODY: set[int | None] = {CLOSED, 400}
"""What is wrong in a body shows once its request has begun."""

MALFORMED: dict[str, tuple[bytes, set[int | None]]] = {
    "garbage": (b"\x00\xff\x80garbage\r\n\r\n", {400}),
    "TLS client hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), {400}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\n\r\n", {400}),
    "lower-case method": (b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "unknown method": (b"FOO /export HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "TRACE": (b"TRACE /export HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {405}),
    "HEAD": (b"HEAD /export?dataset=trades HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {405}),
    "CONNECT": (b"CONNECT evil:80 HTTP/1.1\r\nHost: evil\r\n\r\n", {400}),
    "CONNECT to a path": (b"CONNECT /export HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {405}),
    "absolute address": (b"GET http://evil/livez HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {200, 400}),
    "absolute address without a path": (b"GET http://evil HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {400}),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {404, 405}),
    "no path": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "path beyond ASCII": ("GET /\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n".encode(), {400}),
    "line break in a path": (b"GET /%ff%00%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", {404}),
    "without Host": (b"GET /livez HTTP/1.1\r\n" + CLOSE + b"\r\n", {400}),
    "two Hosts": (LIVE + b"Host: y\r\n" + CLOSE + b"\r\n", {400}),
    "folded field": (LIVE + b"X: a\r\n b\r\n" + CLOSE + b"\r\n", {400}),
    "NUL in a field": (LIVE + b"X: a\0b\r\n" + CLOSE + b"\r\n", {400}),
    "carriage return in a field": (LIVE + b"X: a\rX-Evil: b\r\n" + CLOSE + b"\r\n", {400}),
    "bare line feeds": (b"GET /livez HTTP/1.1\nHost: x\n\n", {400}),
    "space before a colon": (CHUNKED.replace(b"Encoding:", b"Encoding :") + CHUNK + b"0\r\n\r\n", {400}),
    "two lengths": (POST + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY, {400}),
    "the same length twice": (POST + LENGTH + LENGTH + b"\r\n" + BODY, {400}),
    "list of lengths": (POST + b"Content-Length: 18, 18\r\n\r\n" + BODY, {400}),
    "length with a sign": (POST + b"Content-Length: +18\r\n\r\n" + BODY, {400}),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n" + BODY, {400}),
    "hexadecimal length": (POST + b"Content-Length: 0x12\r\n\r\n" + BODY, {400}),
    "length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, {400}),
    "length of 2**63 - 1": (POST + CLOSE + b"Content-Length: 9223372036854775807\r\n\r\n" + BODY, {413}),
    "length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LIVE, {400}),
    "chunks and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + LIVE, {400}),
    "chunked not last": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400}),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", IN_A_BODY),
    "size of a chunk": (CHUNKED + b"zz\r\n" + BODY, IN_A_BODY),
    "negative chunk": (CHUNKED + b"-12\r\n" + BODY, IN_A_BODY),
    "chunk beyond 64 bits": (CHUNKED + b"ffffffffffffffffff\r\n" + BODY, IN_A_BODY),
    "chunk that is too long": (CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n", IN_A_BODY),
    "line feeds in chunks": (CHUNKED + b"12\n" + BODY + b"\n0\n\n", IN_A_BODY),
    "one long field": (LIVE + CLOSE + b"X: " + b"a" * (HEAD_BYTES + 1000) + b"\r\n\r\n", {431}),
    "many fields": (LIVE + CLOSE + b"X: a\r\n" * (HEAD_BYTES // 6) + b"\r\n", {431}),
    "long address": (
        b"GET /" + b"a" * (HEAD_BYTES + 1000) + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
        {414, 431, 400},
    ),
}


def connect(server: Server) -> socket.socket:
    """A connection on which nothing is waited for longer than ten seconds."""
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)


def rest_of(client: socket.socket) -> bytes:
    """Everything until the server closes the connection; a reset closes it too.

    Raises:
        TimeoutError: it does not.
    """
    received = bytearray()
    with suppress(ConnectionError):
        while part := client.recv(2**16):
            received += part
    return bytes(received)


def talk(server: Server, *parts: bytes) -> bytes:
    """Send the parts, and read until the server closes the connection."""
    with connect(server) as client:
        with suppress(ConnectionError):
            for part in parts:
                client.sendall(part)
        return rest_of(client)


def statuses_of(raw: bytes) -> list[int]:
    """The statuses of the answers."""
    return [int(status) for status in STATUS_LINE.findall(raw)]


class _Recording(io.BytesIO):
    """Several answers end to end, as a socket and its file at once."""

    def makefile(self, _mode: str) -> _Recording:
        return self

    def close(self) -> None:
        """Stay open for the next answer."""


def answers_in(raw: bytes) -> list[tuple[http.client.HTTPResponse, bytes]]:
    """The answers with their bodies.

    Raises:
        http.client.HTTPException: one is not whole.
    """
    recording, found = _Recording(raw), []
    while recording.tell() < len(raw):
        answer = http.client.HTTPResponse(recording)  # type: ignore[arg-type]
        answer.begin()
        found.append((answer, answer.read()))
    return found


@pytest.fixture(scope="module", autouse=True)
def _begins_early(request: pytest.FixtureRequest) -> None:
    """The slow clients take their time while the other tests run."""
    begin_early(request, "slow")


@pytest.fixture(autouse=True)
def _goes_on(server: Server) -> Iterator[None]:
    """After each test the service answers, and nothing in it was a surprise to it."""
    before = server.log.stat().st_size
    yield
    assert server.get("/livez").text == "ok\n"
    assert server.export({"rows": [{"a": 1}]}).content == b"a\r\n1\r\n"
    assert b"Traceback" not in server.log.read_bytes()[before:]


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(server: Server, name: str) -> None:
    """One answer of the 400s, or none, and the connection ends: what is ambiguous never becomes two requests."""
    sent, allowed = MALFORMED[name]
    statuses = statuses_of(talk(server, sent))
    assert len(statuses) <= 1
    assert (statuses[0] if statuses else CLOSED) in allowed


@pytest.mark.parametrize(
    ("begin", "more", "allowed"),
    [
        (LIVE + b"X: ", b"a", {431}),
        (LIVE, b"X: a\r\n", {431}),
        (b"GET /", b"a", {431}),
        (CHUNKED + CHUNK + b"0\r\n", b"X: a\r\n", {CLOSED, 400, 431}),
        (CHUNKED + b"12;", b"a", {CLOSED, 400, 431}),
    ],
    ids=["field", "fields", "address", "trailers", "chunk extension"],
)
def test_what_never_ends_is_cut_off(server: Server, begin: bytes, more: bytes, allowed: set[int | None]) -> None:
    """A head, trailers or a chunk extension without end get at most some reads more than 64 KiB."""
    before = server.status("VmRSS")
    part = more * (HEAD_BYTES // len(more))
    statuses = statuses_of(talk(server, begin, *([part] * 300)))
    assert (statuses[0] if statuses else CLOSED) in allowed
    assert server.status("VmRSS") - before < 20_000


LEGITIMATE = {
    "HTTP/1.0": (LIVE.replace(b"1.1", b"1.0") + b"\r\n", b"ok\n"),
    "empty lines first": (b"\r\n\r\n" + LIVE + CLOSE + b"\r\n", b"ok\n"),
    "chunk extension and trailer": (CHUNKED + b"12;x=y\r\n" + BODY + b"\r\n0\r\nX: y\r\n\r\n", b"a\r\n1\r\n"),
    "100-continue": (POST + CLOSE + LENGTH + b"Expect: 100-continue\r\n\r\n" + BODY, b"a\r\n1\r\n"),
    "garbage after the last request": (LIVE + CLOSE + b"\r\n\x00garbage\r\n\r\n", b"ok\n"),
    "h2c that is not taken up": (
        POST + b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        + LENGTH + b"\r\n" + BODY,
        b"a\r\n1\r\n",
    ),
    "websocket that is not taken up": (
        POST + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n" + LENGTH + b"\r\n" + BODY,
        b"a\r\n1\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGITIMATE)
def test_rare_but_good_requests_are_answered(server: Server, name: str) -> None:
    """What RFC 9110 and 9112 allow gets its answer."""
    sent, body = LEGITIMATE[name]
    raw = talk(server, sent).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert [(answer.status, found) for answer, found in answers_in(raw)] == [(200, body)]


def test_chunks_for_http_1_0(server: Server) -> None:
    """An export over HTTP/1.0 is chunked against RFC 9112 6.1: without that a broken file would look whole."""
    raw = talk(server, b"GET /export?dataset=trades&limit=2 HTTP/1.0\r\nHost: x\r\n\r\n")
    ((answer, _),) = answers_in(raw)
    assert (answer.status, answer.headers["transfer-encoding"]) == (200, "chunked")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Three exports and a refusal in one packet: four answers, each whole, in the order of the requests."""
    export = (
        b"GET /export?dataset=trades&params=%%7B%%22rows%%22:%d%%7D HTTP/1.1\r\nHost: x\r\nX-Request-Id: r%d\r\n\r\n"
    )
    sent = (
        export % (30_000, 1)
        + POST + b"X-Request-Id: r2\r\n" + LENGTH + b"\r\n" + BODY
        + b"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-Id: r3\r\n\r\n"
        + (export % (3, 4)).replace(b"\r\n\r\n", b"\r\n" + CLOSE + b"\r\n")
    )  # fmt: skip
    answers = answers_in(talk(server, sent))
    assert [(each.headers["x-request-id"], each.status) for each, _ in answers] == [
        ("r1", 200), ("r2", 200), ("r3", 404), ("r4", 200),
    ]  # fmt: skip
    assert [body.count(b"\r\n") for _, body in answers] == [30_001, 2, 0, 4]
    assert answers[1][1] == b"a\r\n1\r\n"


@pytest.mark.parametrize("later", [False, True], ids=["at once", "after the first byte"])
def test_garbage_behind_an_export_never_ends_it_well(server: Server, later: bool) -> None:
    """The export breaks, or is whole without the garbage or an answer to it."""
    path = "/export?dataset=trades&params=%7B%22rows%22:300000%7D"
    whole = server.get(path).content
    with connect(server) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = client.recv(1000) if later else b""
        with suppress(ConnectionError):
            client.sendall(b"\x00\xffGARBAGE / HTTP/1.1\r\n\r\n")
        received += rest_of(client)
    assert len(statuses_of(received)) <= 1
    assert b"GARBAGE" not in received
    if received.endswith(b"\r\n0\r\n\r\n"):
        assert [body for _, body in answers_in(received)] == [whole]


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda plain: gzip.compress(plain, 1),
    "x-gzip": lambda plain: gzip.compress(plain, 1),
    "deflate": lambda plain: zlib.compress(plain, 1),
    "zstd": zstandard.compress,
    "br": lambda plain: plain[:1000],
    "gzip, gzip": lambda plain: gzip.compress(gzip.compress(plain, 1)),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_coded_bodies_are_not_unpacked(server: Server, coding: str) -> None:
    """A body that says it is compressed is 415, bomb or not, and takes no memory."""
    before = server.status("VmHWM")
    for plain in (BODY, bytes(2**26)):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        answer = httpx.post(server.url + "/export", content=CODINGS[coding](plain), headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (415, "Content-Encoding")
    assert server.status("VmHWM") - before < 20_000


FORGED = [
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    "a\r\n\r\nHTTP/1.1 200 OK\r\nX-Evil: 1",
    "a\u010d\u010aX-Evil: 1",
    "a\u560d\u560aX-Evil: 1",
    "a\u2028X-Evil: 1",
    "a\x85X-Evil: 1",
    'a"; X-Evil=1; b="',
    "a; filename*=UTF-8''X-Evil",
    "a%0d%0aX-Evil: 1",
]


@pytest.mark.parametrize("name", FORGED, ids=ascii)
def test_file_names_never_become_header_fields(server: Server, name: str) -> None:
    """A file name with line breaks or quotes, in a body or a link, is 422 or one parameter of one field."""
    body = json.dumps({"rows": [{"a": 1}], "filename": name}).encode()
    link = str(httpx.URL("/export", params={"dataset": "trades", "limit": "1", "filename": name}))
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    for sent in (POST + CLOSE + length + body, f"GET {link} HTTP/1.1\r\nHost: x\r\n".encode() + CLOSE + b"\r\n"):
        ((answer, _),) = answers_in(talk(server, sent))
        assert answer.status in {200, 422}
        assert "x-evil" not in answer.headers
        disposition = answer.headers["content-disposition"] or 'attachment; filename=""'
        assert re.fullmatch(
            r"attachment; filename=\"[^\"\\\x00-\x1f\x7f-\xff]*\"(; filename\*=[\w'%.~-]+)?", disposition
        )


@pytest.mark.parametrize("name", [*FORGED, "", " ", "\t", "x" * 129, "\u00e9", "<script>"], ids=ascii)
def test_request_ids_never_become_header_fields(server: Server, name: str) -> None:
    """A request id that is more than one plain word is replaced, or the request refused."""
    raw = talk(server, LIVE + CLOSE + b"X-Request-Id: " + name.encode() + b"\r\n\r\n")
    ((answer, body),) = answers_in(raw)
    assert (answer.status, body) == (200, b"ok\n") or answer.status == 400
    assert "x-evil" not in answer.headers
    assert answer.status == 400 or re.fullmatch(r"[0-9a-f]{32}|a", answer.headers["x-request-id"])


@dataclass(frozen=True)
class Slow:
    """A client that takes its time.

    Attributes:
        begin: sent at once.
        first: sent after a second.
        more: sent every second from then on.
        least_seconds, most_seconds: when the service is through with it: it was told 408, or the connection ended.
        statuses: of the answers.
    """

    begin: bytes
    more: bytes
    least_seconds: float
    most_seconds: float
    statuses: tuple[int, ...]
    first: bytes = b""

    def run(self, server: Server) -> tuple[float, bytes]:
        """After how many seconds it was over, and what was said."""
        started, received = time.monotonic(), b""
        with connect(server) as client:
            client.sendall(self.begin)
            client.settimeout(1)
            for more in chain([self.first], repeat(self.more)):
                with suppress(TimeoutError, ConnectionError):
                    received += (part := client.recv(2**16))
                    if not part or self._is_told(received):
                        break
                if time.monotonic() - started > self.most_seconds:
                    break
                with suppress(ConnectionError):
                    client.sendall(more)
        return time.monotonic() - started, received

    def _is_told(self, received: bytes) -> bool:
        try:
            return 408 in [answer.status for answer, _ in answers_in(received)]
        except http.client.HTTPException:
            return False


SECOND_OF_BODY = b" " * 700
UPLOAD = POST + CLOSE + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 35 * len(SECOND_OF_BODY)) + BODY
SLOW = {
    "head": Slow(LIVE + b"X: ", b"a", 9, 15, (408,)),
    "silence": Slow(b"", b"", 9, 15, ()),
    "body": Slow(POST + b"Content-Length: 1000\r\n\r\n", b" ", 28, 45, (408,)),
    "trailer": Slow(CHUNKED + CHUNK + b"0\r\nX: ", b"a", 9, 45, (408,)),
    "silence after an answer": Slow(LIVE + b"\r\n", b"", 4, 15, (200,)),
    "empty lines after an answer": Slow(LIVE + b"\r\n", b"\r\n", 4, 15, (200,)),
    "one empty line after an answer": Slow(LIVE + b"\r\n", b"", 4, 17, (200,), first=b"\r\n"),
    "body that nobody reads": Slow(LIVE + b"Content-Length: 1000\r\n\r\n", b" ", 4, 45, (200,)),
    "upload that is just fast enough": Slow(UPLOAD, SECOND_OF_BODY, 30, 45, (200,)),
    "the same behind a request": Slow(LIVE + b"\r\n" + UPLOAD, SECOND_OF_BODY, 30, 45, (200, 200)),
}


@pytest.fixture(scope="module")
def slow(server: Server) -> Iterator[dict[str, Future[tuple[float, bytes]]]]:
    """What came of each slow client; all are slow at the same time."""
    with ThreadPoolExecutor(len(SLOW)) as threads:
        yield {name: threads.submit(client.run, server) for name, client in SLOW.items()}


@pytest.mark.parametrize("name", SLOW)
def test_slow_clients_are_ended_and_no_others(slow: dict[str, Future[tuple[float, bytes]]], name: str) -> None:
    """Who keeps a connection busy with next to nothing loses it in time; who is fast enough is served."""
    client = SLOW[name]
    seconds, raw = slow[name].result()
    assert tuple(statuses_of(raw)) == client.statuses
    assert client.least_seconds <= seconds <= client.most_seconds
    if name == "body":
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["field"] == "MIN_CLIENT_BYTES_PER_SECOND"


@contextmanager
def _crowd(server: Server, count: int) -> Iterator[None]:
    """So many connections that have sent a part of something."""
    beginnings = (b"", b"GET /ex", LIVE + b"X: ", POST + b"Content-Length: 1000\r\n\r\n{", CHUNKED + b"12\r\n{")
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(connect(server)).sendall(beginnings[number % len(beginnings)])
        yield


def test_200_slow_clients_keep_nobody_out(server: Server) -> None:
    """With 200 connections that have sent half a request, exports are served at once."""
    with _crowd(server, 200):
        started = time.monotonic()
        assert len(server.get("/export?dataset=trades&limit=1000").content.splitlines()) == 1001
        assert server.health() == (0, 0)
        assert time.monotonic() - started < 2


def test_more_connections_than_allowed_are_told_so(start: Start) -> None:
    """Beyond MAX_CONNECTIONS a connection is answered 503 at once, and there is room again when others leave."""
    few = start(MAX_CONNECTIONS="20")
    with _crowd(few, 30):
        assert statuses_of(talk(few, LIVE + CLOSE + b"\r\n")) == [503]
    few.until(lambda: statuses_of(talk(few, LIVE + CLOSE + b"\r\n")) == [200])
