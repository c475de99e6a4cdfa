"""What a caller gets, over a socket."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
from pathlib import Path

import httpx
import pytest

from .conftest import Server

PROBLEM = "application/problem+json"


def rows_of(body: bytes) -> list[list[str]]:
    """The CSV as Python reads it."""
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_inline_rows_become_csv(server: Server) -> None:
    """Rows in the body come back as RFC 4180, with every promised header field."""
    answer = server.export({"rows": [{"a": 1, "b": 'x,"y"\n'}, {"a": None, "c": [1, {"d": "ş"}]}]})
    assert answer.status_code == 200
    assert answer.content.decode() == 'a,b,c\r\n1,"x,""y""\n",\r\n,,"[1,{""d"":""ş""}]"\r\n'
    headers = answer.headers
    assert headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert headers["content-disposition"] == "attachment; filename=\"export.csv\"; filename*=UTF-8''export.csv"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "Accept, Accept-Encoding"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-export-id"]
    assert headers["x-request-id"]


def test_rows_as_arrays_are_named_by_columns(server: Server) -> None:
    """Arrays take their names, labels and formats from `columns`."""
    columns = ["id", {"name": "price", "label": "Price", "decimals": 2, "thousands": ","}]
    answer = server.export({"rows": [[1, 1234.5], [2, None]], "columns": columns})
    assert rows_of(answer.content) == [["id", "Price"], ["1", "1,234.50"], ["2", ""]]


@pytest.mark.parametrize("name", ["parquet", "csv", "json", "book"])
def test_every_kind_of_dataset_file_is_read(server: Server, name: str) -> None:
    """Parquet, CSV, JSON and DuckDB files named in the datasets file give the same rows."""
    rows = rows_of(server.get(f"/export?dataset={name}&order_by=-id&limit=2").content)
    assert rows == [["id", "price", "note"], ["99", "49.5", "şirket 99"], ["98", "49", "şirket 98"]]


def test_parameters_are_bound(server: Server) -> None:
    """A dataset's parameter comes from the request, else from its default."""
    assert len(rows_of(server.get("/export?dataset=above").content)) == 1 + 19
    assert len(rows_of(server.get("/export", params={"dataset": "above", "params": '{"least": 48}'}).content)) == 1 + 3


def test_selection_holds_for_every_source(server: Server) -> None:
    """The same columns, filter, order and limit on inline rows, a dataset and trades."""
    rows = [{"id": i, "note": f"şirket {i}", "x": None} for i in range(100)]
    asked = {
        "columns": ["note", "id"],
        "where": [
            {"column": "id", "op": "between", "value": [10, 20]},
            {"column": "note", "op": "like", "value": "%1%"},
        ],
        "order_by": ["-id"],
        "limit": 3,
    }
    expected = [["note", "id"], ["şirket 19", "19"], ["şirket 18", "18"], ["şirket 17", "17"]]
    assert rows_of(server.export(asked | {"rows": rows}).content) == expected
    assert rows_of(server.export(asked | {"dataset": "parquet"}).content) == expected
    trades = rows_of(
        server.export(
            {
                "dataset": "trades",
                "params": {"rows": 50},
                "columns": ["symbol", "id"],
                "where": [{"column": "symbol", "op": "eq", "value": "AAPL"}],
                "order_by": ["-id"],
            }
        ).content
    )
    assert {row[0] for row in trades[1:]} == {"AAPL"}
    assert [int(row[1]) for row in trades[1:]] == sorted((int(row[1]) for row in trades[1:]), reverse=True)


def test_a_pdf_holds_every_cell(server: Server, tmp_path: Path) -> None:
    """The PDF is clean to qpdf, and pdftotext finds every cell, Turkish letters included."""
    answer = server.export({"dataset": "book", "format": "pdf", "pdf": {"title": "İşlemler"}})
    assert answer.headers["content-type"] == "application/pdf"
    path = tmp_path / "book.pdf"
    path.write_bytes(answer.content)
    subprocess.run(["qpdf", "--check", path], check=True, capture_output=True)
    text = subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True).stdout.decode()
    assert "İşlemler" in text
    lines = [line.split() for line in text.splitlines()]
    for i in range(100):
        price = f"{i * 0.5:g}"
        assert [str(i), price, "şirket", str(i)] in lines


