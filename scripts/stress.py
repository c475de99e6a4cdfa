"""Presses a service of its own until a promise breaks, or none does.

    scripts/stress leavers    clients that leave at random moments leave nothing behind
    scripts/stress slow       clients that read at 1 kB/s hold little memory
    scripts/stress overload   more requests than fit are refused in order, and health answers
    scripts/stress soak       exports of every kind for ten minutes, and nothing grows
    scripts/stress kills      a service that is killed again and again loses no job

Exit status 0 when every promise was kept. The same clients test the service in tests/integration/test_survival.py and
test_leavers.py.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import http.client
import ipaddress
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from kills import run_kills

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.clients import (
    ROWS,
    Address,
    Answer,
    Footprint,
    faults_of,
    fetch,
    get_request,
    iter_leavers,
    leave_all,
    open_client,
    press,
    read_at,
    read_footprint,
    resident_kb,
    until_given_back,
    warm_up,
    write_datasets,
)

COMMAND = str(Path(sys.executable).parent / "spark-export")
IDLE_SECONDS = 3.0
"""After which an idle service has given memory back."""
TOGETHER = 100
SLOW_BYTES_PER_SECOND = 1000
SLOW_CLIENT_MB_MOST = 2.0
"""Of what is held: what was freed the busy service gives back every ten seconds."""
OVERLOAD_ROWS = 50_000
OVERLOAD_SLOTS, OVERLOAD_QUEUE = 4, 16
WORKERS = 8
RECEIPTS_KEPT = "1000"
"""Fewer than the warm-up fills nearly: receipts are no leak, and 10,000 of them take 20 MB."""


def main() -> None:
    """Run what was asked for; end with 1 and what was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", type=loopback, default="127.0.0.1", help="IPv4 loopback address to serve on")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, numbers in (
        ("leavers", run_leavers, {"clients": 2000}),
        ("slow", run_slow, {"clients": 50, "seconds": 20}),
        ("overload", run_overload, {"requests": 500}),
        ("soak", run_soak, {"exports": 20_000, "seconds": 600}),
        ("kills", lambda _host, _datasets, **given: run_kills(**given), {"kills": 200, "seed": 1}),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        for number, default in numbers.items():
            command.add_argument(f"--{number}", type=int, default=default)
    given = vars(parser.parse_args())
    run, host = given.pop("run"), given.pop("host")
    given.pop("command")
    with tempfile.TemporaryDirectory() as folder:
        datasets = write_datasets(Path(folder))
        broken: list[str] = run(host, datasets, **given)
    for each in broken:
        print("BROKEN", each)
    sys.exit(bool(broken))


def loopback(host: str) -> str:
    """The address, where only this machine reaches it."""
    if not ipaddress.IPv4Address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is no loopback address")
    return host


@dataclass(frozen=True)
class Running:
    """A service that runs.

    Attributes:
        pid: of its process.
        address: of its socket.
    """

    pid: int
    address: Address


