"""The nine `export_*` series, and a few of our own, as a Prometheus adapter of the observer."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from spark_export import __version__
from spark_export.admission.gate import Gate
from spark_export.errors import error_reasons
from spark_export.memory import MemoryBound, resident_bytes
from spark_export.model import Format
from spark_export.outcome import Outcome, State

WINDOW_SECONDS = 300.0
"""Success rate and throughput look back so far: an alert's five minutes."""

LATENCY_BUCKETS_MS = (
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    900_000,
    3_600_000,
)

ATTEMPTS = ("delivered", "pending", "failed")
"""What comes of an attempt to call back: heard, to be tried again, given up."""

NO_FORMAT = "none"
"""Label of requests that did not get as far as a format."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counts what the observer is told.

    Args:
        gate: asked for its load when scraped.
        memory: what the process may hold.
        clock: seconds that never go back.
        queries: how many are open in the embedded engine.
    """

    def __init__(
        self, gate: Gate, memory: MemoryBound, clock: Callable[[], float], queries: Callable[[], int] = lambda: 0
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._ends = EndsWindow(clock)
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "export_requests", "Export requests by how they ended.", ["format", "outcome"], registry=registry
        )
        self._latency = Histogram(
            "export_latency_ms",
            "Milliseconds from an export's request to its last byte, completed exports.",
            ["format"],
            buckets=LATENCY_BUCKETS_MS,
            registry=registry,
        )
        self._bytes = Counter("export_bytes", "Body bytes handed to clients.", ["format"], registry=registry)
        self._failures = Counter("export_fail", "Exports that failed, by reason.", ["reason"], registry=registry)
        self._rejections = Counter(
            "spark_export_rejections", "Exports that were not admitted, by reason.", ["reason"], registry=registry
        )
        self._rows = Counter("spark_export_rows", "Rows of completed exports.", ["format"], registry=registry)
        self._escaped = Counter(
            "spark_export_escaped_cells", "Texts that the formula guard changed.", registry=registry
        )
        self._callbacks = Counter(
            "spark_export_callbacks",
            "Attempts to call back: delivered, pending where another follows, failed where none does.",
            ["state"],
            registry=registry,
        )
        self._first_byte = Histogram(
            "spark_export_first_byte_seconds",
            "Seconds from an export's request to its first byte.",
            ["format"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=registry,
        )
        self._gauges(gate, memory, queries)
        Info("spark_export_build", "Version of the service.", registry=registry).info(
            {"version": __version__, "python": sys.version.split()[0]}
        )
        self._initialise()

    def _gauges(self, gate: Gate, memory: MemoryBound, queries: Callable[[], int]) -> None:
        for name, text, read in (
            ("export_concurrent_running", "Exports that hold a slot.", lambda: gate.running),
            ("export_queue_depth", "Exports that wait for a slot.", lambda: gate.waiting),
            ("export_memory_bytes", "Resident set of the process.", resident_bytes),
            ("export_throughput_ops_per_sec", "Completed exports a second, over five minutes.", self._ends.throughput),
            (
                "export_success_rate",
                "Completed of completed and failed exports, over five minutes.",
                self._ends.success_rate,
            ),
            ("spark_export_running_limit", "Exports that may run at once.", lambda: gate.slots),
            ("spark_export_queue_limit", "Exports that may wait for a slot.", lambda: gate.queue),
            (
                "spark_export_memory_limit_bytes",
                "Resident memory beyond which no export begins; infinite where there is no limit.",
                lambda: math.inf if memory.most_bytes is None else memory.most_bytes,
            ),
            ("spark_export_tasks", "Tasks of the event loop: a handful when nothing runs.", _tasks),
            ("spark_export_queries", "Open queries of the embedded engine.", queries),
        ):
            Gauge(name, text, registry=self._registry).set_function(read)

    def show_jobs(self, queued: Callable[[], int], running: Callable[[], int], spool_bytes: Callable[[], int]) -> None:
        """Show the load of jobs too: how many wait and run, and the bytes of their bodies and files."""
        jobs = Gauge("spark_export_jobs", "Jobs that have not ended, by state.", ["state"], registry=self._registry)
        jobs.labels("queued").set_function(queued)
        jobs.labels("running").set_function(running)
        text = "Bytes of the bodies and files of jobs."
        Gauge("spark_export_spool_bytes", text, registry=self._registry).set_function(spool_bytes)

    def _initialise(self) -> None:
        """Show every series from the first scrape on, so that nothing is missing before the first export."""
        formats = [each.value for each in Format]
        for name in (*formats, NO_FORMAT):
            for state in State:
                self._requests.labels(name, state.value)
        for name in formats:
            for metric in (self._latency, self._bytes, self._rows, self._first_byte):
                metric.labels(name)
        for reason in error_reasons():
            self._failures.labels(reason)
            self._rejections.labels(reason)
        for attempt in ATTEMPTS:
            self._callbacks.labels(attempt)

    def wrote(self, file_format: Format, sent_bytes: int) -> None:
        """Count the bytes."""
        self._bytes.labels(file_format.value).inc(sent_bytes)

    def finished(self, outcome: Outcome) -> None:
        """Count the end."""
        name = outcome.format.value if outcome.format is not None else NO_FORMAT
        self._requests.labels(name, outcome.state.value).inc()
        reason = outcome.reason or ""
        if outcome.first_byte_seconds is not None:
            self._first_byte.labels(name).observe(outcome.first_byte_seconds)
        if outcome.state is State.FAILED:
            self._failures.labels(reason).inc()
        elif outcome.state is State.REJECTED:
            self._rejections.labels(reason).inc()
        elif outcome.state is State.COMPLETED:
            self._latency.labels(name).observe(outcome.seconds * 1000)
            self._rows.labels(name).inc(outcome.rows)
            self._escaped.inc(outcome.escaped_cells)
        if outcome.state in {State.COMPLETED, State.FAILED}:
            self._ends.add(completed=outcome.state is State.COMPLETED)

    def called_back(self, state: str) -> None:
        """Count an attempt, by the state of the callback after it."""
        self._callbacks.labels(state).inc()

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked outside of the loop
        return 0


class EndsWindow:
    """Completed and failed exports of the last five minutes, counted by the second: bounded at any rate.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: deque[list[int]] = deque()  # [second, completed, failed]

    def add(self, *, completed: bool) -> None:
        """Count an end, now."""
        second = int(self._clock())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1 if completed else 2] += 1
        self._totals()

    def throughput(self) -> float:
        """Completed exports a second."""
        return self._totals()[0] / WINDOW_SECONDS

    def success_rate(self) -> float:
        """Completed of all; 1 where nothing ended: no news is no failure."""
        completed, failed = self._totals()
        return completed / (completed + failed) if completed + failed else 1.0

    def _totals(self) -> tuple[int, int]:
        while self._seconds and self._seconds[0][0] < self._clock() - WINDOW_SECONDS:
            self._seconds.popleft()
        return sum(each[1] for each in self._seconds), sum(each[2] for each in self._seconds)
