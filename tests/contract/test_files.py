"""Datasets of files: what becomes of folders, formats and columns, what is not read, and stores that fail."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_export.errors import InvalidField, SourceUnavailable
from spark_export.model import Condition
from spark_export.sources import stores
from spark_export.sources.arrow import ArrowDataset
from spark_export.sources.base import Table
from spark_export.sources.duckdb import Engine
from spark_export.sources.files import FileFormat, Kind
from spark_export.sources.selection import Selection
from spark_export.sources.stores import Store
from tests.s3 import BUCKET, S3


class Files:
    """Makes datasets of files.

    Args:
        readers, calls: their threads.
        engine: theirs.
    """

    def __init__(self, readers: ThreadPoolExecutor, calls: ThreadPoolExecutor, engine: Engine) -> None:
        self._readers, self._calls, self._engine = readers, calls, engine

    def dataset(
        self, place: Path | str, file_format: FileFormat = "parquet", *, hive: bool = False, delimiter: str = ",",
        types: Any = None, **store: Any,
    ) -> ArrowDataset:  # fmt: skip
        """A dataset of the files there."""
        url = place if isinstance(place, str) else f"file://{place}"
        return ArrowDataset(
            name="d", description="", store=Store(url, **store), kind=Kind(file_format, delimiter), hive=hive,
            types=types or {}, engine=self._engine, readers=self._readers, threads=self._calls,
        )  # fmt: skip

    def read(self, place: Path | str, file_format: FileFormat = "parquet", selection: Selection | None = None,
             **options: Any) -> Any:  # fmt: skip
        """All rows of the files there."""
        return read(self.dataset(place, file_format, **options).table({}), selection)


def read(table: Table, selection: Selection | None = None) -> Any:
    """The selected rows as one table."""

    async def collect() -> Any:
        async with table.open(selection or Selection()) as source, aclosing(source.batches()) as batches:
            return pa.Table.from_batches([batch async for batch in batches], source.schema)

    return asyncio.run(collect())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Datasets of files."""
    with ThreadPoolExecutor(4) as readers, ThreadPoolExecutor(8) as calls:
        spill = tmp_path_factory.mktemp("spill")
        engine = Engine(
            folder=None, databases={}, memory_bytes=64 * 2**20, query_threads=2, temp_folder=spill, threads=readers
        )
        yield Files(readers, calls, engine)
        engine.close()


def write(folder: Path, texts: dict[str, str]) -> Path:
    """A folder of texts."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """A Parquet file of the columns; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def where(column: str, op: Any, value: Any = None) -> Selection:
    """All columns of the rows of one condition."""
    return Selection(where=(Condition(column=column, op=op, value=value),))


def test_csv_is_text(files: Files, tmp_path: Path) -> None:
    """A CSV value is text as it stands, an empty field null, one in quotes an empty text."""
    write(tmp_path, {"a.csv": '\ufeffid,note\n007,"a\nb"\n1.10,\nNA,""\n1e5,"x, ""y"""\n'})
    assert files.read(tmp_path, "csv").to_pylist() == [
        {"id": "007", "note": "a\nb"}, {"id": "1.10", "note": None}, {"id": "NA", "note": ""},
        {"id": "1e5", "note": 'x, "y"'},
    ]  # fmt: skip


def test_types_of_texts(files: Files, tmp_path: Path) -> None:
    """A text is read as the type that the dataset names, and can then be compared as such."""
    write(tmp_path, {"a.csv": "i;n;d;b;day;t\n7;1.5;0.10;true;2024-01-31;2024-01-31T10:00:00\n;;;;;\n"})
    types = {"i": "integer", "n": "number", "d": "decimal", "b": "boolean", "day": "date", "t": "timestamp"}
    found = files.read(tmp_path, "csv", where("n", "gt", 1), types=types, delimiter=";").to_pylist()
    day = dt.date(2024, 1, 31)
    moment = dt.datetime(2024, 1, 31, 10)  # noqa: DTZ001 - without a zone
    assert [list(row.values()) for row in found] == [[7, 1.5, Decimal("0.1"), True, day, moment]]