@contextmanager
def serving(host: str, datasets: Path, **settings: str) -> Iterator[Running]:
    """A service on a free port, stopped at the end."""
    with socket.socket() as free:
        free.bind((host, 0))
        address = host, free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPARK_EXPORT_")}
    settings |= {"HOST": host, "PORT": str(address[1]), "DATASETS": str(datasets), "LOG_LEVEL": "warning"}
    environment |= {f"SPARK_EXPORT_{name}": value for name, value in settings.items()} | {"SOURCE_DATE_EPOCH": "0"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([COMMAND, "serve"], env=environment, stderr=log)
        try:
            _await_start(address, process)
            yield Running(process.pid, address)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _await_start(address: Address, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    sys.exit("the service does not start")


def run_leavers(host: str, datasets: Path, clients: int) -> list[str]:
    """Print who left when, and what the service took before and after."""

    async def run(service: Running) -> list[str]:
        asked = await warm_up(service.address, slots=8)
        await asyncio.sleep(IDLE_SECONDS)
        before = await read_footprint(service.pid, service.address)
        began = time.monotonic()
        ended = await leave_all(service.address, iter_leavers(asked, clients, seed=1), TOGETHER)
        seconds = time.monotonic() - began
        after = await until_given_back(service.pid, service.address, before)
        moments = Counter((leaver.moment, status or "-") for leaver, status in ended)
        print(f"{'left':32} {'status':>7} {'clients':>8}")
        for (moment, status), count in sorted(moments.items(), key=str):
            print(f"{moment:32} {status:>7} {count:8,}")
        resets = sum(leaver.reset for leaver, _ in ended)
        print(f"\n{len(ended):,} in {seconds:.1f} s, {TOGETHER} at a time, {resets:,} by reset\n")
        print_footprints({"before": before, "after": after})
        return after.grown_beyond(before)

    with serving(host, datasets, MAX_CONCURRENT="8", MAX_QUEUE="48", RECEIPTS_KEPT=RECEIPTS_KEPT) as service:
        return uvloop.run(run(service))


def print_footprints(found: dict[str, Footprint]) -> None:
    """A line for each figure."""
    print(f"{'':16}" + "".join(f"{name:>12}" for name in found))
    for name in ("running", "waiting", "tasks", "queries", "threads", "files", "resident_kb"):
        print(f"{name:16}" + "".join(f"{getattr(each, name):12,.0f}" for each in found.values()))


def run_slow(host: str, datasets: Path, clients: int, seconds: int) -> list[str]:
    """Print the memory that each kind of slow client takes."""
    trades = "/export?dataset=trades&params=%7B%22rows%22:{}%7D"
    kinds = {
        "trades, CSV": (trades.format(10**9), trades.format(200_000)),
        "trades, PDF": (trades.format(10**9) + "&format=pdf", trades.format(20_000) + "&format=pdf"),
        "query, CSV": ("/export?dataset=endless", "/export?dataset=endless&limit=1000000"),
        "Parquet, CSV": ("/export?dataset=long_parquet", "/export?dataset=long_parquet&limit=1000000"),
    }
    with datasets.open("a", encoding="utf-8") as file:
        file.write("[datasets.long_parquet]\nsql = \"SELECT t.* FROM read_parquet('rows.parquet') t, range(1000)\"\n")
    print(f"{clients} clients at {SLOW_BYTES_PER_SECOND} B/s for {seconds} s; MB of 1,000,000 bytes\n")
    columns = ("idle MB", "peak MB", "held MB", "after MB", "each, peak", "each, held")
    print(f"{'':16}" + "".join(f"{column:>12}" for column in columns))
    broken = []
    for name, (path, warm_path) in kinds.items():
        with serving(host, datasets, MAX_CONCURRENT=str(clients)) as service:
            idle, peak, held, after = uvloop.run(_slow_figures(service, path, warm_path, clients, seconds))
        each_peak, each_held = (peak - idle) / clients, (held - idle) / clients
        print(f"{name:16}" + "".join(f"{mb:12.2f}" for mb in (idle, peak, held, after, each_peak, each_held)))
        if name == "trades, CSV" and each_held >= SLOW_CLIENT_MB_MOST:
            broken.append(f"{name}: {each_held:.2f} MB a client")
    return broken


async def _slow_figures(
    service: Running, path: str, warm_path: str, clients: int, seconds: int
) -> tuple[float, float, float, float]:
    """Resident MB: idle, at the peak with the clients, at last with them, and when they had left."""

    async def read() -> None:
        async with open_client(service.address) as client:
            await asyncio.get_running_loop().sock_sendall(client, get_request(path))
            await read_at(client, SLOW_BYTES_PER_SECOND, seconds)

    def megabytes() -> float:
        return resident_kb(service.pid) * 1024 / 1e6

    for _ in range(4):
        await fetch(service.address, get_request(warm_path, Connection="close"))
    await asyncio.sleep(IDLE_SECONDS)
    idle, samples = megabytes(), []
    reading = asyncio.gather(*(read() for _ in range(clients)))
    for _ in range(max(1, 5 * seconds - 2)):
        await asyncio.sleep(0.2)
        samples.append(megabytes())
    await reading
    await asyncio.sleep(IDLE_SECONDS)
    return idle, max(samples), samples[-1], megabytes()


def run_overload(host: str, datasets: Path, requests: int) -> list[str]:
    """Print how the service answers that many requests at once, and spread over two seconds."""
    broken = []
    for title, over_seconds in (("at once", 0.0), ("over 2 seconds", 2.0)):
        slots = {"MAX_CONCURRENT": str(OVERLOAD_SLOTS), "MAX_QUEUE": str(OVERLOAD_QUEUE)}
        with serving(host, datasets, **slots) as service:
            broken += uvloop.run(_overload(service.address, title, requests, over_seconds))
    return broken


async def _overload(address: Address, title: str, requests: int, over_seconds: float) -> list[str]:
    path = "/export?dataset=trades&params=" + f"%7B%22rows%22:{OVERLOAD_ROWS}%7D"
    request = get_request(path, Connection="close")
    await fetch(address, request)
    began = time.monotonic()
    answers, probes = await press(address, request, requests, over_seconds)
    seconds = time.monotonic() - began
    faults = await faults_of(address, answers, OVERLOAD_ROWS)
    faults += [f"health: {probe.status}" for probe in probes if probe.status != 200]
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(Counter(e.status for e in answers).items()))
    print(f"{requests} requests {title}, done in {seconds:.1f} s: {statuses}")
    print(f"{'':16} {'number':>7} {'p50 ms':>9} {'p95 ms':>9} {'p99 ms':>9} {'max ms':>9}")
    print_times("503 at once", [answer.seconds for answer in answers if _is_full(answer)])
    print_times("503 after wait", [each.seconds for each in answers if each.status == 503 and not _is_full(each)])
    print_times("200", [answer.seconds for answer in answers if answer.status == 200])
    print_times("/healthz", [probe.seconds for probe in probes])
    print()
    return faults


def _is_full(answer: Answer) -> bool:
    return b":queue-full" in answer.body[:200]


def print_times(name: str, seconds: Sequence[float]) -> None:
    """A line of percentiles, by nearest rank."""
    ordered = sorted(seconds)
    ranks = [ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 95, 99) if ordered]
    print(f"{name:16} {len(ordered):7}" + "".join(f"{each * 1000:10.1f}" for each in [*ranks, *ordered[-1:]]))


