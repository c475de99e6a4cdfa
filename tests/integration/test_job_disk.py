"""A disk that is full fails jobs with a reason; the service stays up, and nothing it said is untrue."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.integration import conftest
from tests.integration.conftest import Server, Start
from tests.integration.test_faults import SERVE_ON_A_TINY_DISK
from tests.integration.test_jobs import ENDLESS, TRADES, content, finished, job, remove

LARGE = {"dataset": "trades", "params": {"rows": 100_000}}
"""10 MB, on a disk of 4."""


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the disk is put."""
    folder = tmp_path_factory.mktemp("tiny") / "spool"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def cramped(start: Start, data: Path, spool: Path) -> Server:
    """A service whose SPOOL_DIR is a disk of 4 MB."""
    script = spool.with_name("serve")
    script.write_text(SERVE_ON_A_TINY_DISK.format(spool=spool, command=conftest.COMMAND))
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "COMMAND", str(script))
        return start(DATASETS=str(data / "datasets.toml"), SPOOL_DIR=str(spool), MAX_CONCURRENT="2")


@pytest.fixture
def disk(cramped: Server, spool: Path) -> Path:
    """The disk, as the service sees it."""
    seen = Path(f"/proc/{cramped.process.pid}/root{spool}")
    if seen.stat().st_dev == spool.stat().st_dev:
        pytest.skip("needs a disk of its own to fill: `unshare -rm` must be allowed")
    return seen


@pytest.fixture
def filled(disk: Path) -> Iterator[Path]:
    """The disk without room; the file that takes it may be removed."""
    yield fill(disk)
    (disk / "others").unlink(missing_ok=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    others = disk / "others"
    with suppress(OSError), others.open("wb", buffering=0) as file:
        while file.write(os.urandom(4096)):
            pass
    return others


STARTS_ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
from spark_export.jobs.database import Database
from spark_export.jobs.folder import open_folder
from spark_export.jobs.table import SCHEMA, VERSION

def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

spool = Path(sys.argv[1])
with open_folder(spool, 1) as folder:
    killed = Database(folder / "jobs.sqlite", SCHEMA, VERSION)
    part = folder / "files" / "e1.part"
    fill(part)
with open_folder(spool, 1) as folder:
    assert not part.exists()
    fill(spool / "others")
    Database(folder / "jobs.sqlite", SCHEMA, VERSION).close()
    killed.close()
"""


def test_a_start_on_a_full_disk(tmp_path: Path) -> None:
    """What a killed process was writing goes first; and where others fill the disk, jobs are read all the same."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs a disk of its own to fill: `unshare -rm` must be allowed")
    script = 'mount -t tmpfs -o size=1m none "$0" && exec "$@" "$0"'
    command = ["unshare", "-rm", "sh", "-c", script, str(tmp_path), sys.executable, "-c", STARTS_ON_A_FULL_DISK]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_has_ended_makes_room(cramped: Server, disk: Path) -> None:
    """While others hold the whole disk a job ends, and a finished one can be removed: neither takes room of theirs."""
    export_ids = [finished(cramped), finished(cramped)]
    running = job(cramped, ENDLESS | {"format": "pdf"})
    cramped.until(lambda: cramped.receipt(running)["state"] == "running")
    others = fill(disk)
    try:
        assert cramped.until_ended(running)["reason"] == "spool_full"
        assert [remove(cramped, each) for each in export_ids] == [204, 204]
        assert finished(cramped)
    finally:
        others.unlink()


def test_a_file_that_does_not_fit(cramped: Server) -> None:
    """The job fails, says that there is no room, and leaves it to the next one."""
    receipt = cramped.until_ended(job(cramped, LARGE))
    assert (receipt["state"], receipt["reason"], receipt["content"]) == ("failed", "spool_full", None)
    assert "SPOOL_DIR" in receipt["detail"]
    assert content(cramped, finished(cramped)).content == cramped.export(TRADES).content


def test_a_stream_that_is_to_be_kept(cramped: Server) -> None:
    """A stream under a key whose file does not fit breaks, for it promises too much; without a key it does not."""
    with pytest.raises(httpx.RemoteProtocolError):
        cramped.export(LARGE, headers={"Idempotency-Key": "large"})
    assert cramped.export(LARGE).status_code == 200


def test_no_room_for_a_body(cramped: Server, filled: Path) -> None:
    """What cannot be kept is not accepted, and the answer names the setting."""
    refused = cramped.submit({"rows": [{"a": "x" * 100_000}]})
    assert (refused.status_code, refused.json()["field"]) == (503, "SPOOL_DIR")
    assert refused.json()["type"] == "urn:spark-export:problem:spool-full"
    assert cramped.export(TRADES).status_code == 200
    filled.unlink()
    assert finished(cramped, {"rows": [{"a": "x" * 100_000}]})


def test_an_end_that_cannot_be_kept_is_kept_later(cramped: Server, disk: Path) -> None:
    """A job that ends while the disk is full has its end as soon as there is room, and holds no slot meanwhile."""
    export_id = job(cramped, ENDLESS | {"format": "pdf"})
    cramped.until(lambda: cramped.receipt(export_id)["state"] != "queued")
    others = fill(disk)
    cramped.until(lambda: cramped.health()[0] == 0, 30)
    ending = threading.Timer(1.0, others.unlink)
    ending.start()
    receipt = cramped.until_ended(export_id)
    ending.join()
    assert (receipt["state"], receipt["reason"]) == ("failed", "spool_full")
    assert remove(cramped, export_id) == 204
