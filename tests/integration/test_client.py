"""The client against the real service: streams, jobs, connections that break, processes that are killed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from spark_export.client import (
    Body,
    BrokenExport,
    ExportClient,
    ExportFailed,
    Patience,
    Receipt,
    Refused,
    WrongDigest,
)
from spark_export.settings import variable_of

from .conftest import COMMAND, Server, Start, until
from .proxy import Proxy

TRADES = {"dataset": "trades", "params": {"rows": 30_000}}
AT_ONCE = Patience(sleep=lambda _: asyncio.sleep(0))
BREAKS = 10


def use(url: str, do: Callable[[ExportClient], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """What comes of using a client of the service."""

    async def main() -> Any:
        async with ExportClient(url, **options) as client:
            return await do(client)

    return asyncio.run(main())


def made(server: Server, request: dict[str, Any]) -> Receipt:
    """The receipt of a job that is done."""

    async def make(client: ExportClient) -> Receipt:
        return await client.wait((await client.submit(request))["export_id"])

    found: Receipt = use(server.url, make)
    return found


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
def test_the_bytes_are_those_of_the_service(server: Server, tmp_path: Path, coding: str | None) -> None:
    """Streamed, saved, with a content coding and as the file of a job, they are the same."""
    whole = server.export(TRADES).content

    async def streamed(client: ExportClient) -> bytes:
        async with client.stream(TRADES) as answer:
            content = b"".join([chunk async for chunk in answer])
            assert (answer.receipt or {})["rows"] == 30_000
            return content

    assert use(server.url, streamed, coding=coding) == whole
    saved = use(server.url, lambda client: client.save(TRADES, tmp_path / "saved.csv"), coding=coding)
    assert (tmp_path / "saved.csv").read_bytes() == whole
    job = made(server, TRADES)
    use(server.url, lambda client: client.download(job["export_id"], tmp_path / "loaded.csv"))
    assert (tmp_path / "loaded.csv").read_bytes() == whole
    assert saved["sha256"] == job["sha256"] == hashlib.sha256(whole).hexdigest()
    assert {each.name for each in tmp_path.iterdir()} == {"saved.csv", "loaded.csv"}


def test_a_broken_stream_leaves_nothing(server: Server, tmp_path: Path) -> None:
    """Where the export breaks in its middle the receipt says why, and there is no file."""
    with pytest.raises(ExportFailed, match="the dataset's query failed") as caught:
        use(server.url, lambda client: client.save({"dataset": "late"}, tmp_path / "late.csv"))
    assert (caught.value.receipt["state"], caught.value.receipt["reason"]) == ("failed", "source_failed")
    assert list(tmp_path.iterdir()) == []


def test_a_lost_connection_leaves_nothing(server: Server, tmp_path: Path) -> None:
    """Nor where the connection breaks under way."""
    with Proxy(server.url, [100_000]).running() as proxy, pytest.raises(BrokenExport, match="broke off after"):
        use(proxy.url, lambda client: client.save(TRADES, tmp_path / "trades.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_field(server: Server) -> None:
    """As the service's problem does; nothing was begun."""
    with pytest.raises(Refused, match="no column 'x'") as caught:
        use(server.url, lambda client: client.submit({"dataset": "trades", "columns": ["x"]}, wait_seconds=20))
    assert caught.value.status == 422


def test_one_key_is_one_job(server: Server) -> None:
    """Submitted twice under one key it is one job; under it another request is refused."""

    async def twice(client: ExportClient) -> None:
        first = await client.submit(TRADES, "day-2026-11-27")
        again = await client.submit(TRADES, "day-2026-11-27")
        assert first["export_id"] == again["export_id"]
        assert (await client.submit(TRADES))["export_id"] != first["export_id"]
        with pytest.raises(Refused) as caught:
            await client.submit({"dataset": "trades"}, "day-2026-11-27")
        assert caught.value.is_problem("idempotency-key-reused")

    use(server.url, twice)


