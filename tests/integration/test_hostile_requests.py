"""Requests that are meant to hurt: any JSON, huge and deep bodies, SQL in every field, datasets that reach too far."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
import re
import resource
import string
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from spark_export.model import ColumnSpec, Condition, CsvOptions, ExportRequest, PdfOptions, PdfTheme

from .conftest import COMMAND, Server, Start

JSON_TYPE = {"Content-Type": "application/json"}

MOST_KB = 1_200_000
"""Peak memory of a process that was sent the largest bodies that it takes."""
MOST_ADDRESS_SPACE = 6 * 2**30
"""Of a process that may be brought to ask for all memory: the machine shall live."""
HEALTH_SECONDS = 2

TEXTS = st.text(max_size=20)
NUMBERS = st.integers() | st.integers(-(10**400), 10**400) | st.floats()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


Strategies = dict[str, st.SearchStrategy[Any]]


def shaped(model: type[BaseModel], given: Strategies, may: Strategies) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that the model likes, but for one field that may be anything."""
    wrong = st.dictionaries(st.sampled_from(sorted(model.model_fields)), ANY_JSON, max_size=1)
    return st.builds(operator.or_, st.fixed_dictionaries(given, optional=may), st.just({}) | wrong)


NAMES = st.sampled_from(["id", "price", "note"])
SCALARS = st.booleans() | NUMBERS | TEXTS | st.sampled_from(["5", "1e3", "note", "%"])
ROWS = st.lists(st.fixed_dictionaries({"id": ANY_JSON, "price": NUMBERS, "note": TEXTS | ANY_JSON}), max_size=5)
COLUMNS = shaped(
    ColumnSpec,
    {"name": NAMES},
    {"label": TEXTS, "decimals": st.integers(0, 18), "thousands": st.sampled_from(",. '"), "date_format": TEXTS,
     "null": TEXTS},
)  # fmt: skip
OPERATORS = st.sampled_from(["eq", "ne", "lt", "ge", "like"])
MANY_VALUED = st.sampled_from(["in", "between"])
CONDITIONS = shaped(Condition, {"column": NAMES, "op": OPERATORS, "value": SCALARS}, {}) | shaped(
    Condition, {"column": NAMES, "op": MANY_VALUED, "value": st.lists(SCALARS, min_size=2, max_size=2)}, {}
)
CSV = shaped(
    CsvOptions,
    {},
    {"delimiter": st.characters(), "encoding": st.sampled_from(["utf-16", "cp1254", "utf-7", "hz", "idna", "hex"]),
     "quote": st.sampled_from(["minimal", "all", "nonnumeric"]), "null": TEXTS, "decimal": st.just(","),
     "bom": st.booleans(), "header": st.booleans(), "errors": st.just("replace"), "profile": st.just("excel")},
)  # fmt: skip
PDF = shaped(
    PdfOptions,
    {},
    {"title": TEXTS, "subtitle": TEXTS, "author": TEXTS, "totals": st.lists(NAMES, max_size=2),
     "theme": shaped(PdfTheme, {}, {"row_height": st.floats(5, 200), "font_size": st.floats(4, 24)}),
     "font_size": st.floats(4, 24), "page_size": st.sampled_from(["50x50mm", "A4", "5080x50mm", "auto"]),
     "overflow": st.just("wrap"), "language": st.sampled_from(["tr", "xx-yy"]), "accessible": st.booleans()},
)  # fmt: skip
REQUESTS = shaped(
    ExportRequest,
    {},
    {"format": st.sampled_from(["csv", "pdf"]), "columns": st.lists(NAMES | COLUMNS, min_size=1, max_size=3),
     "where": st.lists(CONDITIONS, max_size=2), "order_by": st.lists(NAMES, max_size=2), "limit": st.integers(0, 100),
     "on_limit": st.just("truncate"), "filename": TEXTS, "timezone": st.sampled_from(["Europe/Istanbul", "../../etc"]),
     "csv": CSV, "pdf": PDF},
)  # fmt: skip
PARAMS: Strategies = {
    "book": st.just({}),
    "above": st.just({}) | st.fixed_dictionaries({"least": SCALARS}),
    "trades": st.fixed_dictionaries({"rows": st.integers(0, 1000) | SCALARS}, optional={"seed": SCALARS}).filter(
        lambda params: not isinstance(params["rows"], int | float) or abs(params["rows"]) < 100_000
    ),
}
DATASETS = st.sampled_from(sorted(PARAMS)).flatmap(
    lambda name: st.fixed_dictionaries({"dataset": st.just(name)}, optional={"params": PARAMS[name]})
)
BODIES = st.builds(operator.or_, ROWS.map(lambda rows: {"rows": rows}) | DATASETS, REQUESTS)

