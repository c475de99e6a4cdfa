"""Bad input gets a clear error that names the field, and the service goes on."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.early import begin_early

from .conftest import COMMAND, Server, Start

ROWS = [{"a": 1}]

BAD_REQUESTS: list[tuple[Any, int, str]] = [
    ({"dataset": "nothing"}, 404, "dataset"),
    ({"dataset": "book", "columns": ["id", "nope"]}, 422, "columns[1]"),
    ({"rows": ROWS, "columns": ["nope"]}, 422, "columns[0]"),
    ({"dataset": "book", "where": [{"column": "nope", "op": "eq", "value": 1}]}, 422, "where[0].column"),
    ({"dataset": "book", "where": [{"column": "id", "op": "is", "value": 1}]}, 422, "where[0].op"),
    (
        {"dataset": "book", "where": [{"column": "id", "op": "eq", "value": "1; DROP TABLE fills"}]},
        422,
        "where[0].value",
    ),
    ({"dataset": "book", "where": [{"column": "id", "op": "in", "value": []}]}, 422, "where[0]"),
    ({"dataset": "book", "where": [{"column": "id", "op": "like", "value": "1%"}]}, 422, "where[0].op"),
    ({"dataset": "book", "order_by": ["-nope"]}, 422, "order_by[0]"),
    ({"dataset": "above", "params": {"nope": 1}}, 422, "params.nope"),
    ({"dataset": "above", "params": {"least": "much"}}, 422, "params.least"),
    ({"dataset": "trades", "params": {"rows": -1}}, 422, "params.rows"),
    ({"dataset": "trades", "params": {"rows": 1_000_000_001}}, 422, "params.rows"),
    ({"dataset": "book", "rows": ROWS}, 422, "rows"),
    ({}, 422, "dataset"),
    ({"rows": {"a": 1}}, 422, "rows"),
    ({"rows": [1]}, 422, "rows[0]"),
    ({"rows": [[1, 2], [1]], "columns": ["a", "b"]}, 422, "rows[1]"),
    ({"rows": [[1]]}, 422, "columns"),
    ({"rows": ROWS, "format": "xlsx"}, 422, "format"),
    ({"rows": ROWS, "limit": -1}, 422, "limit"),
    ({"rows": ROWS, "limit": "10"}, 422, "limit"),
    ({"rows": ROWS, "timezone": "Mars/Phobos"}, 422, "timezone"),
    ({"rows": ROWS, "typo": 1}, 422, "typo"),
    ({"rows": ROWS, "csv": {"encoding": "rot13"}}, 422, "csv.encoding"),
    ({"rows": ROWS, "csv": {"delimiter": '"'}}, 422, "csv.delimiter"),
    ({"rows": ROWS, "csv": {"bom": True, "encoding": "latin-1"}}, 422, "csv.bom"),
    ({"rows": [{"a": "あ"}], "csv": {"encoding": "windows-1254"}}, 422, "csv.encoding"),
    ({"rows": ROWS, "columns": [{"name": "a", "date_format": "%Y"}]}, 422, "columns[0].date_format"),
    *(
        ({"rows": ROWS, "format": "pdf", "pdf": pdf}, 422, field)
        for pdf, field in (
            ({"page_size": "A9"}, "pdf.page_size"),
            ({"page_size": "10x10mm"}, "pdf.page_size"),
            ({"page_size": "100x6000mm"}, "pdf.page_size"),
            ({"page_size": "50x50mm", "title": "T"}, "pdf.page_size"),
            ({"orientation": "sideways"}, "pdf.orientation"),
            ({"font_size": 3}, "pdf.font_size"),
            ({"font_size": 25}, "pdf.font_size"),
            ({"overflow": "hidden"}, "pdf.overflow"),
            ({"language": "no language"}, "pdf.language"),
            ({"theme": {"colour": "#000000"}}, "pdf.theme.colour"),
            ({"theme": {"accent": "red"}}, "pdf.theme.accent"),
            ({"theme": {"accent": "#12345"}}, "pdf.theme.accent"),
            ({"theme": {"font_size": 40}}, "pdf.theme.font_size"),
            ({"theme": {"row_height": 4}}, "pdf.theme.row_height"),
            ({"theme": {"row_height": 9}}, "pdf.theme.row_height"),
            ({"totals": ["a", "nothing"]}, "pdf.totals[1]"),
            ({"totals": [""]}, "pdf.totals[0]"),
            ({"accessible": "perhaps"}, "pdf.accessible"),
        )
    ),
    ({"rows": [{"a": "x", "b": 1}], "format": "pdf", "pdf": {"totals": ["a"]}}, 422, "pdf.totals[0]"),
    *(
        ({"rows": ROWS, "filename": name}, 422, "filename")
        for name in ("a\r\nb", 'a"b', "../a", "a\\b", "x" * 500, "..")
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _begins_early(request: pytest.FixtureRequest) -> None:
    """Who is refused early waits while the other tests run."""
    begin_early(request, "refused")


@pytest.mark.parametrize(("request_", "status", "field"), BAD_REQUESTS, ids=lambda value: str(value)[:60])
def test_bad_requests_name_the_field(server: Server, request_: Any, status: int, field: str) -> None:
    """Each gets a problem with the field to change and both ids, and counts as invalid."""
    before = server.metric('export_fail_total{reason="internal"}')
    answer = server.export(request_)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status)
    assert problem["field"] == field
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["export_id"]
    assert problem["type"].startswith("urn:spark-export:problem:")
    assert server.metric('export_fail_total{reason="internal"}') == before


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"rows": [{"a": 1}, {"a": }]}', "application/json", 400),
        (b'{"rows": [' + b"[" * 100_000, "application/json", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
    ],
)
def test_bodies_that_are_no_json_are_refused(server: Server, content: bytes, content_type: str, status: int) -> None:
    """A broken body is 400, another media type 415."""
    answer = httpx.post(server.url + "/export", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    receipt = server.receipt(answer.headers.get("X-Export-Id") or answer.json()["export_id"])
    assert (receipt["state"], receipt["detail"]) == ("invalid", answer.json()["detail"])
    assert receipt["field"] == answer.json().get("field")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/export?dataset=book&formt=pdf", "columns, dataset, filename, format, limit, options, order_by, params, "),
        ("/exports?limt=1", "before, limit"),
        ("/exports/none?formt=1", "none"),
        ("/datasets?formt=1", "none"),
        ("/datasets/book?formt=1", "none"),
        ("/datasets/book/preview?formt=1", "columns, limit, options, order_by, params, timezone"),
    ],
)
def test_unknown_parameters_are_refused(server: Server, path: str, known: str) -> None:
    """A misspelt parameter of a query is named, with those that there are."""
    answer = server.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (422, "limt" if "limt" in path else "formt")
    assert problem["detail"].startswith(f"no such parameter; there are {known}")


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
def test_unknown_parameters_beside_a_body_are_refused(server: Server, media_type: str) -> None:
    """So is one beside a body, whose export counts as invalid."""
    before = server.metric('export_requests_total{format="none",outcome="invalid"}')
    headers = {"Content-Type": media_type}
    answer = httpx.post(server.url + "/export?formt=pdf", content=b'{"rows": []}', headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (422, "formt")
    assert server.metric('export_requests_total{format="none",outcome="invalid"}') == before + 1


def test_text_of_a_client_never_becomes_sql(server: Server) -> None:
    """SQL in values, names and patterns compares as text or is refused as a name."""
    evil = "'; DROP TABLE fills; --"
    asked = {"dataset": "book", "where": [{"column": "note", "op": "eq", "value": evil}]}
    assert server.export(asked).content == b"id,price,note\r\n"
    assert server.export({"dataset": "book", "columns": ['id" FROM fills; --']}).status_code == 422
    assert server.export({"rows": [{'x" y': evil}], "order_by": ['x" y']}).content.decode() == f'"x"" y"\r\n{evil}\r\n'
    assert server.export({"dataset": "book"}).status_code == 200


def test_unknown_paths_and_methods_are_problems_too(server: Server) -> None:
    """404 and 405 answer as problem details, with the request's id."""
    missing = server.get("/nothing")
    wrong = httpx.delete(server.url + "/export")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    for answer in (missing, wrong):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert set(wrong.headers["allow"].split(", ")) <= {"GET", "POST"}


