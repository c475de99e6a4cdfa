"""What brings each alert about, at a service of its own: a block that lasts as long as the cause."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import httpx
from service import Service

DATASETS = """
[datasets.late]
sql = "SELECT CASE WHEN i = 500000 THEN error('broken') ELSE i END AS x FROM range(1000000) r(i)"
"""
"""What the services must have; `late` breaks after its first bytes."""
LATE = "/export?dataset=late"
SMALL = "/export?dataset=trades&limit=1000"
LARGE = '/export?dataset=trades&params={"rows":200000}'
ENDLESS = '/export?dataset=trades&params={"rows":1000000000}'
INVALID = "/export?dataset=trades&options=1"
PLAIN = {"Accept-Encoding": "identity"}
"""Packed, an export would fit into the buffers on its way."""
PATIENT = {"MIN_CLIENT_BYTES_PER_SECOND": ""}
"""Nobody is cut off for not reading."""
PAUSE_SECONDS = 0.2
SLOW_SECONDS = 10.5
"""Beyond the ten seconds of the rule."""
SLOW_CLIENTS = 4
WAITING_CLIENTS = 3
ROW = {"note": "more than the buffers on the way to a client that does not read hold " * 2}
BODY = json.dumps({"rows": [ROW] * 150_000}).encode()
MEMORY_BYTES = 2**28
HELD_BYTES = 0.96 * MEMORY_BYTES
HOLDING_CLIENTS = 20
"""At most; two do."""


@contextmanager
def killed(service: Service) -> Iterator[None]:
    """The process is gone."""
    service.kill()
    yield
    service.start()


@contextmanager
def failing(service: Service) -> Iterator[None]:
    """One export in five breaks after its first bytes."""

    def five(_ended: threading.Event) -> None:
        for _ in range(4):
            service.get(SMALL)
        with suppress(httpx.RemoteProtocolError):
            service.get(LATE)

    with repeating(five):
        yield


@contextmanager
def slow(service: Service) -> Iterator[None]:
    """Clients that read nothing for ten seconds and a half and then all, in turns."""
    turns = iter(range(SLOW_CLIENTS))

    def late_reader(ended: threading.Event) -> None:
        ended.wait(next(turns, 0) * SLOW_SECONDS / SLOW_CLIENTS)
        with service.client.stream("GET", LARGE, headers=PLAIN) as answer:
            ended.wait(SLOW_SECONDS)
            answer.read()

    with repeating(late_reader, SLOW_CLIENTS):
        yield


@contextmanager
def waiting(service: Service) -> Iterator[None]:
    """One export holds the only slot, and more than half of the places in the queue are taken."""
    with ThreadPoolExecutor(WAITING_CLIENTS) as threads:
        with service.client.stream("GET", ENDLESS):
            answers = [threads.submit(service.get, SMALL) for _ in range(WAITING_CLIENTS)]
            yield
        for each in answers:
            each.result()


@contextmanager
def refusing(service: Service) -> Iterator[None]:
    """One export holds the only slot, and whoever else comes is refused."""
    with service.client.stream("GET", ENDLESS), repeating(lambda _ended: service.client.get(SMALL)):
        yield


@contextmanager
def holding(service: Service) -> Iterator[None]:
    """Clients that do not read what was made of their rows: one more, as long as there is memory."""
    with ExitStack() as clients:
        places = iter(range(HOLDING_CLIENTS))

        def one_more(_ended: threading.Event) -> None:
            if resident_bytes(service) < HELD_BYTES and next(places, None) is not None:
                clients.enter_context(service.client.stream("POST", "/export", content=BODY, headers=PLAIN))

        with repeating(one_more):
            yield


@contextmanager
def harmless(service: Service) -> Iterator[None]:
    """What no alert is for: callers that are beyond their rate, that ask for what cannot be, that leave."""

    def all_three(_ended: threading.Event) -> None:
        service.client.get(INVALID)
        with service.client.stream("GET", ENDLESS):
            pass

    with repeating(all_three):
        yield


@contextmanager
def repeating(work: Callable[[threading.Event], object], threads: int = 1) -> Iterator[None]:
    """Work that is done over and over until the block ends, of which it is told by an event."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(PAUSE_SECONDS):
            work(ended)

    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(go_on) for _ in range(threads)]
        try:
            yield
        finally:
            ended.set()
    for each in working:
        each.result()


def resident_bytes(service: Service) -> float:
    """By the service's own count."""
    found = re.search(rb"^export_memory_bytes (.+)$", service.get("/metrics"), re.MULTILINE)
    return float(found[1]) if found else 0.0


@dataclass(frozen=True)
class Case:
    """An alert and its cause.

    Attributes:
        alert: its name.
        cause: in words.
        causing: the block.
        settings: of the service.
    """

    alert: str
    cause: str
    causing: Callable[[Service], AbstractContextManager[None]]
    settings: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case("ExportTargetDown", "the process is killed", killed),
    Case("ExportErrorRateHigh", "one export in five breaks in the middle", failing),
    Case("ExportLatencyHigh", f"clients that read after {SLOW_SECONDS} s", slow),
    Case(
        "ExportQueueBacklog",
        "three wait in a queue of four",
        waiting,
        {"MAX_CONCURRENT": "1", "MAX_QUEUE": "4", "QUEUE_TIMEOUT_SECONDS": "600"} | PATIENT,
    ),
    Case("ExportQueueBacklog", "a queue of none", refusing, {"MAX_CONCURRENT": "1", "MAX_QUEUE": "0"} | PATIENT),
    Case(
        "ExportMemoryHigh",
        "rows of clients that do not read",
        holding,
        {"MAX_MEMORY_BYTES": str(MEMORY_BYTES), "MAX_CONCURRENT": "64"} | PATIENT,
    ),
)
HARMLESS = {"RATE_PER_SECOND": "1", "RATE_BURST": "1"}
"""Settings of the service where nothing is wrong."""
