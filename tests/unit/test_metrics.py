"""The series as a Prometheus parser reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from spark_export.admission.gate import Gate
from spark_export.errors import error_reasons
from spark_export.memory import MemoryBound
from spark_export.metrics import WINDOW_SECONDS, Metrics
from spark_export.model import Format
from spark_export.outcome import Outcome, State

NINE = {
    "export_requests": "counter",
    "export_latency_ms": "histogram",
    "export_bytes": "counter",
    "export_fail": "counter",
    "export_queue_depth": "gauge",
    "export_concurrent_running": "gauge",
    "export_memory_bytes": "gauge",
    "export_throughput_ops_per_sec": "gauge",
    "export_success_rate": "gauge",
}


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.now


@dataclass
class Board:
    """Metrics and the clock and gate that they look at."""

    clock: Clock
    gate: Gate
    metrics: Metrics

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample by name and labels."""
        families = text_string_to_metric_families(self.metrics.render().decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample's value."""
        return self.samples()[name, frozenset(labels.items())]

    def finish(self, state: State, reason: str | None = None, *, file_format: Format | None = Format.CSV) -> None:
        """An export ends now."""
        self.metrics.finished(
            Outcome("e", "r", "c", "::1", file_format, None, "", state, 0.0, reason, rows=7, seconds=0.02)
        )


@pytest.fixture
def board() -> Board:
    """Metrics before the first export."""
    clock = Clock()
    gate = Gate(2, 2, 1.0, clock)
    return Board(clock, gate, Metrics(gate, MemoryBound(None), clock))


def test_limits_are_series(board: Board) -> None:
    """An alert can say how near a limit is; memory without a limit has an infinite one."""
    limits = ("spark_export_running_limit", "spark_export_queue_limit", "spark_export_memory_limit_bytes")
    assert [board.value(name) for name in limits] == [2, 2, math.inf]
    bound = Metrics(board.gate, MemoryBound(3 * 2**30), board.clock)
    assert "\nspark_export_memory_limit_bytes 3.221225472e+09\n" in bound.render().decode()


def test_nine_series(board: Board) -> None:
    """The nine series are there by name and type."""
    families = {each.name: each.type for each in text_string_to_metric_families(board.metrics.render().decode())}
    assert {name: families.get(name) for name in NINE} == NINE


def test_initialised(board: Board) -> None:
    """Every series of the closed sets of labels is there before the first export, at zero."""
    for file_format in ("csv", "pdf"):
        for state in State:
            assert board.value("export_requests_total", format=file_format, outcome=state.value) == 0
        assert board.value("export_latency_ms_count", format=file_format) == 0
        assert board.value("export_bytes_total", format=file_format) == 0
    for reason in error_reasons():
        assert board.value("export_fail_total", reason=reason) == 0
    assert board.value("export_success_rate") == 1
    assert board.value("export_throughput_ops_per_sec") == 0


def test_labels_are_closed(board: Board) -> None:
    """No end of an export makes a series that was not there before."""
    before = set(board.samples())
    board.metrics.wrote(Format.PDF, 10)
    for reason in error_reasons():
        for state in (State.FAILED, State.REJECTED, State.INVALID):
            board.finish(state, reason)
    for state in (State.COMPLETED, State.CANCELLED):
        board.finish(state)
    board.finish(State.INVALID, "unknown-dataset", file_format=None)
    assert set(board.samples()) == before


def test_counts(board: Board) -> None:
    """Ends, bytes and latencies are counted under their labels."""
    board.metrics.wrote(Format.PDF, 10)
    board.metrics.wrote(Format.PDF, 5)
    board.finish(State.COMPLETED, file_format=Format.PDF)
    board.finish(State.FAILED, "source_failed")
    assert board.value("export_bytes_total", format="pdf") == 15
    assert board.value("export_requests_total", format="pdf", outcome="completed") == 1
    assert board.value("export_fail_total", reason="source_failed") == 1
    assert board.value("export_latency_ms_count", format="pdf") == 1
    assert board.value("export_latency_ms_sum", format="pdf") == pytest.approx(20)
    assert board.value("export_latency_ms_count", format="csv") == 0


def test_success_rate(board: Board) -> None:
    """Rejected, cancelled and invalid exports are neither success nor failure."""
    for state in (State.REJECTED, State.CANCELLED, State.INVALID):
        board.finish(state, "queue-full")
    assert board.value("export_success_rate") == 1
    for state in (State.COMPLETED, State.COMPLETED, State.COMPLETED, State.FAILED):
        board.finish(state, "internal")
    assert board.value("export_success_rate") == 0.75


def test_window_slides(board: Board) -> None:
    """What ended longer ago than the window is forgotten, what ended within it is not."""
    board.finish(State.FAILED, "internal")
    board.clock.now += WINDOW_SECONDS - 10
    board.finish(State.COMPLETED)
    assert board.value("export_success_rate") == 0.5
    assert board.value("export_throughput_ops_per_sec") == pytest.approx(1 / WINDOW_SECONDS)
    board.clock.now += 20
    assert board.value("export_success_rate") == 1
    assert board.value("export_throughput_ops_per_sec") == pytest.approx(1 / WINDOW_SECONDS)
    board.clock.now += WINDOW_SECONDS
    assert board.value("export_throughput_ops_per_sec") == 0


def test_gate_is_asked(board: Board) -> None:
    """Running exports are those of the gate at the time of asking."""
    board.gate.running = 2
    assert board.value("export_concurrent_running") == 2
    board.gate.running = 0
    assert board.value("export_concurrent_running") == 0


def test_memory(board: Board) -> None:
    """Memory is the process's resident set, in bytes."""
    assert 10 * 2**20 < board.value("export_memory_bytes") < 64 * 2**30