@dataclass(frozen=True)
class Kind:
    """A kind of export of the soak.

    Attributes:
        name: for the report.
        share: how often, relative to the others.
        path: of a GET, or of the POST of `body`.
        status: that is right.
        leaves: whether its client reads the beginning only.
    """

    name: str
    share: int
    path: str = "/export"
    status: int = 200
    body: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    leaves: bool = False


def _rows(count: int, **more: object) -> bytes:
    return json.dumps({"rows": ROWS[:count]} | more).encode()


FILTER = json.dumps(
    {"dataset": "trades", "where": [{"column": "symbol", "op": "eq", "value": "THYAO"}], "order_by": ["-price", "id"]}
).encode()
KINDS = (
    Kind("CSV, 100 rows", 20, "/export?dataset=trades&limit=100"),
    Kind("CSV, 10,000 rows", 6, "/export?dataset=trades"),
    Kind("CSV, gzip", 6, "/export?dataset=trades&limit=2000", fields={"Accept-Encoding": "gzip"}),
    Kind("PDF, 100 rows", 15, "/export?dataset=trades&limit=100&format=pdf"),
    Kind("PDF, 10,000 rows", 2, "/export?dataset=trades&format=pdf"),
    Kind("rows, CSV", 12, body=_rows(200)),
    Kind("rows, PDF", 6, body=_rows(200, format="pdf")),
    Kind("rows, filter", 4, body=_rows(1000, where=[{"column": "id", "op": "lt", "value": 500}])),
    Kind("trades, filter", 6, body=FILTER),
    Kind("Parquet, CSV", 6, "/export?dataset=parquet&limit=5000"),
    Kind("no such dataset", 4, "/export?dataset=none", 404),
    Kind("no JSON", 3, status=400, body=b'{"rows": [1, 2'),
    Kind("bad field", 3, "/export?dataset=trades&order_by=nothing", 422),
    Kind("not acceptable", 2, "/export?dataset=trades", 406, fields={"Accept": "image/png"}),
    Kind("leaver", 3, "/export?dataset=endless", leaves=True),
    Kind("leaver, PDF", 2, "/export?dataset=endless&format=pdf", leaves=True),
)


