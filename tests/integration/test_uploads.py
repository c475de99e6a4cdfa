"""Bodies that are rows, over a socket: what came in comes out, what is broken is named, and no file is left."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.clients import dechunk
from tests.integration.conftest import Server, Start

NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
BOMB_BYTES = 300_000_000


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files."""
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def uploads(start: Start, spool: Path) -> Iterator[Server]:
    """A service that takes bodies of up to 100 MB."""
    yield start(SPOOL_DIR=str(spool), MAX_UPLOAD_BYTES="100000000")
    assert left_in(spool) == []


def left_in(spool: Path) -> list[str]:
    """Names of what requests have left in the folder."""
    walked = [each for own in spool.glob("spark-export-*") for each in os.walk(own)]
    return [name for _, folders, files in walked for name in (*folders, *files) if name != "lock"]


def post(server: Server, body: Any, media_type: str, query: Any = None, **fields: str) -> httpx.Response:
    """POST /export with the body."""
    headers = {"Content-Type": media_type} | {name.replace("_", "-"): value for name, value in fields.items()}
    return httpx.post(server.url + "/export", content=body, params=query, headers=headers, timeout=120)


def rows_of(answer: httpx.Response) -> list[list[str]]:
    """The rows of a CSV, its header first."""
    csv.field_size_limit(2**24)
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text, newline="")))


def test_csv_values_come_out_as_they_came(uploads: Server) -> None:
    """Leading zeros, long ids, places, exponents and words stay, an empty field and an empty text differ."""
    rows = (
        "id,price,empty,note",
        "007,1.10,,NA",
        '12345678901234567890123,1e5,"",null',
        '-1.50,+3,,"two\r\nlines, ""q"""',
    )
    body = "".join(row + "\r\n" for row in rows)
    assert post(uploads, body, CSV).text == body


def test_formulas_are_guarded_but_numbers_are_not(uploads: Server) -> None:
    """A text that a spreadsheet would run gets its apostrophe; a text that reads as a number is none."""
    body = "x\r\n-1.5\r\n=1+1\r\n-1e-7\r\n@a\r\n+905551234567\r\n-x\r\n"
    made = [row[0] for row in rows_of(post(uploads, body, CSV))]
    assert made == ["x", "-1.5", "'=1+1", "-1e-7", "'@a", "+905551234567", "'-x"]


def test_ndjson_values_come_out_as_they_came(uploads: Server) -> None:
    """64-bit integers are exact; late keys, mixed and nested values have their columns."""
    rows = [
        {"id": 9_007_199_254_740_993, "mixed": 1},
        {"id": -(2**63), "mixed": "one", "late": {"b": [1, {"a": None}]}},
        {"id": None, "mixed": 2.5, "later": True},
    ]
    body = "\n".join(map(json.dumps, rows))
    assert rows_of(post(uploads, body, NDJSON)) == [
        ["id", "mixed", "late", "later"],
        ["9007199254740993", "1", "", ""],
        ["-9223372036854775808", "one", '{"b":[1,{"a":null}]}', ""],
        ["", "2.5", "", "true"],
    ]


def test_key_that_appears_after_a_million_bytes(uploads: Server) -> None:
    """A key and a type that only the last line shows are known before the first row is sent."""
    body = '{"a": 1}\n' * 200_000 + '{"a": 0.5, "z": 1}\n'
    made = rows_of(post(uploads, body, NDJSON))
    assert made[0] == ["a", "z"]
    assert made[1] == ["1", ""]
    assert made[-1] == ["0.5", "1"]
    assert len(made) == 200_002


