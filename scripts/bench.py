"""Measures the service on this machine.

    scripts/bench csv       1,000,000 rows as CSV over HTTP, against DuckDB's COPY and a csv.writer handler, in one run
    scripts/bench pdf       the same rows as PDF over HTTP, against Cairo, ReportLab and Chromium, in one run
    scripts/bench postgres  the same rows from PostgreSQL as CSV over HTTP, against COPY and PostgREST, in one run
    scripts/bench service   first byte, peak memory, health under load, start, idle memory, small exports

Ratios mean more than seconds: these machines are shared. Every figure is a median unless it says otherwise.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from service import Service, running, running_service

from spark_export.sources.synthetic import SCHEMA, iter_trades

PYTHON = sys.executable
FETCHED_BYTES = 2**20
ROW_GROUP_ROWS = 122_880
"""DuckDB's own, so that its COPY reads and writes on every core."""
PLAIN = pa.schema(
    [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in SCHEMA.set(SCHEMA.get_field_index("ts"), pa.field("ts", pa.timestamp("us")))
    ]
)
"""Timestamps without a zone: with one, DuckDB's COPY takes longer and its Python rows need pytz."""


def main() -> None:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=["csv", "pdf", "service", "postgres"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (csv)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each is measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.benchmark == "csv":
            bench_csv(folder, arguments.rows, arguments.rounds)
        elif arguments.benchmark == "pdf":
            from bench_pdf import bench_pdf  # which needs what is here

            bench_pdf(folder, arguments.rounds)
        elif arguments.benchmark == "postgres":
            from bench_postgres import bench_postgres

            bench_postgres(folder, arguments.rows, arguments.rounds)
        else:
            bench_service(folder, arguments.rounds)


def bench_csv(folder: Path, rows: int, rounds: int) -> None:
    """Print seconds and ratios of the same table as CSV."""
    write_trades(folder / "trades.parquet", rows)
    write_datasets(folder)
    sql = "SELECT * FROM read_parquet('trades.parquet')"
    peer_environment = os.environ | {"PEER_SQL": sql}
    peer_command = [PYTHON, "-m", "uvicorn", "bench_peer:app", "--app-dir", str(Path(__file__).parent)]
    with (
        running_service(folder) as service,
        running([*peer_command, "--log-level", "error"], "/docs", cwd=folder, environment=peer_environment) as peer,
    ):
        contestants: dict[str, Callable[[Path], None]] = {
            "spark-export, HTTP": lambda out: download(service.url + "/export?dataset=big", out),
            "spark-export, HTTP, zstd": lambda out: download(service.url + "/export?dataset=big", out, "zstd"),
            "DuckDB COPY to a file": lambda out: copy(folder, sql, out),
            "csv.writer in a handler, HTTP": lambda out: download(peer.url + "/export", out),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, run in contestants.items():
                seconds[name].append(timed(lambda run=run: run(folder / "out.csv")))  # type: ignore[misc]
    print_table(rows, seconds, base="DuckDB COPY to a file")


def print_table(rows: int, seconds: Mapping[str, Sequence[float]], base: str) -> None:
    """A line a contestant, with its ratio to one of them."""
    unit = statistics.median(seconds[base])
    print(f"{rows:,} rows, ten columns, {len(seconds[base])} rounds\n")
    print(f"{'':32} {'median s':>9} {'best s':>8} {'rows/s':>12} {'to COPY':>8}")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:32} {median:9.3f} {min(taken):8.3f} {rows / median:12,.0f} {median / unit:8.2f}")


def bench_service(folder: Path, rounds: int) -> None:
    """Print the figures of one service after another, each fresh."""
    write_trades(folder / "trades.parquet", 1_000_000)
    write_datasets(folder)
    ready = []
    for _ in range(rounds):
        with running_service() as service:
            ready.append(service.ready_seconds)
            idle = service.resident_mib()
    print(f"ready after start                          {statistics.median(ready):8.2f} s")
    print(f"idle memory                                {idle:8.0f} MiB")
    with running_service(folder) as service:
        print(f"idle memory with a datasets file           {service.resident_mib():8.0f} MiB")
    for form, few, many in (("csv", 100_000, 10_000_000), ("pdf", 10_000, 1_000_000)):
        peaks = [peak_mib(folder, f"/export?dataset=ten&format={form}&limit={rows}") for rows in (few, many)]
        print(f"peak memory, {form}, {few:>9,} rows            {peaks[0]:8.0f} MiB")
        print(f"peak memory, {form}, {many:>10,} rows           {peaks[1]:8.0f} MiB  ({peaks[1] / peaks[0]:.2f} times)")
    with running_service(folder) as service:
        warm(service)
        first = [first_byte(service, "/export?dataset=ten") for _ in range(rounds)]
        print(f"first byte, csv, 10,000,000 rows           {statistics.median(first) * 1000:8.1f} ms")
        small = sorted(timed(lambda: service.get("/export?dataset=trades")) for _ in range(200))
        print(f"10,000 rows as csv, p95 of 200             {percentile(small, 95) * 1000:8.1f} ms")
        small = sorted(timed(lambda: service.get("/export?dataset=trades&format=pdf")) for _ in range(100))
        print(f"10,000 rows as pdf, p95 of 100             {percentile(small, 95) * 1000:8.1f} ms")
        for form in ("csv", "pdf"):
            answers = health_under_load(service, f"/export?dataset=ten&format={form}&limit=2000000", exports=4)
            p99, worst = percentile(answers, 99) * 1000, answers[-1] * 1000
            print(f"/healthz p99 of {len(answers):5}, four {form} exports     {p99:8.1f} ms  (worst {worst:.1f})")


def write_trades(path: Path, rows: int) -> None:
    """The table that everything is measured with: ten mixed columns, as Parquet."""
    with pq.ParquetWriter(path, PLAIN) as writer:
        batches = [batch.cast(PLAIN) for batch in iter_trades(rows, seed=1)]
        writer.write_table(pa.Table.from_batches(batches, PLAIN), row_group_size=ROW_GROUP_ROWS)


def write_datasets(folder: Path) -> None:
    """`big`, and `ten` times as many rows."""
    (folder / "datasets.toml").write_text(
        """
        [datasets.big]
        sql = "SELECT * FROM read_parquet('trades.parquet')"

        [datasets.ten]
        sql = "SELECT t.* FROM read_parquet('trades.parquet') t, range(10)"
        """,
        encoding="utf-8",
    )


def copy(folder: Path, sql: str, out: Path) -> None:
    """DuckDB's own CSV writer, in a process of its own as the service is, with a warm engine's threads."""
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{folder}'")
        connection.execute(f"COPY ({sql}) TO '{out}' (HEADER)")


def download(url: str, out: Path, coding: str = "identity") -> None:
    """The body to a file, by curl."""
    headers = ["-H", f"Accept-Encoding: {coding}"]
    subprocess.run(["curl", "-sSf", *headers, "-o", str(out), url], check=True)


def fetch(url: str, out: Path) -> None:
    """The body to a file, by this process: curl takes 10 ms to start."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    with out.open("wb") as file:
        while piece := answer.read(FETCHED_BYTES):
            file.write(piece)
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{answer.status} for {url}")


def timed(run: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def percentile(ordered: list[float], percent: int) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def warm(service: Service) -> None:
    """Let every path run once."""
    for path in ("/export?dataset=big&limit=1000", "/export?dataset=big&limit=1000&format=pdf", "/healthz"):
        service.get(path)


def peak_mib(folder: Path, path: str) -> float:
    """Peak resident memory of a fresh service that made one file."""
    with running_service(folder) as service:
        download(service.url + path, Path(os.devnull))
        return service.resident_mib(peak=True)


def first_byte(service: Service, path: str) -> float:
    """Seconds from the request to the first byte of the body; then the client leaves."""
    began = time.perf_counter()
    with service.client.stream("GET", path) as response:
        next(response.raise_for_status().iter_raw())
        return time.perf_counter() - began


def health_under_load(service: Service, path: str, *, exports: int) -> list[float]:
    """Seconds of each health check while so many exports of a path run, in order of size."""
    clients = [subprocess.Popen(["curl", "-sSf", "-o", os.devnull, service.url + path]) for _ in range(exports)]
    taken = []
    while all(each.poll() is None for each in clients):
        taken.append(timed(lambda: service.get("/healthz")))
        time.sleep(0.005)
    statuses = [each.wait() for each in clients]
    if any(statuses):
        sys.exit("an export under load failed")
    return sorted(taken)


if __name__ == "__main__":
    main()