SOME = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """Connections to the service that are kept."""
    with httpx.Client(base_url=server.url, timeout=60, headers=JSON_TYPE) as made:
        yield made


@pytest.fixture(scope="module")
def sturdy(start: Start) -> Server:
    """A service whose memory is watched and bounded."""
    server = start(LOG_FORMAT="json")
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (MOST_ADDRESS_SPACE, MOST_ADDRESS_SPACE))
    return server


def check_answer(answer: httpx.Response) -> None:
    """A file, or a problem of the 400s that says the same in its head and its body."""
    if answer.status_code == 200:
        return
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"]
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]


@given(value=ANY_JSON)
@SOME
def test_any_json_is_answered(client: httpx.Client, value: Any) -> None:
    """Whatever JSON is the body, the answer is a file or a problem of the 400s."""
    check_answer(client.post("/export", content=json.dumps(value)))


@given(request=BODIES)
@SOME
def test_anything_in_a_field_is_answered(client: httpx.Client, request: dict[str, Any]) -> None:
    """Whatever stands in the fields of a request, the answer is a file or a problem of the 400s."""
    check_answer(client.post("/export", content=json.dumps(request)))


@given(request=REQUESTS, query=st.dictionaries(st.sampled_from(["columns", "order_by", "limit", "title"]), TEXTS))
@settings(SOME, max_examples=60)
def test_anything_in_a_link_is_answered(client: httpx.Client, request: dict[str, Any], query: dict[str, str]) -> None:
    """Whatever stands in a link's fields and options, the answer is a file or a problem of the 400s."""
    check_answer(client.get("/export", params={"dataset": "book", **query, "options": json.dumps(request)}))


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [{"a": "\\ud800"}]}',
        '{"rows": [{"\\udfff": 1}]}',
        '{"dataset": "\\ud800"}',
        '{"dataset": "book", "filename": "\\ud800"}',
        '{"dataset": "book", "columns": ["\\ud800"]}',
        '{"dataset": "book", "pdf": {"title": "\\ud800"}, "format": "pdf"}',
        '{"dataset": "book", "where": [{"column": "note", "op": "eq", "value": "\\ud800"}]}',
        '{"rows": [{"a": 1e400}, {"a": -1e400}]}',
        '{"rows": [{"a": 1e-400}, {"a": -0.0}, {"a": -0}]}',
        '{"rows": [{"a": ' + "9" * 5000 + "}]}",
        '{"dataset": "book", "limit": ' + "9" * 5000 + "}",
        '{"dataset": "book", "limit": 1e2}',
        '{"dataset": "book", "where": [{"column": "id", "op": "eq", "value": ' + "9" * 40 + "}]}",
        '{"dataset": "book", "where": [{"column": "id", "op": "eq", "value": ' + "9" * 5000 + "}]}",
        '{"dataset": "book", "where": [{"column": "price", "op": "eq", "value": 1e400}]}',
        '{"dataset": "book", "where": [{"column": "price", "op": "eq", "value": "nan"}]}',
        '{"dataset": "above", "params": {"least": 1e400}}',
        '{"dataset": "above", "params": {"least": "nan"}}',
        '{"dataset": "above", "params": {"least": ' + "9" * 400 + "}}",
        '{"dataset": "trades", "params": {"rows": ' + "9" * 40 + "}}",
        '{"dataset": "trades", "params": {"rows": 1, "seed": ' + "9" * 40 + "}}",
        '{"dataset": "trades", "params": {"rows": 1, "seed": -1}}',
        '{"dataset": "trades", "params": {"rows": null}}',
        '{"rows": [{"a": 1}], "rows": [{"a": 2}]}',
        '{"rows": [{"a": 1, "a": 2}]}',
        '{"rows": [], "columns": []}',
        '{"rows": []}',
        '{"rows": [], "format": "pdf"}',
        '{"rows": [], "columns": ["a", "a"]}',
        '{"rows": [], "order_by": ["a"]}',
        '{"rows": [], "where": [{"column": "a", "op": "eq", "value": "x"}]}',
        '{"rows": [], "columns": ["a"], "where": [{"column": "a", "op": "eq", "value": "x"}]}',
        '{"rows": [{}]}',
        '{"rows": [[]], "columns": ["a"]}',
        '{"rows": [{"": 1}]}',
        '\ufeff{"rows": [{"a": 1}]}',
        '{"rows": [{"a": 1}]}\0',
        "",
    ],
    ids=lambda text: ascii(text)[1:70],
)
def test_odd_bodies_are_answered(client: httpx.Client, text: str) -> None:
    """Lone surrogates, numbers beyond every type, doubled keys and empty things are a file or a problem."""
    check_answer(client.post("/export", content=text))


