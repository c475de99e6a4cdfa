"""Measures PDFs over HTTP beside Cairo, ReportLab and Chromium, in one run; `bench.py` calls it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

from bench import (
    copy,
    fetch,
    first_byte,
    health_under_load,
    peak_mib,
    percentile,
    timed,
    write_trades,
)
from service import Service, running_service

import spark_export

ROWS = 1_000_000
PEERS_PYTHON = str(Path(__file__).parent.parent / ".venv-bench" / "bin" / "python")
"""Made by `scripts/bench pdf`: what the peers need is no dependency of the project's."""
FONT = "NotoSans-Regular.ttf"
"""Of those that the service embeds, the one that the peers embed too."""
LANDSCAPE = "format=pdf&options=" + quote(
    json.dumps({"pdf": {"page_size": "A4", "orientation": "landscape", "overflow": "ellipsis"}})
)
SIZES = (40, 10_000, 100_000, 1_000_000)
"""Rows of the tables, a dataset each: DuckDB reads a part of a larger one, by LIMIT, more slowly."""


def of_parquet(rows: int) -> str:
    """The path of a table that DuckDB reads."""
    return f"/export?dataset=rows_{rows}&{LANDSCAPE}"


def of_trades(rows: int) -> str:
    """The path of a table that the service itself makes."""
    return f"/export?dataset=trades&{LANDSCAPE}&params=%7B%22rows%22:{rows}%7D"


def write_tables(folder: Path) -> None:
    """A dataset of each size, and one of five times the largest."""
    for rows in SIZES:
        write_trades(folder / f"trades-{rows}.parquet", rows)
    tables = [
        f"[datasets.rows_{rows}]\nsql = \"SELECT * FROM read_parquet('trades-{rows}.parquet')\"" for rows in SIZES
    ]
    five_times = f"SELECT t.* FROM read_parquet('trades-{ROWS}.parquet') t, range(5)"
    tables.append(f'[datasets.rows_5000000]\nsql = "{five_times}"')
    (folder / "datasets.toml").write_text("\n".join(tables), encoding="utf-8")


@dataclass
class Contestant:
    """What makes a PDF of the table's first rows.

    Attributes:
        name: what is printed.
        rows: of the file.
        rounds: times that it is measured; fewer for what takes long.
        make: writes the file and returns the seconds that count.
        seconds: those of each round.
        bytes: of the file.
    """

    name: str
    rows: int
    rounds: int
    make: Callable[[Path], float]
    seconds: list[float] = field(default_factory=list, init=False)
    bytes: int = field(default=0, init=False)

    def measure(self, out: Path) -> None:
        """Make the file once more."""
        self.seconds.append(self.make(out))
        self.bytes = out.stat().st_size
        out.unlink()

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


def bench_pdf(folder: Path, rounds: int) -> None:
    """Print seconds and ratios of the same table as PDF, on A4 across, and the figures of the service alone."""
    write_tables(folder)
    with running_service(folder) as service:
        for rows in SIZES[:2]:
            service.get(of_parquet(rows))
        compare_pdf(folder, service, rounds)
        for source, path in (("Parquet", of_parquet), ("trades", of_trades)):
            for rows in (40, 10_000):
                whole = [timed(partial(fetch, service.url + path(rows), Path(os.devnull))) for _ in range(20)]
                shown = f"{rows:,} rows of {source}, whole"
                print(f"{shown:42} {statistics.median(whole) * 1000:8.1f} ms")
            first = [first_byte(service, path(ROWS)) for _ in range(rounds)]
            shown = f"1,000,000 rows of {source}, first byte"
            print(f"{shown:42} {statistics.median(first) * 1000:8.1f} ms")
        answers = health_under_load(service, of_parquet(ROWS), exports=2)
        p99, worst = percentile(answers, 99) * 1000, answers[-1] * 1000
        print(f"/healthz p99 of {len(answers):5}, two exports          {p99:8.1f} ms  (worst {worst:.1f})")
    for source, path in (("Parquet", of_parquet), ("trades", of_trades)):
        few, many = (peak_mib(folder, path(rows)) for rows in (10_000, 5_000_000))
        print(f"peak memory, 10,000 rows of {source:14} {few:8.0f} MiB")
        print(f"peak memory, 5,000,000 rows of {source:11} {many:8.0f} MiB  ({many / few:.2f} times)")


def compare_pdf(folder: Path, service: Service, rounds: int) -> None:
    """Print the service beside its peers, each at a number of rows for which it can be waited."""

    def served(rows: int) -> Contestant:
        url = service.url + of_parquet(rows)
        return Contestant("spark-export, HTTP", rows, rounds, lambda out: timed(lambda: fetch(url, out)))

    def peer(name: str, shown: str, rows: int, most_rounds: int) -> Contestant:
        table = folder / f"{name}.csv"
        copy(folder, f"SELECT * FROM read_parquet('trades-{rows}.parquet')", table)
        return Contestant(shown, rows, min(rounds, most_rounds), lambda out: seconds_of_peer(name, table, out))

    services = [served(ROWS), served(100_000), served(10_000)]
    peers = [
        peer("cairo", "pycairo, show_text a cell", 100_000, 3),
        peer("reportlab", "ReportLab and rl_accel, drawString", 100_000, 3),
        peer("reportlab-alone", "ReportLab alone, drawString", 100_000, 2),
        peer("chromium", "Chromium, started, HTML to PDF", 10_000, 1),
    ]
    for place in range(rounds):
        for each in (*services, *peers):
            if place < each.rounds:
                each.measure(folder / "out.pdf")
    base = {each.rows: each.median for each in services}
    print("ten columns on A4 across; the service reads Parquet, the peers have the cells' texts in memory\n")
    print(f"{'':34} {'rows':>9} {'rounds':>6} {'median s':>9} {'rows/s':>10} {'bytes/row':>9} {'to ours':>8}")
    for each in (*services, *peers):
        ratio, size = each.median / base[each.rows], each.bytes / each.rows
        figures = f"{each.rows:9,} {each.rounds:6} {each.median:9.3f} {each.rows / each.median:10,.0f}"
        print(f"{each.name:34} {figures} {size:9.1f} {ratio:8.2f}")
    print()


def seconds_of_peer(name: str, table: Path, out: Path) -> float:
    """What a peer in a process of its own says it took; loading its rows does not count."""
    font = next(Path(spark_export.__file__).parent.rglob(FONT))
    command = [PEERS_PYTHON, str(Path(__file__).parent / "bench_pdf_peers.py"), name, str(table), str(font), str(out)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
