"""Any text at all, in cells, names and titles: foreign readers read it back, and no log line or document breaks."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pandas as pd
import pikepdf
import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Server, Start

Cells = list[list[str | None]]

NASTY = st.sampled_from(
    ["\0", "\r", "\n", "\r\n", '"', '""', ",", ";", "'", "\t", "\\", "\x1a", "\x1b[2J", "\x7f", "\x85", "\x9b",
     "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\U0001fffe", "\u202e", "\u200d", "\U0001f468", "e\u0301",
     "=1+1", "NULL", "nan", "#", " ", "", "%PDF", "%%EOF", "(", ")", "endstream", "<</", "\U000e0041", "\U0010ffff"]
)  # fmt: skip
TEXT = st.lists(NASTY | st.text(max_size=8), max_size=4).map("".join)
NAMES = st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True)
PROPERTY = settings(suppress_health_check=list(HealthCheck))

NOT_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")
NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f"/\\\u2028\u2029]')


@dataclass(frozen=True)
class Sheet:
    """Columns, their labels, and rows."""

    names: list[str]
    labels: list[str]
    rows: Cells
    filename: str
    request_id: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The rows as objects, and how they are to be labelled."""
        columns = [{"name": name, "label": label} for name, label in zip(self.names, self.labels, strict=True)]
        rows = [dict(zip(self.names, row, strict=True)) for row in self.rows]
        return {"rows": rows, "columns": columns, "filename": self.filename}


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    """Some rows of any text under any names."""
    names = draw(NAMES)
    width = len(names)
    labels = draw(st.just(names) | st.lists(TEXT, min_size=width, max_size=width))
    rows = draw(st.lists(st.lists(st.none() | TEXT, min_size=width, max_size=width), min_size=1, max_size=6))
    filename = "f" + NOT_IN_FILE_NAMES.sub("", draw(TEXT))
    request_id = NOT_IN_HEADERS.sub("", draw(TEXT)).strip().encode()
    return Sheet(names, labels, rows, filename, request_id)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Connections to the service that are kept."""
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to read back."""
    return tmp_path_factory.mktemp("text") / "file"


def send(client: httpx.Client, sheet: Sheet, **options: object) -> bytes:
    """The file, and nothing else in its head than was asked for."""
    answer = client.post("/export", json=sheet.body | options, headers=[(b"X-Request-Id", sheet.request_id)])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == sheet.request_id.decode() or re.fullmatch(
        r"[0-9a-f]{32}", answer.headers["x-request-id"]
    )
    parameter = answer.headers["content-disposition"].partition("filename*=UTF-8''")[2]
    name = httpx.URL("http://x/?" + parameter).query.decode()
    assert httpx.QueryParams("name=" + name)["name"].startswith(sheet.filename)
    return answer.content


def by_python(path: Path) -> Cells:
    """As Python's csv reads it."""
    with path.open(encoding="utf-8", newline="") as file:
        return [list(row) for row in csv.reader(file, strict=True)]


def by_duckdb(path: Path, width: int) -> Cells:
    """As DuckDB reads it, which tells missing from empty texts."""
    query = (
        "SELECT * FROM read_csv($path, all_varchar = true, header = false, delim = ',', quote = '\"', escape = '\"', "
        "new_line = '\\r\\n', nullstr = '', allow_quoted_nulls = false, auto_detect = false, parallel = false, "
        "columns = $columns)"
    )
    columns = {f"c{index}": "VARCHAR" for index in range(width)}
    return [list(row) for row in duckdb.execute(query, {"path": str(path), "columns": columns}).fetchall()]


def by_pandas(path: Path) -> Cells:
    """As pandas reads it."""
    frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8")
    return [list(row) for row in frame.to_numpy()]


@given(sheet=sheets().filter(lambda sheet: not sheet.labels[0].startswith("\ufeff")))
@settings(PROPERTY, max_examples=60)
def test_any_text_comes_back_from_csv(client: httpx.Client, path: Path, sheet: Sheet) -> None:
    """Python's csv, DuckDB and pandas read every name and cell as it was sent, control characters included."""
    path.write_bytes(send(client, sheet, csv={"formulas": "keep"}))
    expected: Cells = [list(sheet.labels), *sheet.rows]
    empty_for_missing: Cells = [[cell or "" for cell in row] for row in expected]
    if len(sheet.names) == 1:  # a line of one missing value is quoted, else it would be empty
        expected = empty_for_missing
    assert by_python(path) == empty_for_missing
    assert by_pandas(path) == empty_for_missing
    assert by_duckdb(path, len(sheet.names)) == expected


