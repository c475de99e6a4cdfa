"""What every source keeps to: rows in the body, bodies that are rows, the built-in dataset, SQL, servers and files."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from postgres import Postgres
from pyarrow import csv

from spark_export.errors import Forbidden, InvalidField, SourceError, SourceUnavailable
from spark_export.model import Condition
from spark_export.sources.arrow import ArrowDataset
from spark_export.sources.base import Table
from spark_export.sources.duckdb import Engine, SqlDataset
from spark_export.sources.files import FileFormat, Kind
from spark_export.sources.inline import InlineTable
from spark_export.sources.parameters import Parameter
from spark_export.sources.postgres.dataset import Databases, PostgresDataset
from spark_export.sources.postgres.template import Template
from spark_export.sources.query import COUNTED_LIMIT
from spark_export.sources.selection import Selection
from spark_export.sources.stores import Store
from spark_export.sources.synthetic import TradesDataset, iter_trades
from spark_export.sources.upload.csv import CsvForm
from spark_export.sources.upload.table import BodyForm, UploadTable
from tests.s3 import BUCKET, S3

MANY = 40_000
COLUMNS = ("id", "symbol", "price", "note")


@dataclass(frozen=True)
class Kit:
    """A source of a given number of rows, and the same rows from somewhere else.

    Attributes:
        make: a table of so many rows that nobody has opened.
    """

    make: Callable[[int], Table]
    _tables: dict[int, Table] = field(default_factory=dict)

    def table(self, rows: int) -> Table:
        """A table of so many rows that may have been opened, and read to its end, before."""
        if rows not in self._tables:
            self._tables[rows] = self.make(rows)
        return self._tables[rows]

    @staticmethod
    def expected(rows: int) -> Any:
        """The rows as an Arrow table, texts plain."""
        table = pa.Table.from_batches(iter_trades(rows, 1), next(iter_trades(1, 1)).schema).select(COLUMNS)
        return table.cast(pa.schema([("id", pa.int64()), ("symbol", pa.string()), ("price", pa.float64()),
                                     ("note", pa.string())]))  # fmt: skip


class Threads(ThreadPoolExecutor):
    """Threads that know how many calls run in them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._lock = threading.Lock()
        self.running = 0
        self.most = 0

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Any:
        """Run it, counted."""

        def counted() -> Any:
            with self._lock:
                self.running += 1
                self.most = max(self.most, self.running)
            try:
                return work(*arguments, **named)
            finally:
                with self._lock:
                    self.running -= 1

        return super().submit(counted)


