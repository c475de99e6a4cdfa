"""Datasets of files, in a folder and on a real S3 endpoint, over a socket."""

from __future__ import annotations

import io
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_export.sources.synthetic import SCHEMA, iter_trades
from tests.s3 import BUCKET, CREDENTIALS, S3, running_s3

from .conftest import Server, Start

ROWS = 50_000


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """An S3 endpoint."""
    with running_s3() as made:
        yield made


def trades(rows: int, seed: int = 1) -> bytes:
    """A Parquet file of trades."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches(iter_trades(rows, seed), SCHEMA), sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def folder(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a datasets file, of its own files and of a bucket's."""
    folder = tmp_path_factory.mktemp("stores")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = unused.getsockname()[1]
    for seed in (1, 2):
        s3.write(f"trades/seed={seed}/a.parquet", trades(ROWS, seed))
    (folder / "days" / "day=1").mkdir(parents=True)
    (folder / "days" / "day=1" / "a.csv").write_text("id,note\n007,a\n")
    (folder / "one").mkdir()
    (folder / "ten").mkdir()
    for place in range(10):
        (folder / "ten" / f"{place}.parquet").write_bytes(trades(200_000, place))
    (folder / "one" / "0.parquet").write_bytes(trades(200_000, 0))
    (folder / "datasets.toml").write_text(
        f"""
        [datasets.bucket]
        engine = "arrow"
        path = "s3://{BUCKET}/trades/"
        partitioning = "hive"
        endpoint = "{s3.url}"
        [datasets.days]
        engine = "arrow"
        path = "days"
        format = "csv"
        partitioning = "hive"
        [datasets.one]
        engine = "arrow"
        path = "one"
        [datasets.ten]
        engine = "arrow"
        path = "ten"
        [datasets.nowhere]
        engine = "arrow"
        path = "s3://no-such-bucket/secret/"
        endpoint = "{s3.url}"
        [datasets.nobody]
        engine = "arrow"
        path = "s3://{BUCKET}/"
        endpoint = "http://127.0.0.1:{nobody}"
        """,
        encoding="utf-8",
    )
    return folder


def serve(start: Start, folder: Path, patch: pytest.MonkeyPatch, **settings: str) -> Server:
    """A service of the folder, with the credentials that a container would have."""
    for name, value in CREDENTIALS.items():
        patch.setenv(name, value)
    return start(DATASETS=str(folder / "datasets.toml"), LOG_FORMAT="json", **settings)


@pytest.fixture(scope="module")
def stores(start: Start, folder: Path) -> Server:
    """The service."""
    with pytest.MonkeyPatch.context() as patch:
        return serve(start, folder, patch)


def test_a_bucket_as_csv(stores: Server, tmp_path: Path) -> None:
    """All rows of a bucket come out, with the partition beside them, as DuckDB reads them back."""
    path = tmp_path / "a.csv"
    path.write_bytes(stores.get("/export?dataset=bucket&format=csv").content)
    with duckdb.connect() as connection:
        rows = connection.read_csv(str(path)).aggregate("seed, count(*), sum(id)").order("seed").fetchall()
    total = ROWS * (ROWS + 1) // 2
    assert rows == [(1, ROWS, total), (2, ROWS, total)]


def test_filter_and_order(stores: Server) -> None:
    """A partition, a filter and an order choose the rows of a bucket."""
    where = [{"column": "seed", "op": "eq", "value": 2}, {"column": "id", "op": "between", "value": [3, 5]}]
    request = {"dataset": "bucket", "columns": ["id", "seed"], "where": where, "order_by": ["-id"], "format": "csv"}
    assert stores.export(request).text == "id,seed\r\n5,2\r\n4,2\r\n3,2\r\n"


def test_new_files_are_seen(stores: Server, folder: Path) -> None:
    """A file that comes while the service runs is in the next export, its folder's value too."""
    path = "/export?dataset=days&format=csv"
    assert stores.get(path).text == "id,note,day\r\n007,a,1\r\n"
    (folder / "days" / "day=2").mkdir()
    (folder / "days" / "day=2" / "a.csv").write_text("id,more\n008,b\n")
    assert stores.get(path).text == "id,note,more,day\r\n007,a,,1\r\n008,,b,2\r\n"


def test_columns_and_preview(stores: Server) -> None:
    """A bucket's columns and first rows can be asked for."""
    assert stores.get("/datasets/bucket").json()["columns"][-1] == {"name": "seed", "type": "int64"}
    assert len(stores.get("/datasets/bucket/preview?limit=3").json()["rows"]) == 3


@pytest.mark.parametrize("dataset", ["nowhere", "nobody"])
def test_unavailable(stores: Server, dataset: str) -> None:
    """A store that is not there is a 503 that tells nothing of it; the log does, without credentials."""
    answer = stores.get(f"/export?dataset={dataset}&format=csv")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:spark-export:problem:source-unavailable")
    assert "secret" not in answer.text
    assert "bucket" not in answer.json()["detail"]
    lines = [json.loads(line) for line in stores.log.read_text(encoding="utf-8").splitlines()]
    told = [line["message"] for line in lines if line.get("export_id") == answer.json()["export_id"]]
    assert any("AWS Error" in message for message in told)
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in stores.log.read_text(encoding="utf-8")


def test_a_client_that_leaves(stores: Server) -> None:
    """When a client leaves in the middle of a bucket, its slot is free within a second."""
    with httpx.stream("GET", stores.url + "/export?dataset=bucket&format=csv") as answer:
        next(answer.iter_raw())
    stores.until(lambda: stores.health() == (0, 0), seconds=1)


def test_memory_is_flat(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows take no more memory."""
    server = serve(start, folder, monkeypatch)
    peaks = []
    for dataset in ("one", "one", "ten"):
        path = f"/export?dataset={dataset}&format=csv"
        with httpx.stream("GET", server.url + path, headers={"Accept-Encoding": "identity"}, timeout=60) as answer:
            size = sum(map(len, answer.iter_raw()))
        assert size > 10_000_000
        peaks.append(server.status("VmHWM"))
    assert peaks[2] < peaks[1] * 1.15


def test_the_end_is_clean(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has used S3 ends with status 0, and says nothing of it."""
    server = serve(start, folder, monkeypatch, LOG_LEVEL="warning")
    assert server.get("/export?dataset=bucket&format=csv&limit=10").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=20) == 0
    assert server.log.read_text(encoding="utf-8") == ""
