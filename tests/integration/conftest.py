"""The real server, as a process, over a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from spark_export.settings import SOURCE_DATE_EPOCH, variable_of

COMMAND = str(Path(sys.executable).parent / "spark-export")
START_SECONDS = 30
STOP_SECONDS = 5


class Server:
    """A running service.

    Attributes:
        url: where it answers.
        process: its process.
        log: file of its log lines.
        spool_dir: its SPOOL_DIR.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, spool_dir: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.spool_dir = spool_dir

    @property
    def address(self) -> tuple[str, int]:
        """Where its sockets are."""
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: object) -> httpx.Response:
        """GET, whatever the answer."""
        return httpx.get(self.url + path, timeout=120, **options)  # type: ignore[arg-type]

    def export(self, request: object, **options: object) -> httpx.Response:
        """POST /export with a JSON request."""
        return httpx.post(self.url + "/export", json=request, timeout=120, **options)  # type: ignore[arg-type]

    def submit(self, request: object, **headers: str) -> httpx.Response:
        """POST /export with a JSON request that may be a job; header fields are named with `_` for `-`."""
        fields = {"Prefer": "respond-async"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.export(request, headers=fields)

    def receipt(self, export_id: str) -> dict[str, Any]:
        """The receipt, which must be there."""
        found: dict[str, Any] = self.get(f"/exports/{export_id}").raise_for_status().json()
        return found

    def until_ended(self, export_id: str, seconds: float = 30) -> dict[str, Any]:
        """The receipt of a job, once it has ended."""
        self.until(lambda: self.receipt(export_id)["state"] not in {"queued", "running"}, seconds)
        return self.receipt(export_id)

    def on_disk(self, export_id: str) -> list[str]:
        """What is kept of a job: of its `bodies` and its `files`."""
        return [path.parent.name for path in self.spool_dir.glob(f"jobs-*/*/{export_id}*")]

    def health(self) -> tuple[int, int]:
        """Exports that run and that wait."""
        found = self.get("/healthz").json()
        return found["running"], found["waiting"]

    def metric(self, line: str) -> float:
        """The value of the sample with that name and labels."""
        for each in self.get("/metrics").text.splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        raise KeyError(line)

    def status(self, name: str) -> int:
        """A figure of the process in kB, such as VmHWM."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    def until(self, true: Callable[[], bool], seconds: float = 5) -> None:
        """Wait until it is true, or fail."""
        until(true, seconds)


Start = Callable[..., Server]


def until(true: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until it is true, or fail."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a service with settings, on a free port unless one is given; those of a module are stopped at its end."""
    with starting(tmp_path_factory) as start:
        yield start


@contextmanager
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts services, and ends them with the block: by force where something that a test left runs on."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(port: int | None = None, **settings: str) -> Server:
        port = port or free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_EXPORT_")}
        environment.pop(SOURCE_DATE_EPOCH, None)
        # Jobs stay where they were: each service has a folder of its own, unless the test names one.
        settings.setdefault("SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        environment |= {variable_of(name): value for name, value in settings.items()}
        log = tmp_path_factory.mktemp("server") / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen([COMMAND, "serve", "--port", str(port)], env=environment, stderr=stderr)
        processes.append(process)
        host = "[::1]" if settings.get("HOST") == "::1" else "127.0.0.1"
        server = Server(process, f"http://{host}:{port}", log, Path(settings["SPOOL_DIR"]))
        ready = f"http://{host}:{settings.get('OPS_PORT', port)}/readyz"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(ready).raise_for_status()
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return server

    try:
        yield run
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a datasets file and what it names: Parquet, CSV, JSON and a DuckDB file."""
    folder = tmp_path_factory.mktemp("data")
    with duckdb.connect(str(folder / "book.duckdb")) as book:
        book.execute(
            "CREATE TABLE fills AS "
            "SELECT i AS id, (i * 0.5)::DOUBLE AS price, 'şirket ' || i AS note FROM range(100) r(i)"
        )
        book.execute(f"COPY fills TO '{folder}/fills.parquet'")
        book.execute(f"COPY fills TO '{folder}/fills.csv' (HEADER)")
        book.execute(f"COPY fills TO '{folder}/fills.json'")
    (folder / "datasets.toml").write_text(
        """
        [databases]
        book = "book.duckdb"
        [datasets.parquet]
        sql = "SELECT * FROM read_parquet('fills.parquet')"
        [datasets.csv]
        sql = "SELECT * FROM 'fills.csv'"
        [datasets.json]
        sql = "SELECT * FROM read_json('fills.json')"
        [datasets.book]
        sql = "SELECT * FROM fills"
        database = "book"
        [datasets.above]
        description = "Fills above a price"
        sql = "SELECT * FROM read_parquet('fills.parquet') WHERE price > $least;"
        [datasets.above.params.least]
        type = "number"
        default = 40
        [datasets.missing]
        sql = "SELECT * FROM 'nothing.parquet'"
        [datasets.outside]
        sql = "SELECT * FROM read_csv('/etc/passwd')"
        [datasets.early]
        sql = "SELECT error('secret detail') AS x"
        [datasets.late]
        sql = "SELECT CASE WHEN i = 2000000 THEN error('secret detail') ELSE i END AS x FROM range(3000000) r(i)"
        [datasets.endless]
        sql = "SELECT i, hash(i) AS h FROM range(1000000000000) r(i)"
        [datasets.slow]
        sql = "SELECT count(*) AS n FROM range(1000000000000) r(i) WHERE hash(i) % 7 = 3"
        [datasets.repeated]
        sql = "SELECT f.* FROM read_parquet('fills.parquet') f, range($times) r(i)"
        [datasets.repeated.params.times]
        type = "integer"
        default = 10
        """,
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Server]:
    """One service for all tests that do not need settings of their own."""
    with starting(tmp_path_factory) as start:
        yield start(DATASETS=str(data / "datasets.toml"), LOG_FORMAT="json")
