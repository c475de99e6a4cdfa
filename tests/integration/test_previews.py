"""GET /datasets/{name}/preview over a socket."""

from __future__ import annotations

import csv
import io
import json
import socket
from pathlib import Path

import httpx
import pytest

from .conftest import Server, Start


@pytest.fixture(scope="module")
def sets(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service of values that JSON cannot all hold."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "datasets.toml").write_text(
        """
        [datasets.values]
        sql = \"\"\"SELECT 9007199254740991 AS i, 9007199254740992 AS big, 'NaN'::DOUBLE AS nan, 0.1::FLOAT AS single,
            1e300 AS double, 1.10::DECIMAL(5, 2) AS decimal, true AS yes, NULL AS none, '' AS empty, '007' AS text,
            TIMESTAMPTZ '2024-01-01 12:00:00Z' AS at, {'a': [1, NULL]} AS nested, 'x'::BLOB AS bytes\"\"\"
        [datasets.wide]
        sql = "SELECT repeat('x', 1000000) AS x FROM range(1000)"
        [datasets.slow]
        sql = "SELECT count(*) AS n FROM range(1000000000000) r(i) WHERE hash(i) % 7 = 3"
        [datasets.missing]
        sql = "SELECT * FROM 'nothing.parquet'"
        """,
        encoding="utf-8",
    )
    (folder / "keys.toml").write_text(
        """
        [keys.all]
        key = "all"
        [keys.few]
        key = "few"
        datasets = ["trades"]
        max_rows = 3
        rate_per_second = 0.001
        rate_burst = 2
        columns.trades = ["id", "side"]
        """,
        encoding="utf-8",
    )
    return start(
        DATASETS=str(folder / "datasets.toml"), API_KEYS_FILE=str(folder / "keys.toml"), MAX_CONCURRENT="1",
        MAX_QUEUE="1", QUEUE_TIMEOUT_SECONDS="0.2", LOG_FORMAT="json",
    )  # fmt: skip


def ask(server: Server, query: str, key: str = "all") -> httpx.Response:
    """A preview, whatever the answer."""
    return server.get(f"/datasets/{query}", headers={"X-API-Key": key})


def test_first_rows_are_those_of_the_file(sets: Server) -> None:
    """Twenty rows come unless told otherwise, and every value says what the CSV says."""
    found = ask(sets, "trades/preview?timezone=Europe/Istanbul").json()
    assert (found["name"], found["more"], len(found["rows"])) == ("trades", True, 20)
    request = {"dataset": "trades", "limit": 20, "timezone": "Europe/Istanbul", "format": "csv",
               "csv": {"formulas": "keep"}}  # fmt: skip
    file = httpx.post(sets.url + "/export", json=request, headers={"X-API-Key": "all"}).text
    header, *rows = csv.reader(io.StringIO(file))
    assert [column["label"] for column in found["columns"]] == header
    shown = [["" if value is None else value for value in row] for row in found["rows"]]
    typed = [[type(value)(text) if value != "" else text for value, text in zip(*pair, strict=True)]
             for pair in zip(shown, rows, strict=True)]  # fmt: skip
    assert shown == typed


def test_values(sets: Server) -> None:
    """A value is JSON's own where that loses nothing, else the text that a file would have."""
    found = ask(sets, "values/preview").json()
    assert dict(zip((column["name"] for column in found["columns"]), found["rows"][0], strict=True)) == {
        "i": 9007199254740991, "big": "9007199254740992", "nan": "NaN", "single": 0.1, "double": 1e300,
        "decimal": "1.10", "yes": True, "none": None, "empty": "", "text": "007", "at": "2024-01-01T12:00:00Z",
        "nested": '{"a":[1,null]}', "bytes": "eA==",
    }  # fmt: skip
    assert found["columns"][0] == {"name": "i", "label": "i", "type": "int64"}
    assert found["more"] is False