@pytest.mark.parametrize(("dataset", "status"), [("missing", 503), ("outside", 503), ("early", 500)])
def test_a_source_that_fails_at_once_is_a_clean_error(server: Server, dataset: str, status: int) -> None:
    """Before the first byte a failure is a status; neither SQL nor paths nor the engine's text go out."""
    answer = server.get(f"/export?dataset={dataset}")
    assert answer.status_code == status
    assert not any(word in answer.text for word in ("secret", "SELECT", "passwd", "parquet"))
    assert "secret detail" in server.log.read_text() or dataset != "early"


def test_a_source_that_fails_later_breaks_the_connection(server: Server) -> None:
    """After the first byte curl exits 18, httpx raises, and the receipt says failed."""
    url = server.url + "/export?dataset=late"
    run = subprocess.run(["curl", "-sS", "-D", "-", "-o", "/dev/null", url], capture_output=True)
    assert run.returncode == 18
    export_id = next(
        line.partition(": ")[2] for line in run.stdout.decode().splitlines() if line.lower().startswith("x-export-id")
    )
    receipt = server.get(f"/exports/{export_id}").json()
    assert (receipt["state"], receipt["reason"], receipt["sha256"]) == ("failed", "source_failed", None)
    with pytest.raises(httpx.RemoteProtocolError):
        server.get("/export?dataset=late")
    assert "Traceback" not in server.log.read_text()