def test_a_first_label_is_no_byte_order_mark(client: httpx.Client, path: Path) -> None:
    """A first label that begins with U+FEFF keeps it: no reader takes it for the file's mark."""
    sheet = Sheet(["\ufeffa", "b"], ["\ufeffa", "b"], [["1", "2"]], "f", b"")
    path.write_bytes(send(client, sheet))
    assert by_pandas(path) == by_duckdb(path, 2) == by_python(path) == [["\ufeffa", "b"], ["1", "2"]]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "A"),
        ("a", "a_1", "A"),
        ("a\0b", "a\0c"),
        ("a ", "a"),
        ("\u0130", "i", "\u0131"),
        ("n_1", "n "),
        ("rowid", "rows"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("by", ["where", "order_by"])
def test_names_are_kept_by_filters_and_order(client: httpx.Client, path: Path, names: tuple[str, ...], by: str) -> None:
    """Names that differ in case, blanks or behind a NUL only are told apart where rows are filtered or sorted."""
    rows = [[f"{row}{column}" for column in range(len(names))] for row in range(3)]
    asked = {"where": [{"column": names[-1], "op": "ne", "value": "none"}], "order_by": [names[-1]]}
    sheet = {"rows": [dict(zip(names, row, strict=True)) for row in rows], by: asked[by]}
    answer = client.post("/export", json=sheet)
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    assert by_python(path) == [list(names), *rows]


@given(sheet=sheets(), title=TEXT, wrap=st.booleans(), accessible=st.booleans())
@settings(PROPERTY, max_examples=25)
def test_any_text_makes_a_sound_pdf(
    client: httpx.Client, path: Path, sheet: Sheet, title: str, wrap: bool, accessible: bool
) -> None:
    """Whatever the texts, qpdf finds nothing wrong with the document, pikepdf and PDFium open it."""
    known = {"title": title, "subtitle": title, "author": title, "subject": title, "keywords": title}
    pdf = known | {"overflow": "wrap" if wrap else "ellipsis", "accessible": accessible}
    path.write_bytes(send(client, sheet, format="pdf", pdf=pdf))
    run = subprocess.run(["qpdf", "--check", path], capture_output=True, timeout=30)
    assert run.returncode == 0, run.stderr
    with pikepdf.open(path) as document:
        pages = len(document.pages)
    document = pypdfium2.PdfDocument(path)
    assert len(document) == pages >= 1
    assert document[0].get_textpage().get_text_range()
    document.close()


FORGED = [
    "a\nb",
    "a\r\n2026-01-01T00:00:00.000Z INFO export completed: all is well",
    'a"}\n{"time": "2026-01-01T00:00:00.000Z", "level": "info"}',
    "\x1b[2J\x1b[31mred",
    "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg\x1dh\x1ei",
    "a\0b",
    "%s %(message)s {0}",
    "\ud800",
    "\u202eright",
]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def provoke(server: Server, data: str) -> None:
    """Put the text wherever a log line might quote it."""
    requests: list[dict[str, Any]] = [
        {"dataset": data},
        {"dataset": "book", "columns": [data]},
        {"dataset": "book", "order_by": [data]},
        {"dataset": "book", "where": [{"column": data, "op": "eq", "value": 1}]},
        {"dataset": "book", "where": [{"column": "note", "op": "eq", "value": data}]},
        {"dataset": "book", "where": [{"column": "note", "op": "like", "value": data}], "format": "pdf"},
        {"dataset": "book", "columns": [{"name": "id", "label": data}]},
        {"dataset": "book", "filename": data},
        {"dataset": "book", "timezone": data},
        {"dataset": "book", "csv": {"encoding": data}},
        {"dataset": "book", "pdf": {"title": data}, "format": "pdf"},
        {"dataset": "above", "params": {data: 1}},
        {"dataset": "above", "params": {"least": data}},
        {"dataset": "missing", "where": [{"column": "x", "op": "eq", "value": data}]},
        {"rows": [{data: data}]},
        {"rows": [{data: data}], "csv": {"encoding": "ascii"}},
        {"rows": [{data: data}], "where": [{"column": data, "op": "eq", "value": data}]},
        {data: 1},
    ]
    field = NOT_IN_HEADERS.sub("", data).strip().encode("utf-8", "surrogatepass")
    headers = [(name, field) for name in (b"X-Request-Id", b"X-Forwarded-For", b"X-API-Key", b"User-Agent", b"Accept")]
    with httpx.Client(base_url=server.url) as client:
        for request in requests:
            content = json.dumps(request)  # in ASCII: a lone surrogate goes as its escape
            answer = client.post("/export", content=content, headers=headers[:-1])
            assert answer.status_code < 500 or request["dataset"] == "missing"
        client.get("/export", params={"dataset": data.encode("utf-8", "replace").decode()}, headers=headers)
        client.get("/exports/" + "".join(f"%{byte:02x}" for byte in field))


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_sent_begins_a_log_line(start: Start, data: Path, form: str) -> None:
    """Names, values and ids with line breaks: each record stays one line, as it was written by the service."""
    server = start(DATASETS=str(data / "datasets.toml"), LOG_FORMAT=form, TRUSTED_PROXIES="127.0.0.1")
    for text in FORGED:
        provoke(server, text)
    lines = server.log.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) > len(FORGED) * 15
    for line in lines:
        if form == "json":
            assert json.loads(line)["time"].startswith("20")
            assert not any(character in line for character in "\r\x1b\0")
        else:
            assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ \S", line)
            assert not CONTROL.search(line)
    assert not any("all is well" in line[:60] for line in lines)
