"""Clients on raw sockets that leave, read slowly, press or measure, and what they leave of the service's process."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb

Address = tuple[str, int]
T = TypeVar("T")

PIECE_BYTES = 2**18
LINGER_ZERO = struct.pack("ii", 1, 0)
"""With it a socket is closed by RST instead of FIN (socket(7))."""
AT_ONCE = 1e12
"""Bytes a second of a client that is never waited for."""
READ_EVERY_SECONDS = 0.25
STATUS_ENDS = len("HTTP/1.1 200")
LAST_CHUNK = b"\r\n0\r\n\r\n"
POLL_SECONDS = 0.1
WARM_UP_LEAVERS = 500
"""After which memory has grown to what it stays at: 230 MB after the first hundreds, 243 after 500, 248 after 8,000."""
PATIENCE_SECONDS = 5.0
ENDLESS_READ_BYTES = 300_000
SETTLE_SECONDS = 5.0
"""In which all is given back; the service gives memory back a second after its last export."""
MEMORY_RATIO_MOST = 1.1
LONGEST_RETRY_SECONDS = 600
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Without keys a caller is an address: the queue is shared out between these."""


def get_request(path: str, **fields: str) -> bytes:
    """A GET; header fields are named with `_` for `-`."""
    lines = [f"GET {path} HTTP/1.1", "Host: service", *(f"{name.replace('_', '-')}: {fields[name]}" for name in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post_request(body: bytes, **fields: str) -> bytes:
    """A POST /export of a JSON body."""
    length = {"Content_Type": "application/json", "Content_Length": str(len(body))}
    return get_request("/export", **fields, **length).replace(b"GET", b"POST", 1) + body


@asynccontextmanager
async def open_client(address: Address, source: str = SOURCES[0]) -> AsyncIterator[socket.socket]:
    """A connection; nothing but this machine is ever pressed.

    Raises:
        ValueError: the address is not loopback.
    """
    if not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(f"{address[0]} is no loopback address")
    with socket.socket() as client:
        client.setblocking(False)
        client.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(client, address)
        yield client


DATASETS = """
    [datasets.parquet]
    sql = "SELECT * FROM read_parquet('rows.parquet')"
    [datasets.endless]
    sql = "SELECT i, hash(i) AS h FROM range(1000000000000) r(i)"
    [datasets.mute]
    sql = "SELECT count(*) AS n FROM range(1000000000000) r(i) WHERE hash(i) % 7 = 3"
    [datasets.halting]
    sql = '''
        SELECT i, hash(i) AS h FROM range(600000) r(i)
        WHERE coalesce(sleep_ms(CASE i WHEN 400000 THEN 34000 ELSE 0 END) IS NULL, true)
        '''
    """
"""`mute` never has a row; `halting` has no more for 34 s after some 400,000."""
PARQUET = """
    COPY (SELECT i AS id, i * 0.25 AS price, 'order ' || i AS note, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS ts
          FROM range(20000) r(i)) TO '{}'
    """


def write_datasets(folder: Path) -> Path:
    """A datasets file, and the Parquet file that it names."""
    with duckdb.connect() as connection:
        connection.execute(PARQUET.format(folder / "rows.parquet"))
    (folder / "datasets.toml").write_text(DATASETS, encoding="utf-8")
    return folder / "datasets.toml"


@dataclass(frozen=True)
class Asked:
    """Something to ask for.

    Attributes:
        name: for the report.
        request: the bytes to send.
        answer_bytes: of the whole answer, chunk sizes included; None where it never ends, 0 where it never begins.
    """

    name: str
    request: bytes
    answer_bytes: int | None = None


ROWS = [{"id": place, "side": "buy", "price": place / 4, "note": f"Müşteri {place}"} for place in range(2000)]
ENDED = (
    Asked("trades, CSV", get_request("/export?dataset=trades&limit=5000")),
    Asked("trades, CSV, 10 rows", get_request("/export?dataset=trades&limit=10")),
    Asked("trades, CSV, gzip", get_request("/export?dataset=trades&limit=5000", Accept_Encoding="gzip")),
    Asked("trades, PDF", get_request("/export?dataset=trades&format=pdf&limit=500")),
    Asked("trades, ordered", get_request("/export?dataset=trades&order_by=-price,id&limit=5000")),
    Asked("Parquet, CSV", get_request("/export?dataset=parquet")),
    Asked("Parquet, PDF", get_request("/export?dataset=parquet&format=pdf&limit=500")),
    Asked("rows, CSV", post_request(json.dumps({"rows": ROWS}).encode())),
    Asked("rows, CSV, gzip", post_request(json.dumps({"rows": ROWS}).encode(), Accept_Encoding="gzip")),
    Asked("rows, PDF", post_request(json.dumps({"rows": ROWS[:500], "format": "pdf"}).encode())),
)
ENDLESS = (
    Asked("endless query, CSV", get_request("/export?dataset=endless")),
    Asked("endless query, gzip", get_request("/export?dataset=endless", Accept_Encoding="gzip")),
    Asked("endless query, PDF", get_request("/export?dataset=endless&format=pdf")),
    Asked("query without a row", get_request("/export?dataset=mute"), 0),
)


@dataclass(frozen=True)
class Leaver:
    """When and how a client leaves.

    Attributes:
        asked: what it asked for.
        moment: name of the moment, for the report.
        send_bytes: of the request; it leaves then if that is not all.
        read_bytes: it leaves after so many of the answer.
        seconds: it leaves then at the latest.
        reset: by RST, else by FIN.
        source: its address.
    """

    asked: Asked
    moment: str
    send_bytes: int
    read_bytes: int
    seconds: float
    reset: bool
    source: str


def iter_leavers(asked: Sequence[Asked], count: int, seed: int) -> Iterator[Leaver]:
    """Clients that leave at random moments, the same ones for a seed."""
    choice = random.Random(seed)  # noqa: S311 - no secret
    for place in range(count):
        each, source = asked[place % len(asked)], SOURCES[place % len(SOURCES)]
        leaver = Leaver(each, "", len(each.request), 0, 0.0, choice.random() < 0.5, source)
        moment = choice.choice(["request", "first byte", "queue", "middle", "middle", "last byte", "last byte"])
        if moment == "request":
            cut = choice.randrange(1, len(each.request))
            yield replace(leaver, moment="before its request was whole", send_bytes=cut, seconds=choice.uniform(0, 0.1))
        elif moment == "first byte":
            yield replace(leaver, moment="before the first byte", seconds=choice.uniform(0, 0.02))
        elif moment == "queue" or each.answer_bytes == 0:
            yield replace(leaver, moment="within a quarter of a second", seconds=choice.uniform(0.02, 0.25))
        elif moment == "middle" or each.answer_bytes is None:
            part = choice.randrange(1, each.answer_bytes or ENDLESS_READ_BYTES)
            yield replace(leaver, moment="in the middle", read_bytes=part, seconds=PATIENCE_SECONDS)
        else:
            part = each.answer_bytes - 1
            yield replace(leaver, moment="one byte before the end", read_bytes=part, seconds=PATIENCE_SECONDS)


async def leave(address: Address, leaver: Leaver) -> int:
    """Ask, come again while it is sent away, and leave; the last answer's status, 0 where it saw none."""
    deadline = asyncio.get_running_loop().time() + leaver.seconds
    return await poll(lambda: _leave_once(address, leaver, deadline), lambda status: status != 503, leaver.seconds)


async def poll(look: Callable[[], Awaitable[T]], ends: Callable[[T], bool], seconds: float) -> T:
    """What was seen last: the first thing that ends the wait, unless the time is over before."""
    deadline = time.monotonic() + seconds
    while not ends(seen := await look()) and time.monotonic() < deadline:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(POLL_SECONDS)
    return seen


async def _leave_once(address: Address, leaver: Leaver, deadline: float) -> int:
    head = bytearray()
    async with open_client(address, leaver.source) as client:
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout_at(deadline):
                await _ask_and_read(client, leaver, head)
        with suppress(OSError):
            if leaver.reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            else:
                client.shutdown(socket.SHUT_WR)  # what is unread would make a reset of the close
    return int(head[9:]) if len(head) == STATUS_ENDS else 0


async def _ask_and_read(client: socket.socket, leaver: Leaver, head: bytearray) -> None:
    """Send and read as much as the leaver does; less, where it is sent away."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, leaver.asked.request[: leaver.send_bytes])
    left = leaver.read_bytes
    while left > 0 and (data := await loop.sock_recv(client, min(left, PIECE_BYTES))):
        head += data[: STATUS_ENDS - len(head)]
        if len(head) == STATUS_ENDS and not head.endswith(b"200"):
            return
        left -= len(data)
    if not leaver.read_bytes:
        await asyncio.Event().wait()


async def warm_up(address: Address, slots: int) -> list[Asked]:
    """Make every kind of file and grow every pool of threads; what to ask for, with the sizes of the answers."""
    asked = [replace(each, answer_bytes=await _answer_bytes(address, each.request)) for each in ENDED]
    await leave_all(address, iter_leavers([*asked, *ENDLESS], WARM_UP_LEAVERS, seed=0), together=100)
    async with AsyncExitStack() as stack:
        for _ in range(slots):
            client = await stack.enter_async_context(open_client(address))
            await asyncio.get_running_loop().sock_sendall(client, ENDLESS[-1].request)
        # These need no slot: they take the threads that are to spare while every slot holds one.
        describe = get_request("/datasets/parquet", Connection="close")
        await asyncio.gather(*(fetch(address, describe) for _ in range(10 * slots)))
    return [*asked, *ENDLESS]


async def _answer_bytes(address: Address, request: bytes) -> int:
    """Of a whole answer whose connection stays open, chunk sizes included."""
    loop, size, end = asyncio.get_running_loop(), 0, b""
    async with open_client(address) as client:
        await loop.sock_sendall(client, request)
        while end != LAST_CHUNK:
            data = await loop.sock_recv(client, PIECE_BYTES)
            size, end = size + len(data), (end + data)[-len(LAST_CHUNK) :]
    return size


async def leave_all(address: Address, leavers: Iterator[Leaver], together: int) -> list[tuple[Leaver, int]]:
    """Let each leave, so many at a time; with the status that each saw."""
    ended: list[tuple[Leaver, int]] = []

    async def work() -> None:
        ended.extend([(leaver, await leave(address, leaver)) for leaver in leavers])

    async with asyncio.TaskGroup() as group:
        for _ in range(together):
            group.create_task(work())
    return ended


async def read_at(client: socket.socket, bytes_per_second: float, seconds: float) -> int:
    """Read so fast for so long, or to the end of the answer; the number of bytes.

    Raises:
        ConnectionResetError: the service broke the connection.
    """
    loop, count = asyncio.get_running_loop(), 0
    began = loop.time()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                due = int(min(bytes_per_second * (loop.time() - began) - count, PIECE_BYTES))
                if due > 0:
                    data = await loop.sock_recv(client, due)
                    count += len(data)
                    if not data:
                        break
                if due < PIECE_BYTES:
                    await asyncio.sleep(READ_EVERY_SECONDS)
    return count


@dataclass(frozen=True)
class Answer:
    """A whole answer, measured.

    Attributes:
        status, fields, body: of it; fields by their lower-case names.
        whole: whether it ended as its head says.
        seconds: from before the connection to the last byte.
        first_seconds: to the first.
    """

    status: int
    fields: dict[str, str]
    body: bytes
    whole: bool
    seconds: float
    first_seconds: float


async def fetch(address: Address, request: bytes, source: str = SOURCES[0]) -> Answer:
    """The answer to a request that asks to close the connection after it."""
    began, first, data = time.monotonic(), 0.0, bytearray()
    loop = asyncio.get_running_loop()
    async with open_client(address, source) as client:
        await loop.sock_sendall(client, request)
        with suppress(ConnectionError):
            while piece := await loop.sock_recv(client, PIECE_BYTES):
                first = first or time.monotonic() - began
                data += piece
    return _parsed(bytes(data), time.monotonic() - began, first)


def _parsed(data: bytes, seconds: float, first_seconds: float) -> Answer:
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body, whole = dechunk(rest)
    else:
        body, whole = rest, str(len(rest)) == fields.get("content-length")
    return Answer(int(status[9:12] or 0), fields, body, whole, seconds, first_seconds)


async def receive(client: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer that states its length, on a connection that stays open."""
    loop, data = asyncio.get_running_loop(), b""
    while not (answer := _parsed(data, 0, 0)).whole:
        piece = await loop.sock_recv(client, PIECE_BYTES)
        if not piece:
            raise ConnectionResetError("no whole answer")
        data += piece
    return answer.status, answer.body


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """The body, and whether its last chunk is there (RFC 9112 7.1)."""
    parts: list[bytes] = []
    place = 0
    while (end := data.find(b"\r\n", place)) >= 0:
        size, start = int(data[place:end], 16), end + 2
        if size == 0:
            return b"".join(parts), data[start:] == b"\r\n"
        parts.append(data[start : start + size])
        place = start + size + 2
    return b"".join(parts), False


@dataclass(frozen=True)
class Probe:
    """An answer of /healthz: its status, and the seconds that it took."""

    status: int
    seconds: float


async def probe_health(address: Address, every_seconds: float, done: asyncio.Event) -> list[Probe]:
    """Ask again and again, over one connection, until it is done."""
    loop, probes = asyncio.get_running_loop(), []
    async with open_client(address) as client:
        while not done.is_set():
            began = time.monotonic()
            await loop.sock_sendall(client, get_request("/healthz"))
            status, _ = await receive(client)
            probes.append(Probe(status, time.monotonic() - began))
            await asyncio.sleep(every_seconds)
    return probes


async def press(address: Address, request: bytes, count: int, over_seconds: float) -> tuple[list[Answer], list[Probe]]:
    """So many requests, spread evenly over the time; their answers, and what /healthz said every 10 ms meanwhile."""

    async def one(place: int) -> Answer:
        await asyncio.sleep(place * over_seconds / count)
        return await fetch(address, request)

    done = asyncio.Event()
    probing = asyncio.create_task(probe_health(address, 0.01, done))
    await asyncio.sleep(0.1)
    try:
        answers = await asyncio.gather(*(one(place) for place in range(count)))
    finally:
        done.set()
    return answers, await probing


async def faults_of(address: Address, answers: Sequence[Answer], rows: int) -> list[str]:
    """What is wrong with the answers of a service under load; nothing where each is right."""
    faults = []
    for answer in answers:
        if answer.status == 200:
            faults += await _faults_of_file(address, answer, rows)
        elif answer.status not in {429, 503}:
            faults.append(f"status {answer.status}")
        elif not 1 <= int(answer.fields.get("retry-after", "0")) <= LONGEST_RETRY_SECONDS:
            faults.append(f"{answer.status} with Retry-After {answer.fields.get('retry-after')}")
    return faults


async def _faults_of_file(address: Address, answer: Answer, rows: int) -> list[str]:
    if not answer.whole:
        return ["an answer broke off"]
    receipt = await get_json(address, "/exports/" + answer.fields["x-export-id"])
    found = (len(answer.body), hashlib.sha256(answer.body).hexdigest(), answer.body.count(b"\r\n") - 1)
    stated = (receipt["bytes"], receipt["sha256"], receipt["rows"])
    return [] if found == stated and found[2] == rows else [f"{found} where the receipt says {stated}"]


async def get_json(address: Address, path: str) -> Any:
    """What a GET answers."""
    return json.loads((await fetch(address, get_request(path, Connection="close"))).body)


async def read_metrics(address: Address) -> dict[str, float]:
    """The samples of /metrics by name and labels."""
    text = (await fetch(address, get_request("/metrics", Connection="close"))).body.decode()
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


@dataclass(frozen=True)
class Footprint:
    """What a service takes.

    Attributes:
        running, waiting, tasks, queries: by its own count.
        threads, files: of its process; files are open descriptors.
        resident_kb: memory.
    """

    running: float
    waiting: float
    tasks: float
    queries: float
    threads: int
    files: int
    resident_kb: int

    def grown_beyond(self, before: Footprint) -> list[str]:
        """What there is more of than before; nothing where all was given back."""
        grown = [
            f"{name}: {getattr(self, name):g}, before {getattr(before, name):g}"
            for name in ("running", "waiting", "tasks", "queries", "threads", "files")
            if getattr(self, name) > getattr(before, name)
        ]
        if self.resident_kb > MEMORY_RATIO_MOST * before.resident_kb:
            grown.append(f"resident kB: {self.resident_kb}, before {before.resident_kb}")
        return grown


async def read_footprint(pid: int, address: Address) -> Footprint:
    """What the service takes now."""
    threads, files = _entries(pid, "task"), _entries(pid, "fd")
    metrics = await read_metrics(address)
    return Footprint(
        metrics["export_concurrent_running"],
        metrics["export_queue_depth"],
        metrics["spark_export_tasks"],
        metrics["spark_export_queries"],
        threads,
        files,
        resident_kb(pid),
    )


def _entries(pid: int, folder: str) -> int:
    return len(list(Path(f"/proc/{pid}/{folder}").iterdir()))


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def until_given_back(pid: int, address: Address, before: Footprint) -> Footprint:
    """What the service takes when it has given all back, or has had the time to."""
    return await poll(
        lambda: read_footprint(pid, address), lambda now: not now.grown_beyond(before), seconds=SETTLE_SECONDS
    )