def test_json_keeps_texts_and_nesting(files: Files, tmp_path: Path) -> None:
    """A JSON text that looks like a time stays a text, a nested value nested, and a key joins from any file."""
    lines = ['{"t": "2024-01-01", "n": {"t": "2024-01-01T00:00:00", "x": [1]}}', '{"big": 9007199254740993}']
    write(tmp_path, {"a.json": "\n".join(lines), "b.json": '{"late": 1.5}\n', "c.json": ""})
    assert files.read(tmp_path, "json").to_pylist() == [
        {"t": "2024-01-01", "n": {"t": "2024-01-01T00:00:00", "x": [1]}, "big": None, "late": None},
        {"t": None, "n": None, "big": 9007199254740993, "late": None},
        {"t": None, "n": None, "big": None, "late": 1.5},
    ]


def test_key_that_comes_late(files: Files, tmp_path: Path) -> None:
    """A key of JSON beyond the first part of every file breaks the export, unless the dataset names it."""
    write(tmp_path, {"a.json": '{"a": 1}\n' * 200_000 + '{"a": 2, "late": 3}\n'})
    with pytest.raises(SourceUnavailable):
        files.read(tmp_path, "json")
    assert files.read(tmp_path, "json", types={"late": "integer"})["late"].to_pylist()[-1] == 3


def test_compressed_texts(files: Files, tmp_path: Path) -> None:
    """A text whose name says that it is compressed is read as what it holds."""
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    assert files.read(tmp_path, "csv").to_pylist() == [{"a": "1"}]