class Soak:
    """Workers that make exports, each over its own connection, at an even pace.

    Args:
        address: of the service.
        exports: how many.
        seconds: in how long; as fast as it goes where that is not enough.
    """

    def __init__(self, address: Address, exports: int, seconds: float) -> None:
        self._address = address
        self._exports = exports
        self._seconds = seconds
        self._began = time.monotonic()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        self.counts: Counter[tuple[str, int]] = Counter()
        self.faults: Counter[str] = Counter()
        self.threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    @property
    def is_running(self) -> bool:
        """Whether a worker is at work."""
        return any(thread.is_alive() for thread in self.threads)

    def _work(self, seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - no secret
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        while (number := next(self._numbers)) < self._exports:
            time.sleep(max(0.0, self._began + number * self._seconds / self._exports - time.monotonic()))
            kind = choice.choices(KINDS, [each.share for each in KINDS])[0]
            try:
                status, fault = self._ask(connection, kind)
            except (OSError, http.client.HTTPException) as error:
                status, fault = 0, repr(error)
                connection.close()
            with self._lock:
                self.counts[kind.name, status] += 1
                if fault:
                    self.faults[f"{kind.name}: {fault}"] += 1
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, kind: Kind) -> tuple[int, str]:
        """The status, and what is wrong with the answer."""
        fields = {"Accept-Encoding": "identity", "Content-Type": "application/json"} | kind.fields
        connection.request("GET" if kind.body is None else "POST", kind.path, kind.body, fields)
        answer = connection.getresponse()
        if kind.leaves:
            answer.read(1000)
            connection.close()
            return answer.status, "" if answer.status == kind.status else f"status {answer.status}"
        body = answer.read()
        if answer.status != kind.status:
            return answer.status, f"status {answer.status}"
        return answer.status, "" if kind.status != 200 or self._is_known(kind, answer, body) else "another file"

    def _is_known(self, kind: Kind, answer: http.client.HTTPResponse, body: bytes) -> bool:
        """Whether it is the file that the first one of its kind was."""
        file = gzip.decompress(body) if answer.getheader("Content-Encoding") == "gzip" else body
        digest = hashlib.sha256(file).hexdigest()
        return self._digests.setdefault(kind.name, digest) == digest


def run_soak(host: str, datasets: Path, exports: int, seconds: int) -> list[str]:
    """Print what was exported, and what the service took, every minute."""
    with serving(host, datasets, RECEIPTS_KEPT=RECEIPTS_KEPT) as service:
        look = _looker(service)
        uvloop.run(warm_up(service.address, slots=4))
        _until_done(Soak(service.address, 1000, 0))
        time.sleep(IDLE_SECONDS)
        before = look("before")
        began = time.monotonic()
        soak = Soak(service.address, exports, seconds)
        minute = 1
        while soak.is_running:
            time.sleep(0.2)
            if time.monotonic() - began >= 60 * minute:
                look(f"{minute} min", sum(soak.counts.values()))
                minute += 1
        taken = time.monotonic() - began
        after = uvloop.run(until_given_back(service.pid, service.address, before))
        look("after", exports)
    print(f"\n{'':24} {'status':>7} {'exports':>8}")
    for (name, status), count in sorted(soak.counts.items()):
        print(f"{name:24} {status:7} {count:8,}")
    by_status = Counter[int]()
    for (_, status), count in soak.counts.items():
        by_status[status] += count
    print(f"{'all':24} {'':7} {exports:8,}   {dict(sorted(by_status.items()))}")
    print(f"\n{exports / taken:.1f} exports a second for {taken:.0f} s")
    broken = [f"{count} x {fault}" for fault, count in soak.faults.items()] + after.grown_beyond(before)
    return broken + ([f"took {taken:.0f} s instead of {seconds}"] if taken > 1.05 * seconds + 5 else [])


def _until_done(soak: Soak) -> None:
    for thread in soak.threads:
        thread.join()


def _looker(service: Running) -> Callable[..., Footprint]:
    """What reads a footprint and prints it as a line."""
    print(f"{'':10} {'exports':>8} {'RSS MB':>8} {'threads':>8} {'files':>8} {'tasks':>8} {'queries':>8}")

    def look(when: str, exports: int = 0) -> Footprint:
        found = uvloop.run(read_footprint(service.pid, service.address))
        megabytes = found.resident_kb * 1024 / 1e6
        figures = (found.threads, found.files, found.tasks, found.queries)
        print(f"{when:10} {exports:8,} {megabytes:8.1f}" + "".join(f"{each:9,.0f}" for each in figures), flush=True)
        return found

    return look


if __name__ == "__main__":
    main()
