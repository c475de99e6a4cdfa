"""The service on a real PostgreSQL: its values, its limits, its failures, and what is left on the server."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from postgres import PASSWORD, Postgres, running_postgres

from tests.integration.conftest import COMMAND, Server, Start, free_port, until

ENDLESS = "SELECT count(*) AS n FROM generate_series(1, 1000000000000) i"
STREAM = "SELECT i, md5(i::text) AS h FROM (SELECT generate_series(1, 1000000000) AS i) AS s"
"""Its rows come as they are made: a function in FROM makes all of them first."""
DATASETS = {
    "fills": ("SELECT * FROM fills", {}),
    "since": ("SELECT id, note FROM fills WHERE id >= $least AND note <> $note -- $no", {
        "least": "integer", "note": "text"}),
    "echo": ("""SELECT $t AS t, $i AS i, $n AS n, $d AS d, $b AS b, $day AS day, $ts AS ts, '$no' AS "$neither",
                $$ $no $$ AS quoted /* $no /* $no */ $no */""", {
        "t": "text", "i": "integer", "n": "number", "d": "decimal", "b": "boolean", "day": "date", "ts": "timestamp"}),
    "byid": ("SELECT $id::uuid AS id", {"id": "text"}),
    "endless": (ENDLESS, {}),
    "stream": (STREAM, {}),
    "midway": ("SELECT i, 1 / (200000 - i) AS x FROM generate_series(1, 300000) i", {}),
    "early": ("SELECT 1 / 0 AS x", {}),
    "writes": ("SELECT write_fill() AS x", {}),
    "missing": ("SELECT * FROM no_such_table", {}),
    "twice": ("SELECT 1 AS a, 2 AS a, 3", {}),
}  # fmt: skip
LIMITED: dict[str, tuple[str, dict[str, str]]] = {"slow": (ENDLESS, {}), "slowly": (STREAM, {})}
TABLES = """
    CREATE TABLE fills (id bigint, price numeric, at timestamptz, day date, note text, side text, ok boolean);
    INSERT INTO fills SELECT i, i * 0.5, timestamptz '2024-01-01 00:00Z' + i * interval '1 hour', date '2024-01-01' + i,
        CASE WHEN i % 10 = 0 THEN NULL ELSE 'not ' || i END, (array['buy', 'sell', 'Buy', 'çok'])[1 + i % 4], i % 3 = 0
        FROM generate_series(1, 1000) i;
    CREATE FUNCTION write_fill() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO fills (id) VALUES (0) RETURNING 1';
"""
HOSTILE = [
    "'", "''", "\\", "\\'", "'; DROP TABLE fills; --", "$$", "$1", "${x}", "$$; DROP TABLE fills; $$", "%s %", "\u2019",
    "E'\\x27'", "a\nb\r\n\t", "/* ", " -- ", '"', "😀", "\x01\x7f", "x" * 5000, "NULL", "", "\ufeff",
]  # fmt: skip


def write_datasets(folder: Path, datasets: dict[str, tuple[str, dict[str, str]]], more: str = "") -> str:
    """A datasets file; each parameter must be given."""
    tables = []
    for name, (sql, params) in datasets.items():
        tables.append(f"[datasets.{name}]\nengine = 'postgres'\ndsn_env = 'BOOK_DSN'\nsql = {json.dumps(sql)}\n{more}")
        tables += [f"[datasets.{name}.params.{each}]\ntype = '{type_}'" for each, type_ in params.items()]
    (folder / "datasets.toml").write_text("\n".join(tables), encoding="utf-8")
    return str(folder / "datasets.toml")


@pytest.fixture(scope="module")
def book() -> Iterator[Postgres]:
    """A server with a table."""
    with running_postgres() as server:
        server.sql(TABLES)
        yield server


@pytest.fixture(scope="module")
def server(book: Postgres, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service on it."""
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_DSN", book.dsn)
        return start(DATASETS=write_datasets(folder, DATASETS), MAX_CONCURRENT="3", LOG_FORMAT="json")


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    """The file's rows."""
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, kind and field of a problem."""
    found = answer.json()
    return answer.status_code, found["type"].rpartition(":")[2], found.get("field")


def test_parameters(server: Server) -> None:
    """A parameter arrives in its type; what looks like one in strings and comments is none."""
    given = {"t": "x", "i": 9007199254740993, "n": 0.1, "d": "1.10", "b": True, "day": "2024-02-29",
             "ts": "2024-01-01T03:00:00+03:00"}  # fmt: skip
    assert rows(server.export({"dataset": "echo", "params": given})) == [
        {"t": "x", "i": "9007199254740993", "n": "0.1", "d": "1.10", "b": "true", "day": "2024-02-29",
         "ts": "2024-01-01T00:00:00Z", "$neither": "$no", "quoted": " $no "}
    ]  # fmt: skip
    nothing = rows(server.export({"dataset": "echo", "params": {}, "columns": list(given)}))
    assert nothing == [dict.fromkeys(given, "")]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts(server: Server, book: Postgres, text: str) -> None:
    """Any text is itself as a parameter, and finds nothing as a filter's value, with any operator."""
    options = {"formulas": "keep", "null": "<missing>"}
    answer = server.export({"dataset": "echo", "params": {"t": text}, "columns": ["t", "i"], "csv": options})
    assert rows(answer) == [{"t": text, "i": "<missing>"}]
    for op, value in (("eq", text), ("in", [text, text]), ("between", [text, text])):
        where = [{"column": "note", "op": op, "value": value}]
        assert rows(server.export({"dataset": "fills", "where": where})) == []
    assert book.sql("SELECT count(*) FROM fills").strip() == "1000"