def test_a_lost_answer_makes_one_job(server: Server) -> None:
    """The connection that breaks before the answer is here leaves one job, not two."""
    before = len(server.get("/exports?limit=1000").json())
    with Proxy(server.url, [20]).running() as proxy:
        found = use(proxy.url, lambda client: client.submit(TRADES), patience=AT_ONCE)
        assert len(proxy.requests("/export")) == 2
    after = server.get("/exports?limit=1000").json()
    assert (len(after), after[0]["export_id"]) == (before + 1, found["export_id"])


def test_waiting_for_a_small_job(server: Server) -> None:
    """A job that is done in time is answered as one that is done."""
    found = use(server.url, lambda client: client.submit({"dataset": "book"}, wait_seconds=20))
    assert (found["state"], found["rows"]) == ("completed", 100)


def test_progress_is_told(server: Server) -> None:
    """Waiting for a job, its rows are told while they grow; cancelled it raises."""

    async def watched(client: ExportClient) -> None:
        export_id = (await client.submit({"dataset": "endless"}))["export_id"]
        rows, have_grown = set[int](), asyncio.Event()

        def show(receipt: Receipt) -> None:
            rows.add(receipt["rows"])
            if len(rows) == 3:
                have_grown.set()

        waiting = asyncio.create_task(client.wait(export_id, show))
        await have_grown.wait()
        await client.cancel(export_id)
        with pytest.raises(ExportFailed) as caught:
            await waiting
        assert caught.value.receipt["state"] == "cancelled"

    use(server.url, watched)


