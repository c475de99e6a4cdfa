"""Six assertions about a running service, each printed with what was measured.

    .venv/bin/python scripts/assert_export.py
    .venv/bin/python scripts/assert_export.py --url https://exports.example --metrics-url http://10.0.0.7:4002/metrics

1. CSV of 10,000 rows: p95 under 10 s.  2. Five exports in parallel: under 30 s.  3. At least 95 % of all exports whole.
4. The nine metrics: there, of the right type, and moved by just what was exported.  5. A CSV of rows sent in the body:
every cell as sent.  6. A PDF of them: valid, every page, every row in order.

Nobody else may use the service meanwhile: the metrics must move by what this script exported and nothing else. Exit
status 0 when all six hold; 1 when one does not, or the service is out of reach; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from readback import fault_of_csv, look_into_pdf
from scenarios import Scenario, trading_rows
from series import SERIES, Scrape, faults_of_series, faults_of_types, scrape
from smoke import SHOWN_FAULTS, Export, Session, add_arguments, count, open_session, run, shown

REQUESTS = 20
ROWS = 10_000
P95_SECONDS_MOST = 10.0
BATCH_SECONDS_MOST = 30.0
SUCCESS_LEAST = 0.95


@dataclass(frozen=True)
class Assertion:
    """An assertion that was looked at.

    Attributes:
        name: what it says.
        passed: whether it holds.
        measured: what was found.
        figures: the same as numbers.
    """

    name: str
    passed: bool
    measured: str
    figures: dict[str, float]


def main(arguments: Sequence[str], clock: Callable[[], float] = time.monotonic) -> int:
    """Assert; the exit status.

    Args:
        arguments: of the command line.
        clock: seconds that never go back.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--metrics-url", metavar="URL", help="of /metrics, where it has a port of its own")
    parser.add_argument(
        "--requests", type=count, default=REQUESTS, help=f"that p95 is taken of; {REQUESTS} unless given"
    )
    given = parser.parse_args(arguments)
    return run("assert_export", look(given, clock), as_json=given.json)


async def look(given: argparse.Namespace, clock: Callable[[], float]) -> bool:
    """Print the six assertions; whether all hold."""
    async with open_session(given.url, given.api_key, clock) as session:
        metrics_url = given.metrics_url or given.url.rstrip("/") + "/metrics"
        assertions = await assert_all(session, metrics_url, given.requests)
    passed = all(each.passed for each in assertions)
    if given.json:
        print(json.dumps({"ok": passed, "url": given.url, "assertions": [asdict(each) for each in assertions]}))
        return passed
    for number, each in enumerate(assertions, 1):
        print(f"{'PASS' if each.passed else 'FAIL'} {number} {each.name}: {each.measured}")
    print(f"{sum(each.passed for each in assertions)} of {len(assertions)} assertions hold")
    return passed


async def assert_all(session: Session, metrics_url: str, requests: int) -> list[Assertion]:
    """The six assertions."""
    step, rows = session.progress.step, trading_rows(ROWS)
    before = await scrape(metrics_url)
    step(f"exporting {ROWS:,} rows as CSV {requests} times")
    single = [await session.export(Scenario(ROWS, "csv", "trades")) for _ in range(requests)]
    step("exporting five files in parallel")
    batch, batch_seconds = await session.batch()
    step("exporting a CSV and a PDF to look into")
    files = {form: io.BytesIO() for form in ("csv", "pdf")}
    looked_into = {form: await session.export(Scenario(ROWS, form), file=file) for form, file in files.items()}
    after = await scrape(metrics_url)
    step("looking into them")
    exports = [*single, *batch, *looked_into.values()]
    return [
        assert_latency(single),
        assert_batch(batch, batch_seconds),
        assert_success(exports, after.value("export_success_rate")),
        assert_metrics(before, after, exports, session.refusals),
        assert_csv(looked_into["csv"], files["csv"].getvalue(), rows),
        assert_pdf(looked_into["pdf"], files["pdf"].getvalue(), rows),
    ]