def test_texts_that_cannot_be(server: Server) -> None:
    """A NUL, which PostgreSQL's texts do not hold, is refused with its place."""
    answer = server.export({"dataset": "echo", "params": {"t": "a\0b"}})
    assert problem(answer) == (422, "invalid-field", "params.t")
    answer = server.export({"dataset": "fills", "where": [{"column": "note", "op": "in", "value": ["a", "\0"]}]})
    assert problem(answer) == (422, "invalid-field", "where[0].value[1]")


def test_parameter_that_does_not_read(server: Server) -> None:
    """A text that the query cannot read is the caller's to mend."""
    assert problem(server.export({"dataset": "byid", "params": {"id": "zz"}})) == (422, "invalid-field", "params")


@pytest.mark.parametrize(
    ("column", "op", "value", "sql"),
    [
        ("price", "eq", 0.5, "price = 0.5"),
        ("price", "in", ["1.5", 2, 7.5], "price IN (1.5, 2, 7.5)"),
        ("id", "gt", 990.5, "id > 990.5"),
        ("id", "lt", 10**30, "true"),
        ("at", "lt", "2024-01-01T05:00:00+03:00", "at < '2024-01-01 02:00Z'"),
        ("at", "ge", "2024-02-01", "at >= '2024-02-01 00:00Z'"),
        ("day", "between", ["2024-01-05", "2024-01-07"], "id BETWEEN 4 AND 6"),
        ("ok", "eq", True, "ok"),
        ("ok", "eq", "false", "NOT ok"),
        ("note", "like", "not 1_", "id BETWEEN 11 AND 19"),
        ("note", "like", "not\\ 1", "false"),
        ("note", "is_null", None, "id % 10 = 0"),
        ("side", "lt", "buy", "side = 'Buy'"),
        ("side", "ge", "sell", "side IN ('sell', 'çok')"),
    ],
)
def test_filters(server: Server, book: Postgres, column: str, op: str, value: object, sql: str) -> None:
    """A filter keeps what its SQL keeps."""
    where = [{"column": column, "op": op} | ({} if value is None else {"value": value})]
    made = rows(server.export({"dataset": "fills", "columns": ["id"], "where": where, "order_by": ["id"]}))
    expected = book.sql(f"SELECT id FROM fills WHERE {sql} ORDER BY id").split()  # noqa: S608 - a test's own
    assert [row["id"] for row in made] == expected


@pytest.mark.parametrize(
    ("column", "op", "value", "field"),
    [
        ("day", "eq", "tomorrow or so", "where[0].value"),
        ("at", "in", ["2024-01-01", *["2024-01-02"] * 50, "zz"], "where[0].value[51]"),
        ("price", "eq", "1;2", "where[0].value"),
        ("id", "eq", 10**40, "where[0].value"),
        ("ok", "eq", 1, "where[0].value"),
        ("note", "eq", 1, "where[0].value"),
        ("day", "like", "2024%", "where[0].op"),
    ],
)
def test_filters_that_do_not_fit(server: Server, column: str, op: str, value: object, field: str) -> None:
    """A value that the column's type does not have is refused with its place, and the connection goes on."""
    answer = server.export({"dataset": "fills", "where": [{"column": column, "op": op, "value": value}]})
    assert problem(answer) == (422, "invalid-field", field)


def test_names_that_come_twice(server: Server) -> None:
    """Columns of one name are told apart."""
    assert rows(server.export({"dataset": "twice"})) == [{"a": "1", "a_1": "2", "?column?": "3"}]