def test_a_download_over_connections_that_break(server: Server, tmp_path: Path) -> None:
    """Ten times after random bytes: the file is equal, and each request after the first asked for the rest alone."""
    job = made(server, TRADES)
    draw = random.Random(1)  # noqa: S311 - where to break
    bounds = [draw.randint(20_000, job["bytes"] // BREAKS - 1000) for _ in range(BREAKS)]
    target = tmp_path / "trades.csv"
    with Proxy(server.url, bounds).running() as proxy:
        use(proxy.url, lambda client: client.download(job["export_id"], target), patience=AT_ONCE)
        first, *others = proxy.requests("/content")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == job["sha256"]
    assert ("range" in first, len(others)) == (False, BREAKS)
    assert all(each["range"].startswith("bytes=") and each["if-range"] == f'"{job["sha256"]}"' for each in others)
    begins = [int(each["range"][6:-1]) for each in others]
    assert begins == sorted(set(begins))


def test_a_download_goes_on_after_kill_9(server: Server, tmp_path: Path) -> None:
    """What a killed process had is not loaded again."""
    job = made(server, {"dataset": "trades", "params": {"rows": 100_000}})
    target, half = tmp_path / "trades.csv", job["bytes"] // 2
    part = tmp_path / f".spark-export-{job['export_id']}.part"
    script = (
        "import asyncio, sys\nfrom spark_export.client import ExportClient\n"
        "async def main(url, export_id, path):\n"
        "    async with ExportClient(url) as client: await client.download(export_id, path)\n"
        "asyncio.run(main(*sys.argv[1:]))"
    )
    with Proxy(server.url, [half], stalls=True).running() as proxy:
        with subprocess.Popen([sys.executable, "-c", script, proxy.url, job["export_id"], target]) as process:
            until(lambda: part.exists() and part.stat().st_size > half - 2**21, seconds=20)
            process.kill()
        left = part.stat().st_size
        assert not target.exists()
        use(proxy.url, lambda client: client.download(job["export_id"], target))
        assert proxy.requests("/content")[1]["range"] == f"bytes={left}-"
    assert hashlib.sha256(target.read_bytes()).hexdigest() == job["sha256"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_changed_part_is_found_out(server: Server, tmp_path: Path) -> None:
    """Bytes that were changed in what a killed process left raise at the end, and nothing is kept of them."""
    job = made(server, TRADES)
    (tmp_path / f".spark-export-{job['export_id']}.part").write_bytes(b"id,ts,symbol,side\r\n")
    with pytest.raises(WrongDigest):
        use(server.url, lambda client: client.download(job["export_id"], tmp_path / "trades.csv"))
    assert list(tmp_path.iterdir()) == []


def test_verify(server: Server, tmp_path: Path) -> None:
    """The file of a stream and that of a job are theirs; one byte less is another file."""
    target = tmp_path / "trades.csv"
    receipt = use(server.url, lambda client: client.save(TRADES, target))
    assert use(server.url, lambda client: client.verify(target, receipt["export_id"])) == receipt
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(WrongDigest):
        use(server.url, lambda client: client.verify(target, receipt["export_id"]))


def test_rows_of_a_file(server: Server, tmp_path: Path) -> None:
    """A file, bytes, and what gives them in parts are rows alike, for a stream and for a job."""
    rows = b"id,price\n007,10.5\n" * 50_000
    (tmp_path / "rows.csv").write_bytes(rows)

    async def parts() -> AsyncIterator[bytes]:
        for begin in range(0, len(rows), 100_000):
            yield rows[begin : begin + 100_000]

    options = {"csv": {"delimiter": ";"}}
    found = []
    for content in (tmp_path / "rows.csv", rows, parts()):
        use(
            server.url,
            partial(ExportClient.save, request=Body(content, "text/csv", options), path=tmp_path / "made.csv"),
        )
        found.append((tmp_path / "made.csv").read_bytes())
    assert found[0].startswith(b"id;price\r\n007;10.5\r\n")
    assert found == [found[0]] * 3
    job = use(
        server.url, lambda client: client.submit(Body(tmp_path / "rows.csv", "text/csv", options), wait_seconds=30)
    )
    assert job["sha256"] == hashlib.sha256(found[0]).hexdigest()


def test_a_removed_file(server: Server, tmp_path: Path) -> None:
    """Removed, neither receipt nor file is there; before that it may be had again and again."""
    job = made(server, {"dataset": "book"})

    async def loaded(client: ExportClient) -> None:
        await client.download(job["export_id"], tmp_path / "a.csv")
        async with client.content(job["export_id"]) as content:
            assert len(b"".join([chunk async for chunk in content])) == job["bytes"]
        await client.cancel(job["export_id"])
        with pytest.raises(Refused) as caught:
            await client.download(job["export_id"], tmp_path / "a.csv")
        assert caught.value.status == 404

    use(server.url, loaded)


def test_only_with_a_key(start: Start, tmp_path: Path) -> None:
    """Whoever has none is refused; with the key all is as it is."""
    locked = start(API_KEYS="desk=s3cret")
    with pytest.raises(Refused) as caught:
        use(locked.url, lambda client: client.save({"dataset": "trades"}, tmp_path / "a.csv"))
    assert (caught.value.status, list(tmp_path.iterdir())) == (401, [])
    found = use(locked.url, lambda client: client.save({"dataset": "trades"}, tmp_path / "a.csv"), key="s3cret")
    assert found["caller"] == "desk"


def test_a_service_that_comes_back(start: Start, data: Path, tmp_path: Path) -> None:
    """A job outlives its service: whoever waits for it meanwhile has its file."""
    settings = {"DATASETS": str(data / "datasets.toml"), "SPOOL_DIR": str(tmp_path)}
    first = start(**settings)
    again = [COMMAND, "serve", "--port", str(urlsplit(first.url).port)]
    environment = os.environ | {variable_of(name): value for name, value in settings.items()}

    async def over_a_restart(client: ExportClient) -> Receipt:
        export_id = (await client.submit({"dataset": "trades", "params": {"rows": 2_000_000}}))["export_id"]
        is_running = asyncio.Event()
        waiting = asyncio.create_task(
            client.wait(export_id, lambda receipt: is_running.set() if receipt["rows"] else None)
        )
        await is_running.wait()
        first.process.kill()
        await asyncio.to_thread(first.process.wait)
        second = await asyncio.create_subprocess_exec(*again, env=environment, stderr=subprocess.DEVNULL)
        try:
            return await waiting
        finally:
            second.terminate()
            await second.wait()

    found = use(first.url, over_a_restart)
    assert (found["state"], found["rows"], found["runs"]) == ("completed", 2_000_000, 2)
