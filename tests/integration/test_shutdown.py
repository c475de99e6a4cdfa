"""How the service ends: what runs is finished or broken off, and nothing is left in between."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Start

PLAIN = {"Accept-Encoding": "identity"}
LAST_CHUNK = b"\r\n0\r\n\r\n"


def begin(server: Server, dataset: str = "endless") -> socket.socket:
    """An export that runs and whose client reads nothing more."""
    client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    client.sendall(f"GET /export?dataset={dataset} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client


def rest(client: socket.socket) -> bytes:
    """What still comes, until the connection ends, whatever the way."""
    found = b""
    with client, suppress(ConnectionResetError):
        client.settimeout(20)
        while data := client.recv(2**20):
            found = found[-100:] + data
    return found


def test_sigterm_drains(start: Start, data: Path) -> None:
    """On SIGTERM the running export finishes whole and the exit status is 0."""
    server = start(DATASETS=str(data / "datasets.toml"))
    asked = {"dataset": "repeated", "params": {"times": 20_000}}
    with httpx.stream("POST", server.url + "/export", json=asked, headers=PLAIN, timeout=60) as answer:
        chunks = answer.iter_raw()
        size = len(next(chunks))
        server.process.send_signal(signal.SIGTERM)
        size += sum(len(chunk) for chunk in chunks)
    assert server.process.wait(timeout=20) == 0
    assert size > 2_000_000 * 10


def test_a_download_ends_whole(start: Start) -> None:
    """The file of a job that is being loaded comes to its end, at the pace of its client."""
    server = start()
    export_id = server.submit({"dataset": "trades", "params": {"rows": 200_000}}).headers["X-Export-Id"]
    size = server.until_ended(export_id)["bytes"]
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(f"GET /exports/{export_id}/content HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        found = client.recv(2**16)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2.5)  # longer than answers that are no exports have
        while data := client.recv(2**20):
            found += data
    assert len(found.partition(b"\r\n\r\n")[2]) == size > 20_000_000
    assert server.process.wait(timeout=20) == 0


def test_whoever_watches_a_job_is_let_go(start: Start, data: Path) -> None:
    """The events of a job that runs end when the service drains, and are one each time that they are asked for then."""
    server = start(DATASETS=str(data / "datasets.toml"), DRAIN_SECONDS="2")
    export_id = server.submit({"dataset": "endless"}).headers["X-Export-Id"]
    server.until(lambda: server.receipt(export_id)["bytes"] > 0)
    watching = server.url + f"/exports/{export_id}/events"
    with httpx.stream("GET", watching, timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        assert list(lines)
    server.until(lambda: server.get("/readyz").status_code == 503)
    assert httpx.get(watching).text.count("id: running") == 1
    assert server.process.wait(timeout=20) == 0
    assert "ERROR" not in server.log.read_text()


def test_a_draining_service_still_answers(start: Start, data: Path) -> None:
    """While an export finishes: not ready, alive, and new exports are sent away, whether they come or wait."""
    server = start(DATASETS=str(data / "datasets.toml"), MAX_CONCURRENT="1")
    running = begin(server)
    waiting = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    waiting.sendall(b"GET /export?dataset=book HTTP/1.1\r\nHost: x\r\n\r\n")
    server.until(lambda: server.health() == (1, 1))
    server.process.send_signal(signal.SIGTERM)
    server.until(lambda: server.get("/readyz").status_code == 503, seconds=0.5)
    assert b"503" in waiting.recv(1000)
    assert server.get("/livez").status_code == 200
    assert server.get("/healthz").json()["status"] == "draining"
    refused = server.get("/export?dataset=book")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:spark-export:problem:draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert int(server.get("/readyz").headers["retry-after"]) >= 1
    running.close()
    waiting.close()
    assert server.process.wait(timeout=5) == 0


def test_what_does_not_finish_in_time_is_broken_off(start: Start, data: Path) -> None:
    """After DRAIN_SECONDS the connection of what still runs ends without a last chunk, and the exit status is 0."""
    server = start(DATASETS=str(data / "datasets.toml"), DRAIN_SECONDS="0.5")
    client = begin(server)
    server.process.send_signal(signal.SIGTERM)
    assert not rest(client).endswith(LAST_CHUNK)
    assert server.process.wait(timeout=5) == 0
    assert "1 exports and 0 downloads are broken off" in server.log.read_text()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start: Start, data: Path, second: signal.Signals) -> None:
    """Whoever asks twice does not wait for exports: they break, and the exit status is the signal's."""
    server = start(DATASETS=str(data / "datasets.toml"))
    client = begin(server)
    server.process.send_signal(signal.SIGTERM)
    server.until(lambda: server.get("/readyz").status_code == 503)
    began = time.monotonic()
    server.process.send_signal(second)
    assert server.process.wait(timeout=5) == 128 + second
    assert time.monotonic() - began < 2
    assert not rest(client).endswith(LAST_CHUNK)


def test_an_idle_service_ends_soon(start: Start) -> None:
    """Where nothing runs, nothing is waited for: an open connection is no reason."""
    server = start()
    with httpx.Client() as client:
        client.get(server.url + "/livez")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=5) == 0