@pytest.mark.parametrize("ending", ["file", "stream"])
def test_arrow_files_and_streams(files: Files, tmp_path: Path, ending: str) -> None:
    """An Arrow file and an Arrow stream both give their rows, in batches of bounded size."""
    table = pa.table({"x": pa.array(range(40_000))})
    with (pa.ipc.new_file if ending == "file" else pa.ipc.new_stream)(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    found = files.read(tmp_path, "arrow")
    assert found.equals(table)
    assert max(map(len, found.to_batches())) <= 16_384


def test_columns_join_by_name(files: Files, tmp_path: Path) -> None:
    """A column that a file lacks is null there; types of one kind join, whatever order files have them in."""
    write_parquet(tmp_path / "1.parquet", {"a": pa.array([1], pa.int32()), "b": ["x"]})
    write_parquet(tmp_path / "2.parquet", {"c": pa.array(["y"]).dictionary_encode(), "a": pa.array([2**40])})
    assert files.read(tmp_path).to_pylist() == [{"a": 1, "b": "x", "c": None}, {"a": 2**40, "b": None, "c": "y"}]
    assert files.read(tmp_path, selection=where("a", "gt", 5)).to_pylist() == [{"a": 2**40, "b": None, "c": "y"}]


def test_types_that_do_not_join(files: Files, tmp_path: Path) -> None:
    """Files whose columns do not fit each other are refused, with the reason for the log."""
    write_parquet(tmp_path / "1.parquet", {"secret": [1]})
    write_parquet(tmp_path / "2.parquet", {"secret": ["x"]})
    with pytest.raises(SourceUnavailable) as caught:
        files.read(tmp_path)
    assert "secret" not in caught.value.detail
    assert "secret" in str(caught.value.__cause__)


def test_hive_partitions(files: Files, tmp_path: Path) -> None:
    """What folders are named is a column: integers that are written as such, else text; a name may be escaped."""
    for folder, place in (("year=2023/month=01", 1), ("year=2024/month=02", 2), ("year=__HIVE_DEFAULT_PARTITION__", 3)):
        write_parquet(tmp_path / folder / "a.parquet", {"id": [place]})
    write_parquet(tmp_path / "year=-5" / "month=a%2Fb" / "a.parquet", {"id": [4]})
    found = files.read(tmp_path, hive=True, selection=Selection(order_by=(("id", False),))).to_pylist()
    assert [(row["year"], row["month"]) for row in found] == [(2023, "01"), (2024, "02"), (None, None), (-5, "a/b")]
    assert files.read(tmp_path, hive=True, selection=Selection(columns=("year",)))["year"].to_pylist().count(2024) == 1
    assert "year" not in files.read(tmp_path).column_names
    typed = files.read(tmp_path / "year=2024", hive=True, types={"month": "integer"})
    assert typed.to_pylist() == [{"id": 2, "month": 2}]


@pytest.mark.parametrize("file_format", ["csv", "json", "arrow"])
def test_partitions_of_every_format(files: Files, tmp_path: Path, file_format: FileFormat) -> None:
    """A folder's value stands beside the rows of its files, whatever their format, also alone."""
    texts = {"csv": "id\n1\n2\n", "json": '{"id": 1}\n{"id": 2}\n'}
    if file_format == "arrow":
        (tmp_path / "day=2024-01-01").mkdir()
        table = pa.table({"id": [1, 2]})
        with pa.ipc.new_file(tmp_path / "day=2024-01-01/a.arrow", table.schema) as writer:
            writer.write_table(table)
    else:
        write(tmp_path, {"day=2024-01-01/a": texts[file_format]})
    selection = Selection(columns=("day",), where=(Condition(column="day", op="ge", value="2024-01-01"),))
    assert files.read(tmp_path, file_format, selection, hive=True).to_pylist() == [{"day": "2024-01-01"}] * 2
    assert files.read(tmp_path, file_format, Selection(columns=("day",)), hive=True)["day"].to_pylist() == [
        "2024-01-01", "2024-01-01",
    ]  # fmt: skip


def test_what_is_no_file_of_rows(files: Files, tmp_path: Path) -> None:
    """Files and folders whose names begin with `_` or `.` hold no rows."""
    write_parquet(tmp_path / "a.parquet", {"x": [1]})
    write(tmp_path, {"_SUCCESS": "", ".hidden/a.parquet": "none", "_temporary/0/a.parquet": "none", "sub/.crc": "none"})
    assert files.read(tmp_path).to_pylist() == [{"x": 1}]


def test_one_file(files: Files, tmp_path: Path) -> None:
    """A path may name a file."""
    path = write_parquet(tmp_path / "a b#c?%20.parquet", {"x": [1]})
    assert files.read(path).to_pylist() == [{"x": 1}]


def test_files_that_come_and_go(files: Files, tmp_path: Path) -> None:
    """Every export sees the files that there are when it begins."""
    table = files.dataset(tmp_path).table({})
    write_parquet(tmp_path / "1.parquet", {"x": [1]})
    assert read(table).to_pylist() == [{"x": 1}]
    write_parquet(tmp_path / "2.parquet", {"x": [2], "y": [3]})
    assert read(table).to_pylist() == [{"x": 1, "y": None}, {"x": 2, "y": 3}]
    write_parquet(tmp_path / "1.parquet", {"x": ["now longer, and a text"], "y": [0]})
    (tmp_path / "2.parquet").unlink()
    assert read(table).to_pylist() == [{"x": "now longer, and a text", "y": 0}]


def test_order_of_rows(files: Files, tmp_path: Path) -> None:
    """Rows come file by file in the order of names, and within a file as they stand."""
    for name in range(20):
        write_parquet(
            tmp_path / f"{name:02}.parquet", {"x": range(name * 5000, name * 5000 + 5000)}, row_group_size=999
        )
    assert files.read(tmp_path)["x"].to_pylist() == list(range(100_000))


def test_columns_that_are_not_read(files: Files, s3: S3) -> None:
    """Of a Parquet file only the columns asked for, filtered or sorted by are fetched."""
    columns = {"x": range(200_000), "wide": [f"{place:040}" for place in range(200_000)]}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="none", use_dictionary=False)
    s3.write("wide/a.parquet", sink.getvalue())
    selection = Selection(columns=("x",), where=(Condition(column="x", op="ge", value=0),), order_by=(("x", True),))
    assert len(files.read(f"s3://{BUCKET}/wide", selection=selection, endpoint=s3.url)) == 200_000
    assert 0 < s3.read_bytes("wide/a.parquet") < 4_000_000 < sink.tell()