@pytest.fixture(scope="module")
def threads() -> Iterator[Threads]:
    """Threads for all tests of the module."""
    with Threads(4) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def engine(threads: Threads, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that may read the folder."""
    made = Engine(
        folder=folder, databases={}, memory_bytes=256 * 2**20, query_threads=2,
        temp_folder=tmp_path_factory.mktemp("spill"), threads=threads,
    )  # fmt: skip
    yield made
    made.close()


def inline_table(rows: int, threads: Threads, engine: Engine) -> Table:
    """The rows as a body's JSON."""
    text = json.dumps(Kit.expected(rows).to_pylist(), ensure_ascii=False).encode()
    if rows == 0:
        return InlineTable(b"[]", COLUMNS, threads, engine)
    return InlineTable(text, None, threads, engine)


def sql_table(rows: int, folder: Path, engine: Engine) -> Table:
    """The rows as a Parquet file."""
    path = folder / f"rows-{rows}.parquet"
    if not path.exists():
        pq.write_table(Kit.expected(rows), path, row_group_size=10_000)
    sql = f"SELECT * FROM read_parquet('{path}') WHERE id <= $most ORDER BY id -- the end"  # noqa: S608 - a test's own
    dataset = SqlDataset("d", "", (Parameter("most", "integer", rows),), sql, None, engine)
    return dataset.table({})


@pytest.fixture(scope="module")
def databases(threads: Threads) -> Iterator[Databases]:
    """PostgreSQL's pools."""
    made = Databases(4, None, threads)
    yield made
    made.close()


def postgres_table(rows: int, server: Postgres, databases: Databases) -> Table:
    """The rows as a table of PostgreSQL's."""
    name = f"rows_{rows}"
    if server.sql(f"SELECT to_regclass('{name}')").isspace():
        server.sql(f"CREATE TABLE {name} (id bigint, symbol text, price double precision, note text)")
        server.load(name, Kit.expected(rows).to_pylist())
    sql = f"SELECT * FROM {name} WHERE id <= $most ORDER BY id; -- the end"  # noqa: S608 - a test's own
    parameters = (Parameter("most", "integer", rows),)
    pool = databases.pool(server.dsn)
    return PostgresDataset("d", "", parameters, Template.parse(sql), None, pool, databases).table({})


@pytest.fixture(scope="module")
def stores() -> Iterator[Threads]:
    """Threads for stores' calls."""
    with Threads(8) as made:
        yield made


def write_parts(rows: int, file_format: FileFormat, write: Callable[[str, bytes], object]) -> None:
    """The rows in three files of one folder, in order, one without a row among them."""
    table = Kit.expected(rows)
    for name, part in (("1", table.slice(0, rows // 3)), ("2", table.slice(0, 0)), ("3", table.slice(rows // 3))):
        write(f"{name}.{file_format}", bytes_of(part, file_format))


def bytes_of(table: Any, file_format: FileFormat) -> bytes:
    """A file of the rows."""
    sink = pa.BufferOutputStream()
    if file_format == "parquet":
        pq.write_table(table, sink, row_group_size=10_000)
    elif file_format == "csv":
        csv.write_csv(table, sink)
    elif file_format == "arrow":
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        sink.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode())
    return bytes(sink.getvalue())


TEXT_TYPES: dict[str, Any] = {"id": "integer", "price": "number", "symbol": "text", "note": "text"}


def arrow_table(url: str, file_format: FileFormat, threads: Threads, stores: Threads, engine: Engine,
                **options: Any) -> Table:  # fmt: skip
    """The rows of all files there."""
    types = options.pop("types", TEXT_TYPES if file_format in {"csv", "json"} else {})
    hive = options.pop("hive", False)
    store = Store(url, **options)
    return ArrowDataset(
        name="d", description="", store=store, kind=Kind(file_format), hive=hive, types=types,
        engine=engine, readers=threads, threads=stores,
    ).table({})  # fmt: skip


FOLDERS = ("folder parquet", "folder csv", "folder json", "folder arrow")


def folder_table(rows: int, file_format: FileFormat, folder: Path, *made_of: Any) -> Table:
    """The rows in files of a folder."""
    place = folder / f"{file_format}-{rows}"
    if not place.exists():
        place.mkdir()
        write_parts(rows, file_format, lambda name, data: (place / name).write_bytes(data))
    return arrow_table(f"file://{place}", file_format, *made_of)


def s3_table(rows: int, s3: S3, *made_of: Any) -> Table:
    """The rows in Parquet files of a bucket."""
    write_parts(rows, "parquet", lambda name, data: s3.write(f"rows-{rows}/{name}", data))
    return arrow_table(f"s3://{BUCKET}/rows-{rows}/", "parquet", *made_of, endpoint=s3.url)


def write_ndjson(rows: Any, path: Path) -> None:
    """The rows, an object a line; a missing value is a missing key."""
    lines = ({name: value for name, value in row.items() if value is not None} for row in rows.to_pylist())
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def write_csv(rows: Any, path: Path) -> None:
    """The rows below a header, an empty text in quotes."""
    csv.write_csv(rows, path)


def write_arrow(rows: Any, path: Path) -> None:
    """The rows as an Arrow stream, texts of one column by a dictionary."""
    place = rows.schema.get_field_index("symbol")
    coded = rows.set_column(place, "symbol", rows["symbol"].dictionary_encode())
    with pa.ipc.new_stream(path, coded.schema) as stream:
        stream.write_table(coded)


def write_parquet(rows: Any, path: Path) -> None:
    """The rows as a Parquet file of several row groups."""
    pq.write_table(rows, path, row_group_size=5000)


UPLOADS: dict[str, tuple[BodyForm, Callable[[Any, Path], None]]] = {
    "ndjson": (BodyForm("ndjson", names=COLUMNS), write_ndjson),
    "csv": (BodyForm("csv", csv=CsvForm(types={"id": "integer", "price": "number"})), write_csv),
    "arrow": (BodyForm("arrow"), write_arrow),
    "parquet": (BodyForm("parquet"), write_parquet),
}


def upload_table(kind: str, rows: int, folder: Path, threads: Threads, engine: Engine) -> Table:
    """The rows as a body of their own."""
    form, write = UPLOADS[kind]
    body = folder / f"body-{kind}-{rows}" / "body"
    if not body.exists():
        body.parent.mkdir()
        write(Kit.expected(rows), body)
    return UploadTable(body, form, threads, engine)


@pytest.fixture(scope="module", params=["inline", "trades", "sql", *UPLOADS, "postgres", *FOLDERS, "s3"])
def kit(request: pytest.FixtureRequest, threads: Threads, stores: Threads, engine: Engine, folder: Path) -> Kit:
    """One source after the other."""
    kind, _, file_format = request.param.partition(" ")
    if kind == "folder":
        return Kit(lambda rows: folder_table(rows, file_format, folder, threads, stores, engine))
    if kind == "postgres":
        server, databases = request.getfixturevalue("postgres"), request.getfixturevalue("databases")
        return Kit(lambda rows: postgres_table(rows, server, databases))
    if kind == "s3":
        s3 = request.getfixturevalue("s3")
        return Kit(lambda rows: s3_table(rows, s3, threads, stores, engine))
    made: dict[str, Callable[[int], Table]] = {
        "inline": lambda rows: inline_table(rows, threads, engine),
        "trades": lambda rows: TradesDataset(threads, engine).table({"rows": rows}),
        "sql": lambda rows: sql_table(rows, folder, engine),
    }
    for kind in UPLOADS:
        made[kind] = partial(upload_table, kind, folder=folder, threads=threads, engine=engine)
    return Kit(made[request.param])


def plain(table: Any) -> Any:
    """The table with its texts plain."""
    fields = [
        (field.name, pa.string() if pa.types.is_dictionary(field.type) or pa.types.is_null(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


async def batches_of(table: Table, selection: Selection) -> AsyncIterator[Any]:
    """The batches of the selected rows."""
    async with table.open(selection) as source, aclosing(source.batches()) as batches:
        async for batch in batches:
            assert batch.schema == source.schema
            yield batch


def read(table: Table, selection: Selection | None = None) -> Any:
    """The selected rows as one table."""
    chosen = selection or Selection(columns=COLUMNS)

    async def collect() -> Any:
        async with table.open(chosen) as source, aclosing(source.batches()) as batches:
            return pa.Table.from_batches([batch async for batch in batches], source.schema)

    return plain(asyncio.run(collect()))


@pytest.mark.parametrize("rows", [0, 1, 2, 4096, 4097, MANY])
def test_all_rows(kit: Kit, rows: int) -> None:
    """Every row comes once, in order, of any number of rows."""
    made = read(kit.make(rows))
    assert made.column_names == list(COLUMNS)
    assert made.to_pylist() == Kit.expected(rows).to_pylist()


def test_many_batches(kit: Kit) -> None:
    """Many rows come in many batches of bounded size, none of them empty."""

    async def sizes() -> list[int]:
        return [len(batch) async for batch in batches_of(kit.make(MANY), Selection())]

    found = asyncio.run(sizes())
    assert sum(found) == MANY
    assert len(found) >= 2
    assert 0 < min(found) <= max(found) <= 16_384


def test_total_rows(kit: Kit) -> None:
    """The number of rows is right where it is known, a limit included."""

    async def totals() -> list[int | None]:
        found = []
        for limit in (None, 0, 10, 5000):
            async with kit.table(100).open(Selection(limit=limit)) as source:
                found.append(source.total_rows)
        return found

    assert all(total in {None, right} for total, right in zip(asyncio.run(totals()), (100, 0, 10, 100), strict=True))


def test_hidden_columns(kit: Kit) -> None:
    """What a caller may not see is not there: not among all columns, nor to be named, filtered or sorted by."""
    visible = frozenset({"id", "note", "nothing"})
    found = read(kit.table(10), Selection(visible=visible))
    assert set(found.column_names) == {"id", "note"}
    for selection in (
        Selection(columns=("id", "price"), visible=visible),
        Selection(where=(Condition(column="price", op="gt", value=0),), visible=visible),
        Selection(order_by=(("price", False),), visible=visible),
    ):
        with pytest.raises(InvalidField) as caught:
            read(kit.table(10), selection)
        assert caught.value.detail == "no column 'price'; there are 'id', 'note'"
    with pytest.raises(Forbidden):
        read(kit.table(10), Selection(visible=frozenset({"nothing"})))


SELECTIONS = {
    "columns": (Selection(columns=("note", "id")), "SELECT note, id FROM rows ORDER BY id"),
    "limit 0": (Selection(columns=COLUMNS, limit=0), "SELECT * FROM rows LIMIT 0"),
    "limit 1": (Selection(columns=COLUMNS, limit=1), "SELECT * FROM rows ORDER BY id LIMIT 1"),
    "limit 5000": (Selection(columns=("id",), limit=5000), "SELECT id FROM rows ORDER BY id LIMIT 5000"),
    "limit beyond": (Selection(columns=("id",), limit=2**62), "SELECT id FROM rows ORDER BY id"),
    "order": (
        Selection(columns=COLUMNS, order_by=(("symbol", True), ("id", False))),
        "SELECT * FROM rows ORDER BY symbol DESC, id",
    ),
    "order, missing last": (
        Selection(columns=("note", "id"), order_by=(("note", True), ("id", True)), limit=9000),
        "SELECT note, id FROM rows ORDER BY note DESC NULLS LAST, id DESC LIMIT 9000",
    ),
    "order by a column that is left out": (
        Selection(columns=("id",), order_by=(("price", False), ("id", False)), limit=50),
        "SELECT id FROM rows ORDER BY price, id LIMIT 50",
    ),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(kit: Kit, name: str) -> None:
    """Columns, order and limit give what DuckDB gives when it is asked in its own words."""
    selection, sql = SELECTIONS[name]
    rows = Kit.expected(12_000)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        expected = connection.sql(sql).to_arrow_table()
    made = read(kit.table(12_000), selection)
    assert made.column_names == expected.column_names
    assert made.to_pylist() == expected.to_pylist()


CONDITIONS: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
    "eq": ("symbol", "THYAO", lambda rows: pc.equal(rows["symbol"], "THYAO")),
    "ne": ("symbol", "THYAO", lambda rows: pc.not_equal(rows["symbol"], "THYAO")),
    "lt": ("price", 100, lambda rows: pc.less(rows["price"], 100)),
    "le": ("id", 17, lambda rows: pc.less_equal(rows["id"], 17)),
    "gt": ("price", 63_999.5, lambda rows: pc.greater(rows["price"], 63_999.5)),
    "ge": ("id", "1990", lambda rows: pc.greater_equal(rows["id"], 1990)),
    "in": ("symbol", ["GARAN", "none"], lambda rows: pc.is_in(rows["symbol"], pa.array(["GARAN"]))),
    "between": ("id", [5, 8], lambda rows: pc.and_(pc.greater_equal(rows["id"], 5), pc.less_equal(rows["id"], 8))),
    "like": ("note", "%bölündü%", lambda rows: pc.match_substring(rows["note"], "bölündü")),
    "is_null": ("note", None, lambda rows: pc.is_null(rows["note"])),
    "not_null": ("note", None, lambda rows: pc.is_valid(rows["note"])),
}


@pytest.mark.parametrize("op", CONDITIONS)
def test_conditions(kit: Kit, op: Any) -> None:
    """Each operator keeps the rows that Arrow's own filter keeps, missing values by SQL's rule."""
    column, value, mask = CONDITIONS[op]
    where = (Condition(column=column, op=op, value=value),)
    rows = Kit.expected(2000)
    expected = rows.filter(mask(rows))
    made = read(kit.table(2000), Selection(columns=COLUMNS, where=where, order_by=(("id", False),)))
    assert made.to_pylist() == expected.to_pylist()
    assert 0 < len(expected) < 2000


def test_conditions_join(kit: Kit) -> None:
    """Conditions are joined by AND, also on columns that are left out."""
    where = (Condition(column="symbol", op="eq", value="AAPL"), Condition(column="id", op="le", value=500))
    expected = [row["id"] for row in Kit.expected(500).to_pylist() if row["symbol"] == "AAPL"]
    made = read(kit.table(2000), Selection(columns=("id",), where=where, order_by=(("id", False),)))
    assert made["id"].to_pylist() == expected


UNKNOWN = {
    "columns[1]": Selection(columns=("id", "zz")),
    "where[1].column": Selection(
        where=(Condition(column="id", op="not_null"), Condition(column="zz", op="eq", value=1))
    ),
    "order_by[0]": Selection(order_by=(("zz", False),)),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_column(kit: Kit, path: str) -> None:
    """A column that is not there is refused with its path in the request."""
    with pytest.raises(InvalidField, match="no column 'zz'") as caught:
        read(kit.table(10), UNKNOWN[path])
    assert caught.value.field == path


@pytest.mark.parametrize(
    ("column", "op", "value", "path"),
    [
        ("id", "eq", "abc", "where[0].value"),
        ("id", "in", [1, "x"], "where[0].value[1]"),
        ("id", "like", "1%", "where[0].op"),
        ("symbol", "eq", 5, "where[0].value"),
        ("price", "gt", True, "where[0].value"),
    ],
)
def test_value_of_another_type(kit: Kit, column: str, op: Any, value: Any, path: str) -> None:
    """A value that the column's type does not have is refused with its path."""
    with pytest.raises(InvalidField) as caught:
        read(kit.table(10), Selection(where=(Condition(column=column, op=op, value=value),)))
    assert caught.value.field == path


INJECTIONS = [
    "' OR 1=1 --",
    "'; DROP TABLE rows; --",
    '" OR ""="',
    "id) FROM rows; SELECT (1",
    "$__where_0_0",
    "x'; ATTACH 'evil.db'; --",
    "\\' OR TRUE",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_values(kit: Kit, text: str) -> None:
    """SQL in a value is a text that no row has."""
    for op, value in (("eq", text), ("in", [text, text]), ("like", text)):
        where = (Condition(column="symbol", op=op, value=value),)  # type: ignore[arg-type]
        assert len(read(kit.table(50), Selection(where=where))) == 0


@pytest.mark.parametrize("text", [*INJECTIONS, "ID", "id ", "rowid", "*", "1", "count(*)"])
def test_sql_in_names(kit: Kit, text: str) -> None:
    """SQL in a column's name is a name that no table has, everywhere a name can stand."""
    for selection in (
        Selection(columns=(text,)),
        Selection(order_by=((text, True),)),
        Selection(where=(Condition(column=text, op="is_null"),)),
    ):
        with pytest.raises(InvalidField, match="no column"):
            read(kit.table(5), selection)


def test_closed_early(kit: Kit, threads: Threads) -> None:
    """Closing after one batch leaves no call running in a thread."""

    async def first_only() -> int:
        async with kit.make(MANY).open(Selection(columns=COLUMNS)) as source:
            batches = source.batches()
            first = await anext(batches)
            await batches.aclose()
        return len(first)

    threads.most = 0
    assert asyncio.run(first_only()) > 0
    assert (threads.running, threads.most) == (0, 1)


def test_never_read(kit: Kit, threads: Threads) -> None:
    """A source that is opened and never read ends cleanly."""

    async def open_only() -> None:
        async with kit.make(10).open(Selection(where=(Condition(column="id", op="gt", value=1),))):
            pass

    asyncio.run(open_only())
    assert threads.running == 0


def test_cancelled_while_reading(kit: Kit, threads: Threads) -> None:
    """Cancelling a reader after any number of turns of the loop ends it, and no call runs on."""

    async def cancel_after(turns: int) -> None:
        async def reads() -> None:
            async for _ in batches_of(kit.make(MANY), Selection(columns=COLUMNS)):
                pass

        task = asyncio.create_task(reads())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await task

    for turns in (0, 1, 2, 5):
        asyncio.run(cancel_after(turns))
        assert threads.running == 0


ENDLESS = "SELECT sum(sqrt(a.range) * sin(b.range)) AS x FROM range(10_000_000_000) a, range(1000) b"
SLOW_TO_LAST = "SELECT range AS x FROM range(10_000_000_000) WHERE range < 20000 OR sin(sqrt(range)) > 2"


@pytest.mark.parametrize("sql", [ENDLESS, SLOW_TO_LAST], ids=["before the first batch", "after the first batch"])
def test_query_is_interrupted(engine: Engine, threads: Threads, sql: str) -> None:
    """A query that computes for hours ends within a second of its reader's cancellation."""
    dataset = SqlDataset("slow", "", (), sql, None, engine)

    async def cancelled() -> float:
        started = asyncio.Event()

        async def reads() -> None:
            async with dataset.table({}).open(Selection()) as source, aclosing(source.batches()) as batches:
                async for _ in batches:
                    started.set()

        task = asyncio.create_task(reads())
        async with asyncio.timeout(20):
            while not (threads.running if sql == ENDLESS else started.is_set()):  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0)
        await asyncio.sleep(0)  # the reader asks for the batch that never comes
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert asyncio.run(cancelled()) < 1
    assert threads.running == 0


def run_sql(engine: Engine, sql: str, params: tuple[Parameter, ...] = (), given: Any = None) -> Any:
    """The rows of a dataset of that SQL."""
    return read(SqlDataset("d", "", params, sql, None, engine).table(given or {}), Selection())


@pytest.mark.parametrize(
    "sql",
    ["SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM nowhere",
     "SELECT * FROM read_text('https://example.com/')"],
)  # fmt: skip
def test_engine_reads_its_folder_only(engine: Engine, sql: str) -> None:
    """What lies outside of the folder cannot be read, and the error tells nothing of it."""
    with pytest.raises(SourceUnavailable) as caught:
        run_sql(engine, sql)
    assert "passwd" not in caught.value.detail


def test_query_that_fails_midway(engine: Engine) -> None:
    """A query that fails after some batches raises our error, not the engine's."""
    sql = "SELECT CASE WHEN range < 100000 THEN 1 ELSE CAST('x' || range AS INT) END AS x FROM range(200000)"
    with pytest.raises(SourceError):
        run_sql(engine, sql)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [("integer", "9007199254740993", 9_007_199_254_740_993), ("text", "'; DROP TABLE x; --", "'; DROP TABLE x; --"),
     ("boolean", True, True), ("number", "0.1", 0.1)],
)  # fmt: skip
def test_parameters_are_bound(engine: Engine, type_: Any, text: Any, value: Any) -> None:
    """A parameter's value arrives as it was given, in its type."""
    made = run_sql(engine, "SELECT $p AS x", (Parameter("p", type_, required=True),), {"p": text})
    assert made.to_pylist() == [{"x": value}]


@pytest.mark.parametrize("limit", [COUNTED_LIMIT - 1, COUNTED_LIMIT, COUNTED_LIMIT + 1, COUNTED_LIMIT + 16_384, 10**9])
@pytest.mark.parametrize("order_by", [(), (("x", True),)])
def test_large_limits(engine: Engine, limit: int, order_by: tuple[tuple[str, bool], ...]) -> None:
    """A limit is kept to the row, whether DuckDB is told of it or its rows are counted."""
    rows = 150_000
    assert rows > COUNTED_LIMIT + 16_384
    dataset = SqlDataset("d", "", (), "SELECT range AS x FROM range(150000)", None, engine)
    made = read(dataset.table({}), Selection(limit=limit, order_by=order_by)).column("x").to_pylist()
    expected = list(range(rows))[:: -1 if order_by else 1][:limit]
    assert made == expected