def test_selection(sets: Server) -> None:
    """Columns, parameters, filters, order and limit mean what they mean for an export."""
    options = json.dumps({"where": [{"column": "id", "op": "le", "value": 5}]})
    query = {"columns": "id", "order_by": "-id", "limit": "2", "params": '{"rows": 9}', "options": options}
    found = ask(sets, f"trades/preview?{httpx.QueryParams(query)}").json()
    assert (found["rows"], found["more"]) == ([[5], [4]], True)
    assert ask(sets, "trades/preview?params=%7B%22rows%22:0%7D").json()["rows"] == []


@pytest.mark.parametrize(
    ("rows", "limit", "more"), [(20, 20, False), (21, 20, True), (1000, 1000, False), (3, 9, False)]
)
def test_more(sets: Server, rows: int, limit: int, more: bool) -> None:
    """Whether there are more rows is told to the row."""
    found = ask(sets, f"trades/preview?limit={limit}&columns=id&params=%7B%22rows%22:{rows}%7D").json()
    assert (len(found["rows"]), found["more"]) == (min(rows, limit), more)


def test_a_preview_is_small(sets: Server) -> None:
    """However long its values, a preview is some megabytes, and says that there are more rows."""
    answer = ask(sets, "wide/preview?limit=1000")
    assert answer.json()["more"] is True
    assert 0 < len(answer.content) < 6_000_000


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [("nothing/preview", 404, "dataset"), ("trades/preview?limit=0", 422, "limit"),
     ("trades/preview?limit=1001", 422, "limit"), ("trades/preview?columns=zz", 422, "columns[0]"),
     ("trades/preview?params=5", 422, "params"), ("trades/preview?options=%7B%22rowz%22:1%7D", 422, "rowz"),
     ("missing/preview", 503, None)],
)  # fmt: skip
def test_problems(sets: Server, query: str, status: int, field: str | None) -> None:
    """What is wrong is a problem with its status and its field."""
    answer = ask(sets, query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json().get("field") == field


def test_limits_of_a_key(sets: Server) -> None:
    """A key's datasets, columns, row cap and rate hold; no key, no preview."""
    assert sets.get("/datasets/trades/preview").status_code == 401
    assert ask(sets, "values/preview", "few").status_code == 403
    found = ask(sets, "trades/preview?limit=5", "few")
    assert [column["name"] for column in found.json()["columns"]] == ["id", "side"]
    assert (len(found.json()["rows"]), found.json()["more"]) == (3, True)
    assert found.headers["RateLimit"].startswith('"default";r=1;')
    assert ask(sets, "trades/preview?columns=price", "few").status_code == 422
    refused = ask(sets, "trades/preview", "few")
    assert (refused.status_code, refused.json()["field"]) == (429, "RATE_PER_SECOND")


def test_a_preview_takes_a_slot_and_leaves_it(sets: Server) -> None:
    """One that runs lets no other begin; when its client leaves, its query ends and its slot is free."""
    with socket.create_connection(("127.0.0.1", int(sets.url.rpartition(":")[2]))) as client:
        client.sendall(b"GET /datasets/slow/preview HTTP/1.1\r\nHost: x\r\nX-API-Key: all\r\n\r\n")
        sets.until(lambda: sets.health() == (1, 0))
        refused = ask(sets, "trades/preview")
        assert (refused.status_code, refused.json()["title"]) == (503, "Queue timeout")
    sets.until(lambda: sets.health() == (0, 0), seconds=2)
    assert ask(sets, "trades/preview").status_code == 200


def test_a_preview_is_no_export(sets: Server) -> None:
    """It is in the log with who asked for what, has no receipt, and no series counts it."""
    before = sets.metric('export_requests_total{format="csv",outcome="completed"}')
    receipts = len(sets.get("/exports", headers={"X-API-Key": "all"}).json())
    assert ask(sets, "trades/preview?limit=7&columns=note").status_code == 200
    assert sets.metric('export_requests_total{format="csv",outcome="completed"}') == before
    assert len(sets.get("/exports", headers={"X-API-Key": "all"}).json()) == receipts
    lines = [json.loads(line) for line in Path(sets.log).read_text(encoding="utf-8").splitlines()]
    line = [each for each in lines if each.get("action") == "preview"][-1]
    assert (line["caller"], line["dataset"], line["rows"]) == ("all", "trades", 7)
    assert json.loads(line["asked"]) == {"columns": ["note"], "limit": 7}