def test_row_groups_that_are_not_read(files: Files, tmp_path: Path) -> None:
    """Of a Parquet file the row groups in which no row can fit are not read: theirs may be broken."""
    path = write_parquet(
        tmp_path / "a.parquet", {"x": range(40_000)}, row_group_size=10_000, compression="none", use_dictionary=False
    )
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 1000)
    assert files.read(tmp_path, selection=where("x", "between", [25_000, 25_001])).to_pylist() == [
        {"x": 25_000}, {"x": 25_001},
    ]  # fmt: skip
    with pytest.raises(SourceUnavailable):
        files.read(tmp_path, selection=where("x", "lt", 15_000))


def test_partitions_that_are_not_read(files: Files, s3: S3) -> None:
    """A file of a folder that cannot fit is not opened, once its columns are known."""
    for year in (2023, 2024):
        sink = io.BytesIO()
        pq.write_table(pa.table({"x": [year]}), sink)
        s3.write(f"hive/year={year}/a.parquet", sink.getvalue())
    table = files.dataset(f"s3://{BUCKET}/hive", hive=True, endpoint=s3.url).table({})
    assert read(table)["year"].to_pylist() == [2023, 2024]
    before = len(s3.asked)
    assert read(table, where("year", "eq", 2024)).to_pylist() == [{"x": 2024, "year": 2024}]
    asked = [key for _, key, _ in s3.asked[before:]]
    assert [key for key in asked if "year=2023" in key] == []
    assert any("year=2024" in key for key in asked)


def test_wrong_values_are_refused_before_a_row_is_read(files: Files, tmp_path: Path) -> None:
    """A filter that does not fit a folder's column is refused as any other is."""
    write_parquet(tmp_path / "month=01" / "a.parquet", {"id": [1]})
    with pytest.raises(InvalidField) as caught:
        files.read(tmp_path, hive=True, selection=where("month", "eq", 1))
    assert caught.value.field == "where[0].value"