def _sparse(rows: int, keys: int, before: str = "", after: str = "") -> bytes:
    """Rows of which no two share a key."""
    names = map("".join, itertools.product(string.ascii_letters, repeat=4))
    lines = ('":1,"'.join(itertools.islice(names, keys)) for _ in range(rows))
    return ('{"rows":[' + ",".join(f'{before}{{"{line}":1}}{after}' for line in lines) + "]}").encode()


def _deep(before: str, after: str, depth: int = 100_000) -> bytes:
    return f"{before}{'[' * depth}{']' * depth}{after}".encode()


def _objects(before: str, after: str, depth: int = 100_000) -> bytes:
    return (before + '{"a":' * depth + "1" + "}" * depth + after).encode()


def _dumped(request: object) -> Callable[[], bytes]:
    return lambda: json.dumps(request).encode()


MALFORMED_BODY = (400, None)
ROWS_FIELD = (422, "rows")
OPTIONS_TOO_LARGE = (413, "body")
NULLS = {"rows": [{f"c{i}": None for i in range(1000)}, *({} for _ in range(16_383))], "csv": {"null": "n" * 200}}

HEAVY: dict[str, tuple[Callable[[], bytes], tuple[int, str | None]]] = {
    "deep rows": (lambda: _deep('{"rows":', "}"), MALFORMED_BODY),
    "deep cell": (lambda: _deep('{"rows":[{"a":', "}]}"), MALFORMED_BODY),
    "deep where": (lambda: _deep('{"dataset":"trades","where":', "}"), MALFORMED_BODY),
    "deep value": (
        lambda: _deep('{"dataset":"trades","where":[{"column":"id","op":"in","value":', "}]}"), MALFORMED_BODY,
    ),
    "deep params": (lambda: _objects('{"dataset":"trades","params":{"rows":', "}}"), MALFORMED_BODY),
    "params as deep as is read": (lambda: _objects('{"dataset":"trades","params":', "}", 900), (422, "")),
    "a million columns": (lambda: _sparse(1, 1_000_000), ROWS_FIELD),
    "one column too many": (lambda: _sparse(1, 16_385), ROWS_FIELD),
    "6 million keys in 4096 rows": (lambda: _sparse(4096, 1500), ROWS_FIELD),
    "1.2 million keys in 4096 nested objects": (lambda: _sparse(4096, 300, '{"c":', "}"), (200, None)),
    "64 columns as deep as is read": (
        lambda: b'{"rows":[{' + b",".join(_deep(f'"c{i}":', "", 900) for i in range(64)) + b"}]}", (200, None),
    ),
    "16,384 columns": (lambda: _sparse(1, 16_384), (200, None)),
    "16,384 columns and 4096 rows": (lambda: _sparse(4096, 4), ROWS_FIELD),
    "a column ten times": (_dumped({"rows": [{"a": 1}], "columns": ["a"] * 10}), (200, None)),
    "a column 11 times": (_dumped({"rows": [{"a": 1}], "columns": ["a"] * 11}), (422, "columns")),
    "a column 16,384 times": (_dumped({"rows": [{"a": 1}], "columns": ["a"] * 16_384}), (422, "columns")),
    "a column 100,000 times": (_dumped({"rows": [{"a": 1}], "columns": ["a"] * 100_000}), (422, "columns")),
    "in a million": (
        _dumped({"dataset": "trades", "where": [{"column": "id", "op": "in", "value": list(range(1_000_000))}]}),
        OPTIONS_TOO_LARGE,
    ),
    "in 10,000": (
        _dumped({"dataset": "trades", "where": [{"column": "id", "op": "in", "value": list(range(1, 10_001))}]}),
        (200, None),
    ),
    "in 1,400, a hundred times": (
        _dumped({"dataset": "trades", "where": [{"column": "id", "op": "in", "value": list(range(1, 1401))}] * 100}),
        (422, "where"),
    ),
    "200,000 unknown keys": (_dumped({f"k{i}": 1 for i in range(200_000)}), OPTIONS_TOO_LARGE),
    "70,000 unknown keys": (_dumped({f"k{i}": 1 for i in range(70_000)}), (422, "k0")),
    "1 MB of a dataset's name": (_dumped({"dataset": "x" * 1_000_000}), (422, "dataset")),
    "1 MB of a time zone": (_dumped({"dataset": "trades", "timezone": "x" * 1_000_000}), (422, "timezone")),
    "1 MB of a column's name": (_dumped({"dataset": "trades", "columns": ["x" * 1_000_000]}), (422, "columns[0]")),
    "60 MB of a column's name": (_dumped({"rows": [{"x" * 60_000_000: 1}], "limit": 0}), (200, None)),
    "60 MB of a cell": (_dumped({"rows": [{"x": "y" * 60_000_000}]}), (200, None)),
}  # fmt: skip


