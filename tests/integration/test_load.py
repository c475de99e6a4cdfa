"""Admission, honesty towards clients that leave, and memory, against the real process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Start

MEMORY_RATIO_MOST = 1.15
PLAIN = {"Accept-Encoding": "identity"}


def test_a_caller_over_its_rate_gets_429(start: Start) -> None:
    """Beyond the burst: 429 with Retry-After and the RateLimit fields; the quota shows on good answers too."""
    server = start(RATE_PER_SECOND="0.01", RATE_BURST="2")
    answers = [server.get("/export?dataset=trades&limit=1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"default";r=1;t=')
    refused = answers[2]
    assert refused.headers["ratelimit-policy"] == '"default";q=2;w=200'
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.json()["type"].endswith("#quota-exceeded")
    assert server.metric('spark_export_rejections_total{reason="quota_exceeded"}') == 1
    assert server.metric("export_success_rate") == 1


def test_a_full_queue_sends_callers_away(start: Start, data: Path) -> None:
    """One slot, one place: the third export is 503 at once, the second 503 when its wait is over."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1", MAX_QUEUE="1", QUEUE_TIMEOUT_SECONDS="0.5")
    with httpx.stream("GET", server.url + "/export?dataset=endless", timeout=30) as running:
        assert running.status_code == 200

        async def two() -> list[httpx.Response]:
            async with httpx.AsyncClient(timeout=30) as client:
                return await asyncio.gather(*(client.get(server.url + "/export?dataset=book") for _ in range(2)))

        answers = asyncio.run(two())
        assert [answer.status_code for answer in answers] == [503, 503]
        kinds = {answer.json()["type"].rpartition(":")[2] for answer in answers}
        assert kinds == {"queue-full", "queue-timeout"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert server.health() == (1, 0)
    server.until(lambda: server.health() == (0, 0))
    assert server.get("/export?dataset=book").status_code == 200


@pytest.mark.parametrize("dataset", ["endless", "slow"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_leaves_frees_its_slot(server: Server, dataset: str, reset: bool) -> None:
    """By FIN or by RST, in the middle or before the first byte: the slot is free and the query over within a second."""
    client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    client.sendall(f"GET /export?dataset={dataset} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    if dataset == "endless":
        assert client.recv(100)
    server.until(lambda: server.health() == (1, 0))
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    server.until(lambda: server.health() == (0, 0), seconds=1.5)
    used = cpu_seconds(server)
    assert server.get("/livez").text == "ok\n"
    assert cpu_seconds(server) - used < 0.5
    assert server.get("/exports").json()[0]["state"] == "cancelled"


def cpu_seconds(server: Server) -> float:
    """Processor time that the process has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_export_past_its_deadline_breaks(start: Start, data: Path) -> None:
    """Before the first byte 504, after it a broken connection; both name the setting or the reason."""
    server = start(DATASETS=str(data / "datasets.toml"), EXPORT_TIMEOUT_SECONDS="0.5")
    early = server.get("/export?dataset=slow")
    assert (early.status_code, early.json()["field"]) == (504, "EXPORT_TIMEOUT_SECONDS")
    late = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", server.url + "/export?dataset=endless"], capture_output=True
    )
    assert late.returncode == 18
    assert server.get("/exports").json()[0]["reason"] == "deadline_exceeded"
    assert server.metric('export_fail_total{reason="deadline_exceeded"}') == 2


def test_metrics_move_by_what_was_exported(start: Start) -> None:
    """The nine series are there before the first export, and move by just what was exported."""
    server = start()
    text = server.get("/metrics").text
    for name, kind in (
        ("export_requests_total", "counter"),
        ("export_latency_ms", "histogram"),
        ("export_bytes_total", "counter"),
        ("export_concurrent_running", "gauge"),
        ("export_queue_depth", "gauge"),
        ("export_fail_total", "counter"),
        ("export_memory_bytes", "gauge"),
        ("export_throughput_ops_per_sec", "gauge"),
        ("export_success_rate", "gauge"),
    ):
        assert f"# TYPE {name} {kind}\n" in text or f"# TYPE {name.removesuffix('_total')} {kind}\n" in text
    assert server.metric('export_requests_total{format="csv",outcome="completed"}') == 0
    answers = [server.get(f"/export?dataset=trades&limit={n}", headers=PLAIN) for n in (1, 10, 100)]
    sizes = [len(answer.content) for answer in answers]
    assert server.metric('export_requests_total{format="csv",outcome="completed"}') == 3
    assert server.metric('export_bytes_total{format="csv"}') == sum(sizes)
    assert server.metric('export_latency_ms_count{format="csv"}') == 3
    assert server.metric('spark_export_rows_total{format="csv"}') == 111
    assert server.metric("export_throughput_ops_per_sec") == pytest.approx(3 / 300)
    assert server.metric("export_memory_bytes") > 50_000_000


@pytest.mark.parametrize(
    ("asked", "few", "many"),
    [
        ({"format": "csv"}, 100_000, 1_000_000),
        ({"format": "pdf"}, 20_000, 200_000),
        ({"format": "pdf", "pdf": {"accessible": True, "overflow": "wrap"}}, 8_000, 80_000),
    ],
    ids=["csv", "pdf", "tagged pdf"],
)
def test_memory_does_not_grow_with_the_rows(
    start: Start, data: Path, asked: dict[str, object], few: int, many: int
) -> None:
    """Peak resident memory at ten times the rows is at most 1.15 times that at the fewer rows."""
    peaks = []
    for rows in (few, many):
        server = start(DATASETS=str(data / "datasets.toml"))
        body = {"dataset": "repeated", "params": {"times": rows // 100}, **asked}
        with httpx.stream("POST", server.url + "/export", json=body, timeout=120) as answer:
            assert answer.status_code == 200
            for _ in answer.iter_raw():
                pass
        assert server.get("/exports").json()[0]["rows"] == rows
        peaks.append(server.status("VmHWM"))
    assert peaks[1] <= MEMORY_RATIO_MOST * peaks[0]


def test_a_client_that_does_not_read_holds_little(server: Server) -> None:
    """An export whose client stops reading stops too: its bytes stand still, and few of them are in memory."""
    before = server.status("VmRSS")
    with httpx.stream("GET", server.url + "/export?dataset=endless", headers=PLAIN, timeout=30) as answer:
        chunks = answer.iter_raw()
        assert next(chunks)
        seen = [-1.0, server.metric('export_bytes_total{format="csv"}')]

        def stands_still() -> bool:
            seen.append(server.metric('export_bytes_total{format="csv"}'))
            return seen[-1] == seen[-2] == seen[-3]

        server.until(stands_still)
        time.sleep(1)
        assert server.metric('export_bytes_total{format="csv"}') == seen[-1]
        assert server.health() == (1, 0)
        assert server.status("VmRSS") - before < 100_000
    server.until(lambda: server.health() == (0, 0))