@pytest.mark.parametrize("op", ["all", "order", "filter"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
@pytest.mark.parametrize("file_format", ["parquet", "csv", "json", "arrow"])
def test_files_harmed_while_they_are_read(
    files: Files, tmp_path: Path, file_format: FileFormat, harm: str, op: str
) -> None:
    """A file that is cut off or deleted while the one before it is read breaks the export, on every way."""
    rows = 40_000
    for name in ("1", "2"):
        path = tmp_path / name
        if file_format == "parquet":
            write_parquet(path, {"x": range(rows)})
        elif file_format == "arrow":
            table = pa.table({"x": range(rows)})
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=5000)
        else:
            line = "{}\n" if file_format == "csv" else '{{"x": {}}}\n'
            head = "x\n" if file_format == "csv" else ""
            path.write_text(head + "".join(map(line.format, range(rows))))
    table = files.dataset(tmp_path, file_format, types={"x": "integer"}).table({})
    selection = {"all": Selection(), "order": Selection(order_by=(("x", False),)), "filter": where("x", "ge", 0)}[op]

    async def harmed() -> int:
        survived = 0
        surveyed = ArrowDataset.survey

        def survey_then_harm(self: ArrowDataset, calls: stores.StoreCalls) -> Any:
            found = surveyed(self, calls)
            second = tmp_path / "2"
            if harm == "gone":
                second.unlink()
            else:
                whole = second.read_bytes()
                second.write_bytes(whole[: whole[: len(whole) // 2].rfind(b"\n") + 1])
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ArrowDataset, "survey", survey_then_harm)
            async with table.open(selection) as source, aclosing(source.batches()) as batches:
                async for batch in batches:
                    survived += len(batch)
        return survived

    with pytest.raises(SourceUnavailable) as caught:
        asyncio.run(harmed())
    assert caught.value.detail == "the dataset's data cannot be read; the log tells more"
    assert caught.value.__cause__ is not None


def failure(files: Files, url: str, **store: Any) -> SourceUnavailable:
    """What reading fails with."""
    with pytest.raises(SourceUnavailable) as caught:
        files.read(url, **store)
    assert caught.value.detail == "the dataset's data cannot be read; the log tells more"
    assert caught.value.__cause__ is not None
    return caught.value


def test_nothing_there(files: Files, s3: S3, tmp_path: Path) -> None:
    """A bucket, prefix or folder that is missing or empty, or may not be read, is unavailable; the log says why."""
    s3.write("denied/a.parquet", bytes(100))
    s3.broken.add("denied/a.parquet")
    for place, cause in (("nobucket/x", "BUCKET"), (f"{BUCKET}/none", "none"), (f"{BUCKET}/denied", "ACCESS_DENIED")):
        error = failure(files, f"s3://{place}", endpoint=s3.url)
        assert cause in str(error.__cause__)
        assert "testing" not in str(error.__cause__)
    failure(files, f"file://{tmp_path}/none")
    failure(files, f"file://{tmp_path}")


def test_no_endpoint(files: Files) -> None:
    """An endpoint that refuses connections is unavailable within seconds."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        failure(files, f"s3://{BUCKET}/x", endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}", region="us-east-1")
    assert time.monotonic() - begun < 10


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections and says nothing; it hangs up in the end, so that no thread is left."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_silent_endpoint_is_left(files: Files, silent: str, scheme: str) -> None:
    """Who waits for an endpoint that says nothing leaves it within a second."""
    table = files.dataset(f"{scheme}://{BUCKET}/x", endpoint=silent, anonymous=True).table({})

    async def leave() -> float:
        async def reads() -> None:
            async with table.open(Selection()):
                pass

        task = asyncio.create_task(reads())
        await asyncio.wait({task}, timeout=0.2)
        assert not task.done()
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert asyncio.run(leave()) < 1


def test_silent_endpoint_is_given_up(files: Files, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store keeps an export waiting for longer than it may."""
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 0.1)
    error = failure(files, f"s3://{BUCKET}/x", endpoint=silent, anonymous=True)
    assert isinstance(error.__cause__, TimeoutError)


def test_lines_of_another_shape(files: Files, tmp_path: Path) -> None:
    """A ragged line of CSV and a broken line of JSON break the export."""
    write(tmp_path, {"csv/a.csv": "a,b\n" + "1,2\n" * 300_000 + "1\n", "json/a.json": '{"a": 1}\n' * 200_000 + '{"a"'})
    failure(files, f"file://{tmp_path}/csv", file_format="csv")
    failure(files, f"file://{tmp_path}/json", file_format="json")


def test_total_rows(files: Files, tmp_path: Path) -> None:
    """Parquet files say how many rows there are, before one is read; filtered, nobody knows."""
    write_parquet(tmp_path / "1.parquet", {"x": range(30)})
    write_parquet(tmp_path / "2.parquet", {"x": range(12)})
    table = files.dataset(tmp_path).table({})

    async def total(selection: Selection) -> int | None:
        async with table.open(selection) as source:
            return source.total_rows

    found = [asyncio.run(total(each)) for each in (Selection(), Selection(limit=40), where("x", "lt", 3))]
    assert found == [42, 40, None]


def test_json_rows_survive(files: Files, tmp_path: Path) -> None:
    """Every value of JSON lines comes out as Python's own reader has it."""
    texts = ["", "ü", 'a\n"b",']
    rows = [{"id": each, "text": texts[each % 3], "x": each / 7 if each % 5 else None} for each in range(50_000)]
    write(tmp_path, {"a.json": "".join(json.dumps(row) + "\n" for row in rows)})
    assert files.read(tmp_path, "json").to_pylist() == rows