@pytest.mark.parametrize(
    ("encoded", "media_type"),
    [
        ("\ufeffad,ülke\r\nşirket,İzmir\r\n".encode(), CSV),
        ("ad,ülke\r\nşirket,İzmir\r\n".encode("windows-1254"), f"{CSV}; charset=windows-1254"),
        ("ad,ülke\r\nşirket,İzmir\r\n".encode("utf-16"), CSV),
        ("ad,ülke\r\nşirket,İzmir\r\n".encode("utf-16"), f"{CSV}; charset=utf-16"),
        ("ad,ülke\r\nşirket,İzmir\r\n".encode("utf-16-be"), f'{CSV}; charset="utf-16be"'),
        ("ad,ülke\r\nşirket,İzmir\r\n".encode("windows-1254"), f"{CSV}; charset*=utf-8''windows-1254"),
        ("ad,ülke\nşirket,İzmir".encode(), CSV),
        ("ad,ülke\rşirket,İzmir\r".encode(), CSV),
    ],
    ids=["BOM", "charset", "UTF-16 BOM", "UTF-16", "UTF-16BE", "extended", "LF", "CR"],
)
def test_character_sets_and_line_ends(uploads: Server, encoded: bytes, media_type: str) -> None:
    """A text is read in whatever character set and with whatever line ends it comes."""
    assert rows_of(post(uploads, encoded, media_type)) == [["ad", "ülke"], ["şirket", "İzmir"]]


def test_long_rows(uploads: Server) -> None:
    """A row may be 4 MiB long, and not three times as long."""
    long = "x" * 3_000_000
    assert rows_of(post(uploads, f'a,b\n1,"{long}\n"\n', CSV)) == [["a", "b"], ["1", long + "\n"]]
    assert "longer than 4194304 bytes" in post(uploads, f"a\n{4 * long}\n", CSV).json()["detail"]


def test_delimiter_and_quote(uploads: Server) -> None:
    """Any delimiter and quote, or none."""
    assert rows_of(post(uploads, "a\tb\n'x\ty'\t\"\n", CSV, {"delimiter": "\t", "quote": "'"}))[1] == ["x\ty", '"']
    assert rows_of(post(uploads, 'a;b\n"x;y\n', CSV, {"delimiter": ";", "quote": "none"}))[1] == ['"x', "y"]


def test_header_absent(uploads: Server) -> None:
    """Without a header the request's columns name the values in order, or numbers do."""
    media_type = f"{CSV}; header=absent"
    assert rows_of(post(uploads, "1,2\n", media_type)) == [["column_1", "column_2"], ["1", "2"]]
    assert rows_of(post(uploads, "1,2\n", media_type, {"columns": "x,y"})) == [["x", "y"], ["1", "2"]]


def test_types(uploads: Server) -> None:
    """A column is what `type` says: compared, sorted and written as such, empty fields missing."""
    options = {
        "columns": [
            {"name": "n", "type": "integer"}, {"name": "d", "type": "decimal"}, {"name": "t", "type": "timestamp"},
            {"name": "b", "type": "boolean"},
        ],
        "where": [{"column": "n", "op": "ge", "value": 9}],
        "order_by": ["-n"],
    }  # fmt: skip
    body = "n,d,t,b\n9,1.1,2024-01-02T03:04:05+03:00,TRUE\n10,,2024-01-02T03:04:05,\n8,1.105,,false\n"
    assert rows_of(post(uploads, body, CSV, {"options": json.dumps(options)}))[1:] == [
        ["10", "", "2024-01-02T03:04:05Z", ""],
        ["9", "1.100", "2024-01-02T00:04:05Z", "true"],
    ]


def test_numbers_are_right_aligned_in_a_pdf(uploads: Server, tmp_path: Path) -> None:
    """A column of which every value is a number ends at one place, a column of texts begins at one."""
    body = "number,text\n" + "".join(f"{10**digits},{'x' * (1 + digits)}\n" for digits in range(6))
    path = tmp_path / "made.pdf"
    path.write_bytes(post(uploads, body, CSV, {"format": "pdf"}).content)
    page = subprocess.run(["pdftotext", "-bbox", path, "-"], check=True, capture_output=True).stdout.decode()
    words = re.findall(r'xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)" yMax="[\d.]+">(10+|x+)</word>', page)
    rights = [float(right) for _, right, word in words if word.startswith("1")]
    lefts = [float(left) for left, _, word in words if word.startswith("x")]
    assert (len(rights), len(lefts)) == (5, 6)
    assert max(rights) - min(rights) < 0.1
    assert max(lefts) - min(lefts) < 0.1


