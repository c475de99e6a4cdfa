"""Nothing is lost: whatever ends the process, accepted jobs are made, finished files are right, nothing is left."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from kills import run_kills

from tests.integration.conftest import Server, Start, until
from tests.integration.test_jobs import ENDLESS, TRADES, content, finished, job, remove

NDJSON = {"Content-Type": "application/x-ndjson", "Prefer": "respond-async"}


def killed(server: Server) -> int:
    """Kill the service; its port."""
    server.process.kill()
    server.process.wait()
    return int(server.url.rpartition(":")[2])


def folder_of(spool: Path) -> Path:
    """The folder of jobs below SPOOL_DIR."""
    (found,) = spool.glob("jobs-*")
    return found


def test_killed_with_jobs_of_every_kind(start: Start, data: Path, tmp_path: Path) -> None:
    """What was finished is right by its digest, what waited runs, what ran runs again, rows of bodies included."""
    settings = {"DATASETS": str(data / "datasets.toml"), "SPOOL_DIR": str(tmp_path), "MAX_CONCURRENT": "1"}
    server = start(**settings)
    done = finished(server)
    running = job(server, ENDLESS | {"limit": 30_000_000})
    server.until(lambda: server.receipt(running)["bytes"] > 0)
    queued = [job(server), job(server, {"rows": [{"a": 1}, {"a": 2}]})]
    uploaded = httpx.post(f"{server.url}/export", content=b'{"a": 7}\n', headers=NDJSON).headers["X-Export-Id"]
    port = killed(server)
    assert list((folder_of(tmp_path) / "files").glob("*.part"))
    (folder_of(tmp_path) / "files" / "orphan").write_bytes(b"half")
    server = start(port, **settings)
    assert content(server, done).content == server.export(TRADES).content
    for export_id in (running, *queued, uploaded):
        assert server.until_ended(export_id, 120)["state"] == "completed"
    assert (server.receipt(running)["runs"], server.receipt(running)["rows"]) == (2, 30_000_000)
    assert hashlib.sha256(content(server, running).content).hexdigest() == server.receipt(running)["sha256"]
    assert content(server, queued[1]).text == "a\r\n1\r\n2\r\n"
    assert content(server, uploaded).text == "a\r\n7\r\n"
    names = {path.name for path in (folder_of(tmp_path) / "files").iterdir()}
    assert names == {done, running, *queued, uploaded}
    assert list((folder_of(tmp_path) / "bodies").iterdir()) == []


def test_stopped_while_a_job_runs(start: Start, data: Path, tmp_path: Path) -> None:
    """A job that a shutdown ends is queued again, and counts as begun once."""
    settings = {"DATASETS": str(data / "datasets.toml"), "SPOOL_DIR": str(tmp_path), "DRAIN_SECONDS": "0.2"}
    server = start(**settings)
    running = job(server, ENDLESS)
    server.until(lambda: server.receipt(running)["bytes"] > 0)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    assert list((folder_of(tmp_path) / "files").iterdir()) == []
    server = start(int(server.url.rpartition(":")[2]), **settings)
    server.until(lambda: server.receipt(running)["state"] == "running")
    assert server.receipt(running)["runs"] == 1
    assert remove(server, running) == 204


def test_a_job_that_can_be_finished_is(start: Start, tmp_path: Path) -> None:
    """A shutdown lets running jobs end in time; those that come are told to come to another instance."""
    server = start(SPOOL_DIR=str(tmp_path))
    export_id = job(server, {"dataset": "trades", "params": {"rows": 1_000_000}})
    server.until(lambda: server.receipt(export_id)["state"] == "running")
    server.process.send_signal(signal.SIGTERM)
    server.until(lambda: server.get("/readyz").status_code == 503)
    assert server.submit(TRADES).status_code == 503
    assert server.process.wait(timeout=30) == 0
    with closing(sqlite3.connect(folder_of(tmp_path) / "jobs.sqlite")) as database:
        ((state, outcome),) = database.execute("SELECT state, outcome_json FROM jobs").fetchall()
    assert state == "completed"
    made = (folder_of(tmp_path) / "files" / export_id).read_bytes()
    assert hashlib.sha256(made).hexdigest() == json.loads(outcome)["sha256"]


def test_rows_that_are_gone(start: Start, data: Path, tmp_path: Path) -> None:
    """A job whose rows cannot be had again fails, and says why."""
    settings = {"DATASETS": str(data / "datasets.toml"), "SPOOL_DIR": str(tmp_path), "MAX_CONCURRENT": "1"}
    server = start(**settings)
    running = job(server, ENDLESS)
    queued = job(server, {"rows": [{"a": 1}]})
    port = killed(server)
    (folder_of(tmp_path) / "bodies" / queued).unlink()
    server = start(port, **settings)
    receipt = server.receipt(queued)
    assert (receipt["state"], receipt["reason"]) == ("failed", "source_unavailable")
    assert "rows" in receipt["detail"]
    assert remove(server, running) == 204


def test_a_key_that_is_gone(start: Start, tmp_path: Path) -> None:
    """A job whose caller's key was taken away is not made."""
    server = start(SPOOL_DIR=str(tmp_path), API_KEYS="a=one", MAX_CONCURRENT="1")
    own = {"Authorization": "Bearer one"}
    fields = own | {"Prefer": "respond-async"}
    long = {"dataset": "trades", "params": {"rows": 10**9}}
    ids = [httpx.post(f"{server.url}/export", json=long, headers=fields).headers["X-Export-Id"] for _ in range(2)]
    port = killed(server)
    server = start(port, SPOOL_DIR=str(tmp_path), API_KEYS="b=two")
    assert server.get("/exports", headers=own).status_code == 401
    with closing(sqlite3.connect(folder_of(tmp_path) / "jobs.sqlite")) as database:
        found = "SELECT state FROM jobs WHERE export_id IN (?, ?)"
        until(lambda: {row[0] for row in database.execute(found, ids)} == {"failed"})