def test_a_body_over_the_cap_is_refused(start: Start) -> None:
    """413 names MAX_BODY_BYTES, whether the length is declared or not; a row cap is loud too."""
    server = start(MAX_BODY_BYTES="1000", MAX_ROWS="50", LOG_LEVEL="error")
    body = json.dumps({"rows": [{"a": "x" * 2000}]}).encode()
    declared = httpx.post(server.url + "/export", content=body, headers={"Content-Type": "application/json"})
    streamed = httpx.post(
        server.url + "/export", content=iter([body[:900], body[900:]]), headers={"Content-Type": "application/json"}
    )
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["field"]) == (413, "MAX_BODY_BYTES")
    assert server.get("/export?dataset=trades&limit=50").status_code == 200
    assert server.get("/export?dataset=trades&limit=51").json()["type"] == "urn:spark-export:problem:row-limit"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MAX_CONCURRENT", "0", "SPARK_EXPORT_MAX_CONCURRENT"),
        ("PORT", "http", "SPARK_EXPORT_PORT"),
        ("MAX_CONCURENT", "4", "SPARK_EXPORT_MAX_CONCURENT"),
        ("DATASETS", "/nowhere/datasets.toml", "SPARK_EXPORT_DATASETS"),
        ("API_KEYS", "sk_very_secret", "SPARK_EXPORT_API_KEYS"),
    ],
)
def test_a_bad_setting_stops_the_start(variable: str, value: str, message: str) -> None:
    """One line names the variable, the status is not 0, and no secret is shown."""
    run = subprocess.run([COMMAND, "serve"], env={f"SPARK_EXPORT_{variable}": value}, capture_output=True, timeout=30)
    error = run.stderr.decode()
    assert run.returncode == 1
    assert message in error
    assert error.count("\n") == 1
    assert "very_secret" not in error