def test_described(server: Server) -> None:
    """A dataset tells its columns without running its query."""
    found = server.get("/datasets/endless").json()
    assert found["columns"] == [{"name": "n", "type": "int64"}]


@pytest.mark.parametrize(
    ("dataset", "status", "kind"),
    [("early", 500, "source-failed"), ("writes", 500, "source-failed"), ("missing", 503, "source-unavailable")],
)
def test_early_failures(server: Server, book: Postgres, dataset: str, status: int, kind: str) -> None:
    """What fails before the first row is a problem without SQL; nothing can be written."""
    answer = server.export({"dataset": dataset})
    assert problem(answer)[:2] == (status, kind)
    assert not {"SELECT", "no_such_table", "division", "libpq"} & set(answer.text.split())
    assert book.sql("SELECT count(*) FROM fills").strip() == "1000"


def test_failure_midway(server: Server) -> None:
    """A query that fails on row 200,000 breaks the connection."""
    with pytest.raises(httpx.RemoteProtocolError):
        server.export({"dataset": "midway"})
    assert server.get("/exports").json()[0]["reason"] == "source_failed"


@pytest.mark.parametrize("dataset", ["endless", "stream"])
def test_client_that_leaves(server: Server, book: Postgres, dataset: str) -> None:
    """The query of a client that has left ends on the server within a second, computing or streaming."""
    client = subprocess.Popen(
        ["curl", "-sS", "--limit-rate", "100k", "-o", os.devnull, server.url + f"/export?dataset={dataset}"]
    )
    until(lambda: book.active() == 1, 10)
    client.kill()
    client.wait()
    until(lambda: book.active() == 0, 1.5)
    until(lambda: server.health() == (0, 0), 1.5)
    assert rows(server.export({"dataset": "fills", "limit": 1}))[0]["id"] == "1"


def test_concurrent_exports(server: Server, book: Postgres) -> None:
    """Exports that run at once have a connection each, those beyond wait, and no more are kept than may run."""
    command = ["curl", "-sSf", "-o", os.devnull, server.url + "/export?dataset=fills"]
    clients = [subprocess.Popen(command) for _ in range(12)]
    assert [client.wait(timeout=60) for client in clients] == [0] * 12
    until(lambda: server.health() == (0, 0))
    assert 1 <= connections(book) <= 3