CODED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("coding", CODED)
def test_codings(uploads: Server, coding: str) -> None:
    """A body comes in a content coding as well, in one member or frame or in several."""
    lines = [f"{number},x\n".encode() for number in range(50_000)]
    parts = (b"n,t\n" + b"".join(lines[:30_000]), b"".join(lines[30_000:]))
    made = rows_of(post(uploads, b"".join(map(CODED[coding], parts)), CSV, Content_Encoding=coding))
    assert [row[0] for row in made[1:]] == list(map(str, range(50_000)))


LINES = b'{"a": 1}\n' * 69_999
TABLE = pa.table(
    {
        "id": pa.array([2**63 - 1, None], pa.int64()),
        "code": pa.array(["007", None]).dictionary_encode(),
        "price": pa.array([Decimal("1.10"), Decimal("-2.00")], pa.decimal128(12, 2)),
        "at": pa.array([0, 1_700_000_000_123_456], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a", "b"], []]),
        "view": pa.array(["ü", ""], pa.string_view()),
    }
)
SHOWN = [
    list(TABLE.column_names),
    ["9223372036854775807", "007", "1.10", "1970-01-01T00:00:00Z", '["a","b"]', "ü"],
    ["", "", "-2.00", "2023-11-14T22:13:20.123456Z", "[]", ""],
]


def arrow_of(table: Any, **options: Any) -> bytes:
    """The table as an Arrow stream."""
    made = io.BytesIO()
    with pa.ipc.new_stream(made, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return made.getvalue()


def parquet_of(table: Any, **options: Any) -> bytes:
    """The table as a Parquet file."""
    made = io.BytesIO()
    pq.write_table(table, made, **options)
    return made.getvalue()


def test_arrow_and_parquet_values(uploads: Server) -> None:
    """Every type reads as it does from any other source."""
    assert rows_of(post(uploads, arrow_of(TABLE), ARROW)) == SHOWN
    assert rows_of(post(uploads, arrow_of(TABLE, compression="zstd"), ARROW)) == SHOWN
    plain = TABLE.set_column(5, "view", TABLE["view"].cast(pa.string()))
    assert rows_of(post(uploads, parquet_of(plain), PARQUET)) == SHOWN
    coded = post(uploads, gzip.compress(parquet_of(plain)), PARQUET, Content_Encoding="gzip")
    assert rows_of(coded) == SHOWN


def test_arrow_and_parquet_selections(uploads: Server) -> None:
    """Filters and order compare values by their types."""
    options = {"where": [{"column": "price", "op": "lt", "value": 2}], "order_by": ["price"], "columns": ["price"]}
    for body, media_type in ((arrow_of(TABLE), ARROW), (parquet_of(TABLE.drop_columns("view")), PARQUET)):
        made = rows_of(post(uploads, body, media_type, {"options": json.dumps(options)}))
        assert made == [["price"], ["-2.00"], ["1.10"]]


WIDE = pa.table({f"c{place}": pa.array(range(50_000)) for place in range(4)})
STREAM, FILE = arrow_of(WIDE), parquet_of(WIDE, row_group_size=10_000)


BROKEN_STREAMS = [STREAM[:-8], STREAM[:-1], STREAM[:-20_000], STREAM[:100], STREAM + b"x", b"", b"x" * 999, FILE]
DAMAGED = FILE[:3000] + b"\xff" * 9000 + FILE[12000:]
BROKEN_FILES = [FILE[:-1], FILE[: len(FILE) // 2], b"", b"PAR1", DAMAGED, STREAM]


@pytest.mark.parametrize("body", BROKEN_STREAMS, ids=range(len(BROKEN_STREAMS)))
def test_broken_arrow(uploads: Server, spool: Path, body: bytes) -> None:
    """A stream that is cut off, goes on, or is none is 400 that names a byte, and leaves no file."""
    answer = post(uploads, body, ARROW)
    assert (answer.status_code, answer.json()["title"]) == (400, "Malformed body")
    assert re.search(r"byte \d+", answer.json()["detail"])
    uploads.until(lambda: left_in(spool) == [])


@pytest.mark.parametrize("body", BROKEN_FILES, ids=range(len(BROKEN_FILES)))
def test_broken_parquet(uploads: Server, spool: Path, body: bytes) -> None:
    """A file that is cut off, damaged or none is 400, and leaves no file."""
    answer = post(uploads, body, PARQUET)
    assert (answer.status_code, answer.json()["title"]) == (400, "Malformed body")
    uploads.until(lambda: left_in(spool) == [])


def test_damaged_files(uploads: Server) -> None:
    """Whatever byte is damaged, the service answers and goes on; what it makes of the file has a status."""
    choice = random.Random(1)  # noqa: S311 - no secret
    small = WIDE.slice(0, 200)
    for whole, media_type in ((arrow_of(small), ARROW), (parquet_of(small), PARQUET)):
        for _ in range(25):
            body = bytearray(whole)
            for _ in range(4):
                body[choice.randrange(len(body))] = choice.randrange(256)
            assert post(uploads, bytes(body), media_type).status_code in {200, 400, 413, 422}
    assert uploads.process.poll() is None
    assert uploads.health() == (0, 0)


def test_arrow_and_parquet_bombs(uploads: Server, spool: Path) -> None:
    """A file that says little and means much is 413, and the service takes no more memory for it."""
    before = uploads.status("VmHWM")
    same = pa.table({"x": pa.array(["y" * 1000]).take(pa.array([0] * 400_000))})
    for body, media_type in (
        (parquet_of(same, compression="zstd"), PARQUET),
        (arrow_of(same, compression="zstd"), ARROW),
        (arrow_of(pa.table({"x": same["x"].combine_chunks().dictionary_encode()})), ARROW),
    ):
        assert len(body) < 5_000_000
        answer = post(uploads, body, media_type)
        assert (answer.status_code, answer.json()["title"]) == (413, "Body too large"), answer.text
    assert uploads.status("VmHWM") - before < 100_000
    uploads.until(lambda: left_in(spool) == [])


BROKEN: dict[str, tuple[bytes, str, dict[str, str], str]] = {
    "bad JSON": (LINES + b"{bad}\n" + LINES, NDJSON, {}, "line 70000: "),
    "cut off JSON": (LINES + b'{"a": ', NDJSON, {}, "line 70000: "),
    "another shape": (LINES + b"[1]", NDJSON, {}, "line 70000: "),
    "wrong bytes in JSON": (LINES + b'{"a": "\xff"}', NDJSON, {}, "line 70000: "),
    "ragged": (b'a,b\n"1\n2",3\n\n4,5,6\n', CSV, {}, "line 5: 3 fields where the first row has 2"),
    "cut off": (b"a,b\n" + b"1,2\n" * 70_000 + b"1", CSV, {}, "line 70002: 1 fields"),
    "open quote": (b'a,b\n1,2\n3,"4\n5,6\n', CSV, {}, "line 3: a quote is opened and never closed"),
    "wrong bytes": (b"a,b\n1,2\n3,\xe7\n", CSV, {}, "byte 10 "),
    "half a UTF-16 character": (b"\xff\xfea\0\n\x001", CSV, {}, "byte 6 "),
    "two columns of a name": (b"a,a\n1,2\n", CSV, {}, "line 1: "),
    "nothing": (b"", CSV, {}, "no row"),
    "cut off gzip": (gzip.compress(LINES)[:-1], NDJSON, {"Content_Encoding": "gzip"}, "cut off after byte "),
    "cut off zstd": (zstandard.compress(LINES)[:-1], NDJSON, {"Content_Encoding": "zstd"}, "cut off after byte "),
    "no gzip": (LINES, NDJSON, {"Content_Encoding": "gzip"}, "no gzip"),
    "no zstd": (LINES, NDJSON, {"Content_Encoding": "zstd"}, "no zstd"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_bodies(uploads: Server, spool: Path, name: str) -> None:
    """A broken body is 400 that says where, and leaves no file."""
    body, media_type, fields, detail = BROKEN[name]
    answer = post(uploads, body, media_type, **fields)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:spark-export:problem:malformed-body"
    assert detail in answer.json()["detail"]
    uploads.until(lambda: left_in(spool) == [])


@pytest.mark.parametrize("coding", CODED)
def test_bombs(uploads: Server, spool: Path, coding: str) -> None:
    """A small body that becomes a large one is 413 before it takes memory or room."""
    before = uploads.status("VmHWM")
    answer = post(uploads, CODED[coding](b"a\n" * (BOMB_BYTES // 2)), CSV, Content_Encoding=coding)
    assert answer.status_code == 413
    assert answer.json()["field"] == "MAX_UPLOAD_BYTES"
    assert uploads.status("VmHWM") - before < 200_000
    uploads.until(lambda: left_in(spool) == [])


def test_body_too_large(uploads: Server, spool: Path) -> None:
    """A body over the cap is 413, whether its head says so or not."""
    assert post(uploads, b"x" * 100_000_001, CSV).status_code == 413
    chunks = (b"x" * 1_000_000 for _ in range(101))
    assert post(uploads, chunks, CSV).status_code == 413
    uploads.until(lambda: left_in(spool) == [])


REFUSED: dict[str, tuple[str, dict[str, str], dict[str, str], int, str]] = {
    "media type": ("text/plain", {}, {}, 415, "Content-Type"),
    "coding": (CSV, {}, {"Content_Encoding": "br"}, 415, "Content-Encoding"),
    "charset": (f"{CSV}; charset=nothing", {}, {}, 422, "Content-Type"),
    "header": (f"{CSV}; header=perhaps", {}, {}, 422, "Content-Type"),
    "extended header": (f"{CSV}; header*=utf-8''perhaps", {}, {}, 422, "Content-Type"),
    "delimiter": (CSV, {"delimiter": "ab"}, {}, 422, "delimiter"),
    "quote": (CSV, {"quote": ","}, {}, 422, "quote"),
    "delimiter of JSON": (NDJSON, {"delimiter": ";"}, {}, 422, "delimiter"),
    "dataset": (CSV, {"options": '{"dataset": "trades"}'}, {}, 422, "dataset"),
    "unknown column": (CSV, {"columns": "zz"}, {}, 422, "columns[0]"),
    "unknown type": (CSV, {"options": '{"columns": [{"name": "a", "type": "word"}]}'}, {}, 422, "columns[0].type"),
    "type of JSON": (NDJSON, {"options": '{"columns": [{"name": "a", "type": "text"}]}'}, {}, 422, "columns[0].type"),
    "no type of the kind": (CSV, {"options": '{"columns": [{"name": "a", "type": "date"}]}'}, {}, 400, "line 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(uploads: Server, name: str) -> None:
    """What cannot be served is refused with what must change."""
    media_type, query, fields, status, field = REFUSED[name]
    body = '{"a": 1}\n' if media_type == NDJSON else "a\nx\n"
    answer = post(uploads, body, media_type, query, **fields)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_query_beside_json(uploads: Server) -> None:
    """A JSON body has fields for what a query would say."""
    answer = httpx.post(uploads.url + "/export?limit=1", json={"rows": [{"a": 1}]})
    assert (answer.status_code, answer.json()["field"]) == (422, "query")


def test_client_that_leaves(uploads: Server, spool: Path) -> None:
    """A client that leaves in the middle of its body leaves no file."""
    host, port = uploads.url.removeprefix("http://").split(":")
    head = f"POST /export HTTP/1.1\r\nHost: x\r\nContent-Type: {CSV}\r\nContent-Length: 5000000\r\n\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + b"a,b\n" + b"1,2\n" * 600_000)
        uploads.until(lambda: "body" in left_in(spool))
    uploads.until(lambda: left_in(spool) == [])


def test_receipt(uploads: Server) -> None:
    """An upload has a receipt like any export."""
    answer = post(uploads, "a\n1\n2\n", CSV, {"filename": "two"})
    assert answer.headers["content-disposition"].startswith('attachment; filename="two.csv"')
    receipt = uploads.get(f"/exports/{answer.headers['x-export-id']}").json()
    assert (receipt["state"], receipt["rows"], receipt["dataset"]) == ("completed", 2, None)


def test_row_cap_is_known_beforehand(start: Start) -> None:
    """More rows than allowed are 413, not a broken file; cut where that was asked for."""
    server = start(MAX_ROWS="3")
    body = "a\n1\n2\n3\n4\n"
    assert post(server, body, CSV).status_code == 413
    cut = post(server, body, CSV, {"options": '{"on_limit": "truncate"}'})
    assert (len(rows_of(cut)), cut.headers["x-export-truncated"]) == (4, "true")
    where = [{"column": "a", "op": "ne", "value": "1"}]
    kept = post(server, body, CSV, {"options": json.dumps({"on_limit": "truncate", "where": where})})
    assert (len(rows_of(kept)), kept.headers["x-export-truncated"]) == (4, "false")


def test_memory_is_flat(start: Start) -> None:
    """Ten times the rows take no more memory."""
    peaks = []
    for rows in (60_000, 600_000):
        server = start()
        lines = (b'{"id": %d, "symbol": "BTCUSDT", "price": %d.5}\n' % (n, n % 999) * 100 for n in range(rows // 100))
        assert post(server, lines, NDJSON).status_code == 200
        peaks.append(server.status("VmHWM"))
    assert peaks[1] <= 1.15 * peaks[0], peaks


class DuplexClient:
    """Sends a body in chunks over a socket and reads the answer's body meanwhile."""

    def __init__(self, server: Server, media_type: str, query: str = "") -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        head = f"POST /export?duplex=true{query} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n"
        self._socket.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        self.read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """One more chunk; the last one where there is no data."""
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def send_until_held_up(self, data: bytes, most_bytes: int) -> int:
        """Chunks until one is not taken in within two seconds; what was sent."""
        self._socket.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < most_bytes:
                self.send(data)
                sent += len(data)
        return sent

    def read_until(self, text: bytes) -> None:
        """Read on until the answer holds the text."""
        while text not in self.read:
            data = self._socket.recv(2**16)
            assert data, self.read[-500:]
            self.read += data

    def read_all(self) -> bytes:
        """Read on until the connection ends."""
        with contextlib.suppress(ConnectionResetError):
            while data := self._socket.recv(2**16):
                self.read += data
        return self.read


LINE = {
    NDJSON: b'{"id":%d,"note":"a fill of an order that was placed"}\n',
    CSV: b"%d,a fill of an order that was placed\n",
}
STEP = 10_000
"""Rows: some 500 kB, of which no more than half is held anywhere on the way."""


@pytest.mark.parametrize("media_type", [NDJSON, CSV])
def test_duplex_answers_while_the_body_comes(uploads: Server, spool: Path, media_type: str) -> None:
    """Rows of each step are read before the next step is sent, and nothing is spooled."""
    with DuplexClient(uploads, media_type) as client:
        client.send(b"id,note\n" if media_type == CSV else b"\n")
        for step in range(5):
            client.send(b"".join(LINE[media_type] % row for row in range(step * STEP, (step + 1) * STEP)))
            client.read_until(b"\r\n%d," % (step * STEP + STEP // 4))
            assert left_in(spool) == []
        client.send(b"")
        client.read_until(b"\r\n0\r\n\r\n")
        head, _, rest = client.read.partition(b"\r\n\r\n")
        body, whole = dechunk(rest)
    assert head.startswith(b"HTTP/1.1 200")
    assert whole
    assert [int(row[0]) for row in csv.reader(body.decode().splitlines()[1:])] == list(range(5 * STEP))


def test_duplex_holds_the_client_up(uploads: Server) -> None:
    """A client that only writes is held up after some megabytes, and the service's memory does not grow."""
    with DuplexClient(uploads, NDJSON) as client:
        piece = b"".join(LINE[NDJSON] % row for row in range(STEP))
        before = uploads.status("VmRSS")
        sent = client.send_until_held_up(piece, 200_000_000)
        assert sent < 50_000_000
        assert uploads.status("VmRSS") - before < 40_000
    uploads.until(lambda: uploads.health() == (0, 0))


LATE_FAULTS = {
    "late key": (NDJSON, b'{"id":1,"note":"x","late":1}\n'),
    "another type": (NDJSON, b'{"id":"one"}\n'),
    "bad JSON": (NDJSON, b"{bad}\n"),
    "ragged": (CSV, b"1,2,3\n"),
    "wrong bytes": (CSV, b"1,\xff\n"),
}


@pytest.mark.parametrize("name", LATE_FAULTS)
def test_duplex_breaks_honestly(uploads: Server, name: str) -> None:
    """What is wrong after the first byte of the answer breaks the connection, and its receipt says what it was."""
    media_type, fault = LATE_FAULTS[name]
    with DuplexClient(uploads, media_type) as client:
        rows = b"".join(LINE[media_type] % row for row in range(STEP))
        client.send(b"id,note\n" + rows if media_type == CSV else rows)
        client.read_until(b"\r\n%d," % (STEP // 4))
        client.send(fault)
        client.send(b"")
        answer = client.read_all()
    assert not answer.endswith(b"\r\n0\r\n\r\n")
    receipt = uploads.get("/exports?limit=1").json()[0]
    assert (receipt["state"], receipt["reason"]) == ("failed", "malformed_body")


def test_duplex_of_a_small_body(uploads: Server) -> None:
    """A body that ends before the first 64 KiB is exported like any, and refused with a status where it is broken."""
    assert rows_of(post(uploads, "a,b\n007,\n", CSV, {"duplex": "true"})) == [["a", "b"], ["007", ""]]
    assert rows_of(post(uploads, '{"a":null}\n{"a":1,"b":[1]}', NDJSON, {"duplex": "true"})) == [
        ["a", "b"],
        ["", ""],
        ["1", "[1]"],
    ]
    assert post(uploads, "a,b\n1\n", CSV, {"duplex": "true"}).status_code == 400
    assert rows_of(post(uploads, "a\n1\n2\n3\n", CSV, {"duplex": "true", "limit": "2"}))[1:] == [["1"], ["2"]]


def test_duplex_refusals(uploads: Server) -> None:
    """What needs the whole body is refused."""
    for media_type, query in ((PARQUET, {}), (ARROW, {}), (CSV, {"order_by": "a"}),
                              (CSV, {"options": '{"on_limit": "truncate"}'})):  # fmt: skip
        assert post(uploads, "a\n1\n", media_type, {"duplex": "true"} | query).status_code == 422


def test_duplex_client_that_leaves(uploads: Server) -> None:
    """A client that leaves in the middle leaves nothing running."""
    for rows in (10, STEP, 4 * STEP):
        with DuplexClient(uploads, NDJSON) as client:
            client.send(b"".join(LINE[NDJSON] % row for row in range(rows)))
        uploads.until(lambda: uploads.health() == (0, 0))


def test_no_folder_for_a_body(start: Start, tmp_path: Path) -> None:
    """Where none can be made the answer names the setting, and the export counts as one that failed."""
    server = start(SPOOL_DIR=str(tmp_path))
    (own,) = tmp_path.glob("spark-export-*")
    shutil.rmtree(own)
    refused = post(server, "a\n1\n", CSV)
    assert (refused.status_code, refused.json()["field"]) == (503, "SPOOL_DIR")
    assert server.metric('export_fail_total{reason="source_unavailable"}') == 1
    assert "Traceback" not in server.log.read_text()