def test_less_room_after_a_start(start: Start, tmp_path: Path) -> None:
    """A start with a smaller SPOOL_MAX_BYTES has the oldest files go at once, and serves the others."""
    server = start(SPOOL_DIR=str(tmp_path))
    made = [finished(server) for _ in range(8)]  # 210 kB each
    server = start(killed(server), SPOOL_DIR=str(tmp_path), SPOOL_MAX_BYTES=str(2**20))
    assert [server.receipt(each)["state"] for each in made] == ["expired"] * 4 + ["completed"] * 4
    assert {path.name for path in (folder_of(tmp_path) / "files").iterdir()} == set(made[4:])
    assert content(server, made[-1]).status_code == 200


def test_two_services_of_one_folder(start: Start, tmp_path: Path) -> None:
    """A second service does not touch the jobs of the first: it does not start, and says what to change."""
    server = start(SPOOL_DIR=str(tmp_path))
    port = server.url.rpartition(":")[2]
    command = [str(Path(sys.executable).parent / "spark-export"), "serve", "--port", port, "--host", "::1"]
    second = subprocess.run([*command, "--spool-dir", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert "SPARK_EXPORT_SPOOL_DIR" in second.stderr
    assert finished(server)


def test_a_folder_of_anyones(tmp_path: Path) -> None:
    """A folder that others may write to is not trusted with jobs."""
    (tmp_path / "jobs-of-spark-export-4999").mkdir()
    (tmp_path / "jobs-of-spark-export-4999").chmod(0o777)
    command = [str(Path(sys.executable).parent / "spark-export"), "serve", "--port", "4999"]
    found = subprocess.run([*command, "--spool-dir", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert (found.returncode, "SPARK_EXPORT_SPOOL_DIR" in found.stderr) == (1, True)


def test_a_file_that_somebody_removed(start: Start, tmp_path: Path) -> None:
    """A finished file that is no longer there is not served as an empty one."""
    server = start(SPOOL_DIR=str(tmp_path))
    export_id = finished(server)
    shutil.rmtree(folder_of(tmp_path) / "files")
    (folder_of(tmp_path) / "files").mkdir()
    assert content(server, export_id).status_code == 410
    assert finished(server)


@pytest.mark.parametrize("seed", [7])
def test_killed_again_and_again(seed: int) -> None:
    """Jobs under load outlive kills at random moments: none is lost, none is half, nothing is left."""
    assert run_kills(kills=6, seed=seed) == []


def test_jobs_of_another_version(start: Start, tmp_path: Path) -> None:
    """A database that a later version wrote is left as it is: the service does not start, and says why."""
    server = start(SPOOL_DIR=str(tmp_path))
    port = killed(server)
    with closing(sqlite3.connect(folder_of(tmp_path) / "jobs.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    command = [str(Path(sys.executable).parent / "spark-export"), "serve", "--port", str(port)]
    found = subprocess.run([*command, "--spool-dir", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert (found.returncode, "version 99" in found.stderr) == (1, True)