def assert_latency(exports: Sequence[Export]) -> Assertion:
    """A CSV of 10,000 rows takes less than 10 s; one that is not whole takes for ever."""
    seconds = sorted(each.seconds if each.fault is None else math.inf for each in exports)
    p95, median = seconds[math.ceil(0.95 * len(seconds)) - 1], statistics.median(seconds)
    return Assertion(
        f"CSV of {ROWS:,} rows",
        p95 < P95_SECONDS_MOST,
        f"p95 {p95:.3f} s of {len(seconds)} (limit {P95_SECONDS_MOST:g} s), median {median:.3f} s, "
        f"slowest {seconds[-1]:.3f} s{faults_of(exports)}",
        finite({"p95_seconds": p95, "median_seconds": median, "slowest_seconds": seconds[-1]}),
    )


def assert_batch(exports: Sequence[Export], seconds: float) -> Assertion:
    """Five exports in parallel are whole in less than 30 s."""
    whole, rows = whole_of(exports), sum(each.rows for each in exports)
    return Assertion(
        "five in parallel",
        seconds < BATCH_SECONDS_MOST and whole == len(exports),
        f"{seconds:.3f} s (limit {BATCH_SECONDS_MOST:g} s), {whole} of {len(exports)} whole, {rows:,} rows"
        f"{faults_of(exports)}",
        {"seconds": seconds, "whole": whole, "rows": rows},
    )


def assert_success(exports: Sequence[Export], stated: float) -> Assertion:
    """At least 95 % of the exports were whole."""
    whole = whole_of(exports)
    rate = whole / len(exports)
    return Assertion(
        "success rate",
        rate >= SUCCESS_LEAST,
        f"{rate:.1%} (least {SUCCESS_LEAST:.0%}), {whole} of {len(exports)} whole; "
        f"export_success_rate says {stated:.1%}{faults_of(exports)}",
        finite({"success_rate": rate, "export_success_rate": stated}),
    )


def assert_metrics(before: Scrape, after: Scrape, exports: Sequence[Export], refusals: int) -> Assertion:
    """The nine metrics are there, of the right type, and moved by just what was exported."""
    faults = faults_of_series(before, after, exports, refusals)
    there = len(SERIES) - len(faults_of_types(after))
    moved = {form: whole_of([each for each in exports if each.format == form]) for form in ("csv", "pdf")}
    sent_bytes = sum(each.bytes for each in exports)
    return Assertion(
        "metrics",
        not faults,
        f"{there} of {len(SERIES)}; "
        + (shown(faults) or f"moved by {moved['csv']} CSV, {moved['pdf']} PDF and {sent_bytes:,} bytes, as exported"),
        {"metrics": there, **moved, "bytes": sent_bytes},
    )


def assert_csv(export: Export, body: bytes, rows: Sequence[dict[str, Any]]) -> Assertion:
    """Every cell that Python's csv reads is as it was sent, and the file equals its receipt."""
    fault = export.fault or fault_of_csv(body, rows)
    return Assertion(
        "CSV",
        fault is None,
        fault
        or f"{len(rows):,} rows, {rows[0]['id']} to {rows[-1]['id']}, every cell as sent; "
        f"{export.bytes:,} bytes, SHA-256 {export.sha256[:12]}… as its receipt says",
        {"rows": export.rows, "bytes": export.bytes},
    )


def assert_pdf(export: Export, body: bytes, rows: Sequence[dict[str, Any]]) -> Assertion:
    """The file is a valid PDF whose pages count themselves, and every row is on them in order."""
    fault, pages = export.fault, 0
    if fault is None:
        fault, pages = look_into_pdf(body, [row["id"] for row in rows])
    return Assertion(
        "PDF",
        fault is None,
        fault
        or f"valid, {pages} pages, {len(rows):,} rows, {rows[0]['id']} to {rows[-1]['id']} in order; "
        f"{export.bytes:,} bytes",
        {"rows": export.rows, "pages": pages, "bytes": export.bytes},
    )


def whole_of(exports: Sequence[Export]) -> int:
    """How many are whole."""
    return sum(each.fault is None for each in exports)


def faults_of(exports: Sequence[Export]) -> str:
    """What was wrong with those that are not whole, for the end of a line."""
    faults = Counter(f"{each.name}: {each.fault}" for each in exports if each.fault is not None)
    return "".join(f"; {count} x {fault}" for fault, count in faults.most_common(SHOWN_FAULTS))


def finite(figures: dict[str, float]) -> dict[str, float]:
    """Those that JSON can hold."""
    return {name: value for name, value in figures.items() if math.isfinite(value)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