def connections(book: Postgres) -> int:
    """How many the service has open."""
    return int(book.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'spark-export'"))


def test_counted_beside(start: Start, book: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that are to be cut at a cap count their rows on a second connection, and never wait for each other's."""
    monkeypatch.setenv("BOOK_DSN", book.dsn)
    service = start(DATASETS=write_datasets(tmp_path, DATASETS), MAX_CONCURRENT="2", MAX_ROWS="10")
    body = json.dumps({"dataset": "fills", "on_limit": "truncate"})
    command = ["curl", "-sSf", "-H", "Content-Type: application/json", "-d", body, service.url + "/export"]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    lines = [len(client.communicate(timeout=30)[0].splitlines()) for client in clients]
    assert lines == [11] * 8


def test_idle_in_no_transaction(server: Server, book: Postgres) -> None:
    """A connection that is kept holds no transaction open."""
    assert len(rows(server.export({"dataset": "fills"}))) == 1000
    until(lambda: server.health() == (0, 0))
    states = book.sql("SELECT DISTINCT state FROM pg_stat_activity WHERE application_name = 'spark-export'")
    assert states.split() == ["idle"]


def test_restart_in_between(server: Server, book: Postgres) -> None:
    """Kept connections that a restart has ended are replaced: no export fails for it; while it is down, 503."""
    assert len(rows(server.export({"dataset": "fills"}))) == 1000
    book.stop()
    try:
        assert problem(server.export({"dataset": "fills"}))[:2] == (503, "source-unavailable")
        assert server.get("/datasets/fills").status_code == 503
    finally:
        book.start()
    assert len(rows(server.export({"dataset": "fills"}))) == 1000


def test_restart_midway(server: Server, book: Postgres) -> None:
    """An export whose server stops under it breaks, and the next one goes on with the next server."""
    with httpx.stream("GET", server.url + "/export?dataset=stream", timeout=60) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        book.stop()
        book.start()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
    assert len(rows(server.export({"dataset": "fills"}))) == 1000


def test_timeouts(start: Start, book: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that takes too long is a 504 before its first row, and breaks its export after."""
    monkeypatch.setenv("BOOK_DSN", book.dsn)
    service = start(DATASETS=write_datasets(tmp_path, LIMITED, "timeout_seconds = 0.5"))
    assert problem(service.export({"dataset": "slow"}))[:2] == (504, "source-timeout")
    with pytest.raises(httpx.RemoteProtocolError):
        service.export({"dataset": "slowly"})
    assert service.get("/exports").json()[0]["reason"] == "source_timeout"
    hurried = start(DATASETS=write_datasets(tmp_path, LIMITED), EXPORT_TIMEOUT_SECONDS="1")
    assert problem(hurried.export({"dataset": "slow"}))[0] == 504
    until(lambda: book.active() == 0, 1.5)


DEAD = {
    "wrong_password": "postgresql://tester:wr0ng%20pw@127.0.0.1:{port}/book?sslmode=prefer",
    "wrong_password_in_pairs": "host=127.0.0.1 port={port} user=tester password='wr0ng pw' dbname=book",
    "no_such_database": f"postgresql://tester:{quote(PASSWORD)}@127.0.0.1:{{port}}/wr0ng_db",
    "nobody_listens": "postgresql://tester:wr0ng@127.0.0.1:{free}/book",
    "nobody_answers": "postgresql://tester:wr0ng@127.0.0.1:{mute}/book?connect_timeout=2",
    "unknown_option": "postgresql://tester:wr0ng@127.0.0.1:{port}/book?wr0ng=1",
}


@pytest.fixture(scope="module")
def cut_off(start: Start, book: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with a dataset for each way to be out of reach."""
    path = tmp_path_factory.mktemp("dead") / "datasets.toml"
    tables = [f"{name} = {{engine = 'postgres', dsn_env = '{name.upper()}', sql = 'SELECT 1'}}" for name in DEAD]
    path.write_text("\n".join(["[datasets]", *tables]), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.MonkeyPatch.context() as patch:
        for name, dsn in DEAD.items():
            ports = {"port": book.port, "free": free_port(), "mute": mute.getsockname()[1]}
            patch.setenv(name.upper(), dsn.format(**ports))
        yield start(DATASETS=str(path), LOG_LEVEL="debug")


@pytest.mark.parametrize("name", DEAD)
def test_out_of_reach(cut_off: Server, book: Postgres, name: str) -> None:
    """A server that is not there or lets nobody in is a 503, and nothing of the connection string comes out."""
    before = len(cut_off.log.read_text(encoding="utf-8"))
    answer = cut_off.export({"dataset": name})
    assert problem(answer)[:2] == (503, "source-unavailable")
    described, log = cut_off.get(f"/datasets/{name}").text, cut_off.log.read_text(encoding="utf-8")
    assert "source-unavailable: IO: [libpq] Failed to connect: " in log[before:]
    assert not re.findall(rf"\b(wr0ng\w*|{PASSWORD}|tester|book|{book.port})\b", answer.text + described + log)


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        (None, "datasets.fills.dsn_env: the variable BOOK_DSN holds no connection string"),
        (" ", "datasets.fills.dsn_env: the variable BOOK_DSN holds no connection string"),
        ("secret secret2", "datasets.fills.dsn_env: the variable BOOK_DSN is no connection string"),
    ],
)
def test_start_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: str | None, message: str) -> None:
    """No connection string, or what is none, stops the start with a message that names the variable alone."""
    monkeypatch.delenv("BOOK_DSN", raising=False)
    if dsn is not None:
        monkeypatch.setenv("BOOK_DSN", dsn)
    datasets = write_datasets(tmp_path, {"fills": DATASETS["fills"]})
    monkeypatch.setenv("SPARK_EXPORT_DATASETS", datasets)
    ran = subprocess.run([COMMAND, "serve", "--port", "0"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert message in ran.stderr
    assert "secret" not in ran.stderr


def test_loaded_when_needed(start: Start, server: Server) -> None:
    """A service without such datasets has loaded no driver; the first connection does."""
    plain = start()
    assert "adbc" not in Path(f"/proc/{plain.process.pid}/maps").read_text(encoding="utf-8")
    assert len(rows(server.export({"dataset": "fills"}))) == 1000
    assert "adbc" in Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")


def test_flat_memory(start: Start, book: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows take no more memory."""
    monkeypatch.setenv("BOOK_DSN", book.dsn)
    peaks = []
    for limit in (200_000, 2_000_000):
        service = start(DATASETS=write_datasets(tmp_path, DATASETS))
        subprocess.run(
            ["curl", "-sSf", "-o", os.devnull, service.url + f"/export?dataset=stream&limit={limit}"], check=True
        )
        peaks.append(service.status("VmHWM"))
    assert peaks[1] < 1.15 * peaks[0]