@pytest.mark.parametrize(
    ("variable", "contents"),
    [("FONTS", [None, b"", b"no font", b"\0\1\0\0" + bytes(100)]), ("LOGO", [b"<svg>"])],
    ids=["fonts", "logo"],
)
def test_a_font_or_logo_that_is_none_stops_the_start(
    tmp_path: Path, variable: str, contents: list[bytes | None]
) -> None:
    """One line names the variable and each file, and the status is 1."""
    paths = [tmp_path / f"own-{number}.file" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        if content is not None:
            path.write_bytes(content)
    environment = {f"SPARK_EXPORT_{variable}": ",".join(map(str, paths)), "SPARK_EXPORT_PORT": "0"}
    run = subprocess.run([COMMAND, "serve"], env=environment, capture_output=True, timeout=30)
    error = run.stderr.decode()
    assert run.returncode == 1
    assert error.startswith(f"spark-export: SPARK_EXPORT_{variable}: ")
    assert [path for path in paths if str(path) not in error] == []
    assert error.count("\n") == 1


def test_a_bad_time_of_making_stops_the_start() -> None:
    """A SOURCE_DATE_EPOCH that is no time is named as the variable that it is."""
    run = subprocess.run([COMMAND, "serve"], env={"SOURCE_DATE_EPOCH": "today"}, capture_output=True, timeout=30)
    assert run.returncode == 1
    assert run.stderr.startswith(b"spark-export: SOURCE_DATE_EPOCH: ")
    assert run.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("toml", "keys"),
    [
        ("[datasets.x", {"datasets.toml"}),
        (
            """
            [datasets]
            number.sql = 1
            coloured = { sql = 'SELECT 1', colour = 'red' }
            """,
            {"datasets.number.sql", "datasets.coloured.colour"},
        ),
        (
            """
            [datasets]
            wrong = { sql = 'SELECT $a', params.a = { type = 'integer', default = 'b' } }
            """,
            {"datasets.wrong.params.a.default"},
        ),
        (
            """
            databases.b = 'none.duckdb'
            [datasets]
            misspelt.sql = 'SELEC 1'
            drops.sql = 'DROP TABLE y'
            two.sql = 'SELECT 1; SELECT 2'
            unbound.sql = 'SELECT $a'
            unused = { sql = 'SELECT 1', params.a = {} }
            """,
            {
                "databases.b", "datasets.misspelt.sql", "datasets.drops.sql", "datasets.two.sql",
                "datasets.unbound.params.a", "datasets.unused.params.a",
            },
        ),
    ],
    ids=["no TOML", "schema", "default", "SQL"],
)  # fmt: skip
def test_a_bad_datasets_file_stops_the_start(tmp_path: Path, toml: str, keys: set[str]) -> None:
    """One line names each key in the file that is wrong, and the status is not 0."""
    path = tmp_path / "datasets.toml"
    path.write_text(toml, encoding="utf-8")
    run = subprocess.run([COMMAND, "serve"], env={"SPARK_EXPORT_DATASETS": str(path)}, capture_output=True, timeout=30)
    error = run.stderr.decode()
    assert run.returncode == 1
    assert {key for key in keys if f"{key}: " not in error} == set()
    assert error.count("\n") == 1


def refused_in_a_body(server: Server, connection: str) -> bytes:
    """All that a client reads until the connection's end, which sends 20 MB first."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        head = "POST /export HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n"
        client.sendall(f"{head}Connection: {connection}\r\n\r\n".encode())
        for _ in range(20):
            client.sendall(b" " * 1_000_000)
        client.settimeout(15)
        return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.fixture(scope="module")
def refused(start: Start) -> Iterator[dict[str, Future[bytes]]]:
    """What clients read who are refused early; one of them waits ten seconds for the end of its connection."""
    server = start(MAX_BODY_BYTES="1000", LOG_LEVEL="error")
    with ThreadPoolExecutor(2) as threads:
        yield {each: threads.submit(refused_in_a_body, server, each) for each in ("close", "keep-alive")}


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_an_early_refusal_is_seen(refused: dict[str, Future[bytes]], connection: str) -> None:
    """Whoever is refused in the middle of a large body gets the problem, not a reset, and then the connection's end."""
    answer = refused[connection].result()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"MAX_BODY_BYTES" in answer