@contextmanager
def health_of(server: Server) -> Iterator[list[float]]:
    """How long each of many looks at the health takes meanwhile, in seconds."""
    seconds, over = [0.0], threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as watching:
            while not over.wait(0.05):
                started = time.monotonic()
                watching.get("/livez").raise_for_status()
                seconds.append(time.monotonic() - started)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def forget_peak(server: Server) -> None:
    """Count the peak of memory anew (proc(5), clear_refs)."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_requests_are_answered_in_bounded_memory(sturdy: Server, name: str) -> None:
    """Each is refused by the field that is at fault or served, in 1.2 GB, and health answers within 2 s meanwhile."""
    make, (status, field) = HEAVY[name]
    body = make()
    forget_peak(sturdy)
    started = time.monotonic()
    with health_of(sturdy) as seconds:
        answer = httpx.post(sturdy.url + "/export", content=body, headers=JSON_TYPE, timeout=120)
    took, peak = time.monotonic() - started, sturdy.status("VmHWM")
    assert answer.status_code == status, answer.text[:300]
    check_answer(answer)
    if field is not None:
        assert answer.json()["field"].startswith(field)
    assert peak < MOST_KB
    assert max(seconds) < HEALTH_SECONDS
    assert took < (2 if "deep" in name else 10)


def test_long_texts_for_missing_values_stream(sturdy: Server) -> None:
    """3.3 GB of a null text of 200 characters, asked for by 10 kB of rows, come line by line in bounded memory."""
    forget_peak(sturdy)
    line = b",".join([b"n" * 200] * 1000)
    with (
        health_of(sturdy) as seconds,
        httpx.stream("POST", sturdy.url + "/export", json=NULLS, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        assert answer.status_code == 200
        parts = list(itertools.islice(answer.iter_raw(2**20), 50))
    assert set(b"".join(parts).split(b"\r\n")[1:-1]) == {line}
    assert sturdy.status("VmHWM") < MOST_KB
    assert max(seconds) < HEALTH_SECONDS
    sturdy.until(lambda: sturdy.health() == (0, 0))


EVIL = [
    "'; DROP TABLE fills; --",
    '" OR 1=1 --',
    "$1",
    "$__where_0_0",
    "fills",
    "read_csv('/etc/passwd')",
    "SELECT 1",
]
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "dataset": lambda evil: {"dataset": evil},
    "params": lambda evil: {"dataset": "above", "params": {"least": evil}},
    "name of a parameter": lambda evil: {"dataset": "above", "params": {evil: 1}},
    "columns": lambda evil: {"dataset": "book", "columns": [evil]},
    "label": lambda evil: {"dataset": "book", "columns": [{"name": "id", "label": evil}]},
    "null": lambda evil: {"dataset": "book", "columns": [{"name": "id", "null": evil}]},
    "date_format": lambda evil: {"dataset": "trades", "columns": [{"name": "ts", "date_format": evil}], "limit": 5},
    "column of where": lambda evil: {"dataset": "book", "where": [{"column": evil, "op": "not_null"}]},
    "operator": lambda evil: {"dataset": "book", "where": [{"column": "id", "op": evil, "value": 1}]},
    "value": lambda evil: {"dataset": "book", "where": [{"column": "note", "op": "eq", "value": evil}]},
    "value of a number": lambda evil: {"dataset": "book", "where": [{"column": "price", "op": "gt", "value": evil}]},
    "values": lambda evil: {"dataset": "book", "where": [{"column": "note", "op": "in", "value": [evil, evil]}]},
    "pattern": lambda evil: {"dataset": "book", "where": [{"column": "note", "op": "like", "value": evil}]},
    "order_by": lambda evil: {"dataset": "book", "order_by": [evil]},
    "limit": lambda evil: {"dataset": "book", "limit": evil},
    "filename": lambda evil: {"dataset": "book", "filename": evil},
    "timezone": lambda evil: {"dataset": "book", "timezone": evil},
    "encoding": lambda evil: {"dataset": "book", "csv": {"encoding": evil}},
    "title": lambda evil: {
        "dataset": "book",
        "format": "pdf",
        "pdf": {"title": evil, "subtitle": evil, "author": evil},
    },
    "totals": lambda evil: {"dataset": "book", "format": "pdf", "pdf": {"totals": [evil]}},
}


@pytest.mark.parametrize("place", PLACES)
def test_sql_in_any_field_is_text(client: httpx.Client, data: Path, place: str) -> None:
    """SQL in a field is a text like any other or a problem; no file is read, no table changed, no row let in by it."""
    before = hashlib.sha256((data / "book.duckdb").read_bytes()).digest()
    for evil in EVIL:
        answer = client.post("/export", json=PLACES[place](evil))
        check_answer(answer)
        assert "root:" not in answer.text
        if place in {"value", "values", "pattern"}:
            assert answer.content == b"id,price,note\r\n"
    assert len(client.get("/export?dataset=book").text.splitlines()) == 101
    assert hashlib.sha256((data / "book.duckdb").read_bytes()).digest() == before


@pytest.mark.parametrize("evil", EVIL)
def test_sql_in_rows_is_text(client: httpx.Client, evil: str) -> None:
    """Rows whose keys and values are SQL are filtered and sorted by them as by any other text."""
    rows = [{evil: evil, "n": 1}, {evil: "zzz", "n": 2}, {evil: None, "n": 3}]
    where = [{"column": evil, "op": "in", "value": [evil, "zzz"]}, {"column": evil, "op": "ne", "value": "zzz"}]
    request = {"rows": rows, "columns": ["n"], "where": where, "order_by": [f"-{evil}"]}
    assert client.post("/export", json=request).content == b"n\r\n1\r\n"


STATEMENTS = [
    "COPY (SELECT 1) TO 'out.csv'",
    "ATTACH '/etc/passwd' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE x AS SELECT 1",
    "EXPORT DATABASE '/tmp'",
    "SELECT 1; COPY (SELECT 1) TO 'out.csv'",
    "WITH x AS (SELECT 1) INSERT INTO y SELECT * FROM x",
]


def test_statements_other_than_select_stop_the_start(tmp_path: Path) -> None:
    """Datasets that would do more than read are refused, each by its name in the file."""
    tables = [f'[datasets.x{number}]\nsql = """{sql}"""' for number, sql in enumerate(STATEMENTS)]
    (tmp_path / "datasets.toml").write_text("\n".join(tables), encoding="utf-8")
    environment = {"SPARK_EXPORT_DATASETS": str(tmp_path / "datasets.toml"), "SPARK_EXPORT_PORT": "0"}
    run = subprocess.run([COMMAND, "serve"], env=environment, capture_output=True, timeout=30)
    assert run.returncode == 1
    refused = {int(number) for number in re.findall(rb"datasets\.x(\d+)\.sql: ", run.stderr)}
    assert [sql for number, sql in enumerate(STATEMENTS) if number not in refused] == []
    assert [path.name for path in tmp_path.iterdir()] == ["datasets.toml"]


OUTSIDE = {
    "csv": "SELECT * FROM read_csv('/etc/passwd')",
    "bare": "SELECT * FROM '/etc/passwd'",
    "text": "SELECT * FROM read_text('/etc/passwd')",
    "parent": "SELECT * FROM read_text('../*')",
    "climb": "SELECT * FROM read_text('sub/../../*')",
    "blob": "SELECT * FROM read_blob('/proc/self/environ')",
    "glob": "SELECT * FROM glob('/*')",
    "sniff": "SELECT * FROM sniff_csv('/etc/passwd')",
    "list": "SELECT * FROM read_text(['datasets.toml', '/etc/passwd'])",
    "getenv": "SELECT getenv('HOME')",
    "http": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "https": "SELECT * FROM 'https://127.0.0.1:9/x.parquet'",
    "s3": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "python": "SELECT * FROM os",
}


@pytest.fixture(scope="module")
def reaching(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service with datasets that reach for what is not theirs."""
    folder = tmp_path_factory.mktemp("reaching") / "data"
    (folder / "sub").mkdir(parents=True)
    (folder.parent / "secret.txt").write_text("root: of all evil", encoding="utf-8")
    path = folder / "datasets.toml"
    path.write_text("\n".join(f'[datasets.{name}]\nsql = "{sql}"' for name, sql in OUTSIDE.items()), encoding="utf-8")
    return start(DATASETS=str(path), LOG_FORMAT="json")


@pytest.mark.parametrize("name", OUTSIDE)
def test_datasets_reach_nothing_outside_their_folder(reaching: Server, name: str) -> None:
    """What is outside of the datasets' folder cannot be read, and the answer tells neither of it nor of the SQL."""
    for path in (f"/export?dataset={name}", f"/datasets/{name}"):
        answer = reaching.get(path)
        assert answer.status_code in {500, 503} or (answer.status_code == 200 and name == "sniff")
        assert not any(word in answer.text for word in ("root:", "passwd", "SELECT", "read_", "/proc", "HOME"))
