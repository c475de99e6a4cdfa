"""Clients that are slow, that are too many, or whose rows fill the memory, against the real process."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from tests.clients import (
    AT_ONCE,
    Answer,
    Probe,
    faults_of,
    fetch,
    get_json,
    get_request,
    open_client,
    poll,
    post_request,
    press,
    probe_health,
    read_at,
    receive,
    resident_kb,
    write_datasets,
)
from tests.early import begin_early

from .conftest import Server, Start

MIN_CLIENT = 100_000
SLOW_SECONDS = 12
"""By then the busy service has given back once what it freed meanwhile."""
HUGE = "/export?dataset=trades&params=%7B%22rows%22:1000000000%7D"
ONE_ROW = get_request("/export?dataset=trades&limit=1", Connection="close")


@pytest.fixture(scope="module", autouse=True)
def _begins_early(request: pytest.FixtureRequest) -> None:
    """Slow clients take their time while the other tests run."""
    begin_early(request, "held")
    begin_early(request, "paced")


async def hold(server: Server) -> tuple[list[int], int]:
    """What 50 slow clients read of an endless CSV, in bytes, and what the service then held for them, in kB."""
    address, pid = server.address, server.process.pid

    async def slow() -> int:
        async with open_client(address) as client:
            await asyncio.get_running_loop().sock_sendall(client, get_request(HUGE))
            return await read_at(client, 1000, SLOW_SECONDS)

    for _ in range(4):
        await fetch(address, get_request(HUGE.replace("1000000000", "200000"), Connection="close"))
    before = resident_kb(pid)
    reading = asyncio.gather(*(slow() for _ in range(50)))
    await asyncio.sleep(SLOW_SECONDS - 0.5)
    held = resident_kb(pid) - before
    return await reading, held


@pytest.fixture(scope="module")
def held(start: Start) -> Iterator[Future[tuple[list[int], int]]]:
    """50 slow clients of a service of their own, in a thread of their own."""
    server = start(MAX_CONCURRENT="50", LOG_LEVEL="error")
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(lambda: uvloop.run(hold(server)))


def test_slow_clients_hold_little_memory(held: Future[tuple[list[int], int]]) -> None:
    """50 clients that read an endless CSV at 1 kB/s raise resident memory by less than 2 MB each."""
    counts, held_kb = held.result()
    assert all(0.8 * 1000 * SLOW_SECONDS < count <= 1000 * SLOW_SECONDS for count in counts)
    assert held_kb * 1024 < 50 * 2_000_000


def test_overload_is_refused_in_order(start: Start) -> None:
    """500 requests at once: each gets its whole file, or 503 and when to come again; health answers throughout."""
    server = start(MAX_CONCURRENT="4", MAX_QUEUE="16", LOG_LEVEL="error")
    address, rows = server.address, 50_000
    request = get_request(HUGE.replace("1000000000", str(rows)), Connection="close")

    async def run() -> tuple[list[Answer], list[Probe], list[str]]:
        answers, probes = await press(address, request, 500, over_seconds=0)
        return answers, probes, await faults_of(address, answers, rows)

    answers, probes, faults = uvloop.run(run())
    assert faults == []
    assert Counter(answer.status for answer in answers)[200] >= 20
    full = [answer for answer in answers if b"queue-full" in answer.body[:200]]
    assert len(full) > 300
    assert max(answer.seconds for answer in full) < 5
    assert {probe.status for probe in probes} == {200}
    assert len(probes) > 20


def test_connections_beyond_the_most_are_refused(start: Start) -> None:
    """The 51st connection of 50 gets 503 and its end; those before it go on."""
    server = start(MAX_CONNECTIONS="50")
    address = server.address

    async def run() -> tuple[list[tuple[int, bytes]], Answer]:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_client(address)) for _ in range(50)]
            refused = await fetch(address, b"")
            for client in clients:
                await loop.sock_sendall(client, get_request("/livez"))
            return [await receive(client) for client in clients], refused

    answers, refused = uvloop.run(run())
    assert (refused.status, refused.whole, refused.fields["connection"]) == (503, True, "close")
    assert json.loads(refused.body)["type"].endswith(":service-unavailable")
    assert answers == 50 * [(200, b"ok\n")]
    server.until(lambda: server.get("/livez").status_code == 200)


def test_no_export_begins_without_memory(start: Start) -> None:
    """While exports hold more than the bound new ones get 503, health goes on; when they are gone, all is served."""
    server = start(MAX_MEMORY_BYTES=str(256 * 2**20), QUEUE_TIMEOUT_SECONDS="1", LOG_LEVEL="error")
    address = server.address
    row = b'{"id": 1234567, "side": "buy", "price": 100.25, "note": "of a client that does not read"}'
    request = post_request(b'{"rows": [' + b",".join([row] * 450_000) + b"]}", Connection="close")

    async def run() -> tuple[Answer, Answer, list[Probe]]:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        probing = asyncio.create_task(probe_health(address, 0.05, done))
        async with AsyncExitStack() as stack:
            for _ in range(8):
                client = await stack.enter_async_context(open_client(address))
                await loop.sock_sendall(client, request)
                if (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200"):
                    continue
                refused = await fetch(address, request)
                if refused.status != 200:
                    break
        served = await poll(lambda: fetch(address, ONE_ROW), lambda answer: answer.status == 200, seconds=5)
        done.set()
        return refused, served, await probing

    refused, served, probes = uvloop.run(run())
    problem = json.loads(refused.body)
    assert (refused.status, problem["field"]) == (503, "MAX_MEMORY_BYTES")
    assert problem["type"].endswith(":memory-full")
    assert 1 <= int(refused.fields["retry-after"]) <= 600
    assert served.status == 200
    assert {probe.status for probe in probes} == {200}


@dataclass(frozen=True)
class Paced:
    """What came of a client that is too slow, of one that is fast enough, and of one whose source halts.

    Attributes:
        server: that all three asked.
        seconds: until the service gave up the first.
        ended: the receipts at that time.
        health: of the service then.
        count: bytes that the second read.
        halting: the answer to the third.
    """

    server: Server
    seconds: float
    ended: list[dict[str, Any]]
    health: tuple[int, int]
    count: int
    halting: Answer


async def pace(server: Server) -> Paced:
    """All three at once.

    Raises:
        AssertionError: the first is not reset.
    """
    address, endless = server.address, get_request("/export?dataset=endless")

    async def too_slow() -> tuple[float, list[dict[str, Any]], tuple[int, int]]:
        began = time.monotonic()
        async with open_client(address) as client:
            await asyncio.get_running_loop().sock_sendall(client, endless)
            reading = asyncio.create_task(read_at(client, 1000, seconds=60))
            receipts = await poll(lambda: get_json(address, "/exports"), bool, seconds=60)
            seconds = time.monotonic() - began
            reading.cancel()
            await asyncio.wait({reading})
            with pytest.raises(ConnectionResetError):  # behind what its own system holds already
                await read_at(client, AT_ONCE, seconds=5)
        return seconds, receipts, server.health()

    async def fast_enough() -> int:
        async with open_client(address) as client:
            await asyncio.get_running_loop().sock_sendall(client, endless)
            return await read_at(client, 2 * MIN_CLIENT, seconds=35)

    halting = fetch(address, get_request("/export?dataset=halting", Connection="close"))
    (seconds, ended, health), count, answer = await asyncio.gather(too_slow(), fast_enough(), halting)
    return Paced(server, seconds, ended, health, count, answer)


@pytest.fixture(scope="module")
def paced(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Paced]]:
    """Three clients whose speeds are looked at for half a minute, in a thread of their own."""
    datasets = str(write_datasets(tmp_path_factory.mktemp("paced")))
    server = start(DATASETS=datasets, MIN_CLIENT_BYTES_PER_SECOND=str(MIN_CLIENT))
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(lambda: uvloop.run(pace(server)))


def test_a_client_too_slow_is_cut_off_and_no_other(paced: Future[Paced]) -> None:
    """Who is slower than the least speed for 30 s gets a reset; who is faster, or waits for its source, is served."""
    came = paced.result()
    assert 30 <= came.seconds < 35
    assert [(each["state"], each["reason"]) for each in came.ended] == [("failed", "client_too_slow")]
    assert came.health == (2, 0)
    assert came.count > 30 * 2 * MIN_CLIENT
    halting = came.halting
    assert (halting.status, halting.whole, halting.body.count(b"\n")) == (200, True, 600_001)
    assert halting.seconds > 34
    assert came.server.metric('export_fail_total{reason="client_too_slow"}') == 1
    came.server.until(lambda: came.server.health() == (0, 0))