@pytest.mark.parametrize(("coding", "magic"), [("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")])
def test_content_coding_is_what_the_client_asks(server: Server, coding: str, magic: bytes) -> None:
    """`Accept-Encoding` gives one gzip member or zstd frame that holds the same file."""
    plain = server.get("/export?dataset=trades", headers={"Accept-Encoding": "identity"})
    coded = server.get("/export?dataset=trades", headers={"Accept-Encoding": coding})
    with httpx.stream(
        "GET", server.url + "/export?dataset=trades", headers={"Accept-Encoding": f"{coding}, identity;q=0.5"}
    ) as raw:
        body = b"".join(raw.iter_raw())
    assert "content-encoding" not in plain.headers
    assert coded.headers["content-encoding"] == coding
    assert body.startswith(magic)
    assert coded.content == plain.content
    assert len(body) < len(plain.content) / 2


def test_accept_chooses_the_format(server: Server) -> None:
    """Without `format` the Accept header decides; one that allows neither format is 406."""
    assert server.get("/export?dataset=book", headers={"Accept": "application/pdf"}).content.startswith(b"%PDF")
    assert server.get("/export?dataset=book", headers={"Accept": "text/*"}).content.startswith(b"id,")
    refused = server.get("/export?dataset=book", headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["field"]) == (406, "Accept")


def test_a_receipt_states_what_was_sent(server: Server) -> None:
    """`GET /exports/{id}` says rows, bytes, SHA-256 and escaped cells, and they are right."""
    answer = server.export({"rows": [{"a": "=1+1", "b": -1e-7}, {"a": "x", "b": 2}]})
    receipt = server.get("/exports/" + answer.headers["x-export-id"]).json()
    assert receipt["state"] == "completed"
    assert receipt["rows"] == 2
    assert receipt["bytes"] == len(answer.content)
    assert receipt["sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert receipt["escaped_cells"] == 1
    assert answer.content == b"a,b\r\n'=1+1,-1e-7\r\nx,2\r\n"
    assert server.get("/exports").json()[0]["export_id"] == answer.headers["x-export-id"]
    assert server.get("/exports/none").status_code == 404


def test_datasets_are_described(server: Server) -> None:
    """`GET /datasets` lists them, `GET /datasets/{name}` adds the columns."""
    names = [each["name"] for each in server.get("/datasets").json()]
    assert names[:2] == ["trades", "parquet"]
    above = server.get("/datasets/above").json()
    assert above["parameters"][0]["name"] == "least"
    assert [column["name"] for column in above["columns"]] == ["id", "price", "note"]
    assert len(server.get("/datasets/trades").json()["columns"]) == 10


def test_a_request_id_is_echoed_and_logged(server: Server) -> None:
    """A harmless X-Request-Id comes back and is in the log line; a hostile one is replaced."""
    answer = server.get("/export?dataset=book", headers={"X-Request-Id": "order-4711"})
    assert answer.headers["x-request-id"] == "order-4711"
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    line = next(line for line in lines if line.get("request_id") == "order-4711")
    assert line["export_id"] == answer.headers["x-export-id"]
    assert (line["state"], line["rows"]) == ("completed", 100)
    assert server.get("/livez", headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_a_file_name_reaches_old_and_new_clients(server: Server) -> None:
    """A name beyond ASCII comes as `filename*`, with a plain stand-in in `filename`."""
    answer = server.get("/export", params={"dataset": "book", "filename": "işlem 1.csv"})
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename=\"i_lem 1.csv\"; filename*=UTF-8''i%C5%9Flem%201.csv"


def test_the_openapi_document_describes_the_request(server: Server) -> None:
    """`/openapi.json` names the request's fields and the problems; `/docs` is there."""
    document = server.get("/openapi.json").json()
    body = document["paths"]["/export"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"rows", "dataset", "columns", "where", "csv", "pdf"} <= set(body["properties"])
    assert "Problem" in document["components"]["schemas"]
    assert server.get("/docs").status_code == 200


def test_excel_profile_suits_a_spreadsheet(server: Server) -> None:
    """BOM, semicolons for a decimal comma, CR LF, and a time that a spreadsheet recognises."""
    asked = {
        "dataset": "trades",
        "limit": 1,
        "columns": ["ts", "price"],
        "timezone": "Europe/Istanbul",
        "csv": {"profile": "excel", "decimal": ","},
    }
    assert server.export(asked).content == "\ufeffts;price\r\n2024-01-01 11:00:00.013;60,28\r\n".encode()
