"""CSV bytes, as Python's csv and DuckDB read them."""

from __future__ import annotations

import asyncio
import codecs
import csv
import gzip
import io
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spark_export.errors import InvalidField, Unencodable
from spark_export.model import ColumnSpec, CsvOptions
from spark_export.text import Encoder
from spark_export.writers.base import Tally
from spark_export.writers.compression import compress
from spark_export.writers.csv import CsvWriter, Dialect

THREADS = ThreadPoolExecutor(2)
NO_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(st.one_of(NO_NUL, st.sampled_from("\",;\r\n\t'=+-@|")))
ROWS = st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), min_size=1, max_size=20)


@pytest.fixture(scope="module", autouse=True)
def end_threads() -> Iterator[None]:
    """The threads end with the module."""
    yield
    THREADS.shutdown()


async def from_list(items: list[Any]) -> AsyncIterator[Any]:
    """The items one by one."""
    for item in items:
        yield item


def write(
    table: Any,
    specs: list[ColumnSpec] | None = None,
    *,
    batch_rows: int = 1000,
    coding: str | None = None,
    timezone: str = "UTC",
    **options: Any,
) -> tuple[bytes, Tally, str]:
    """The table's CSV, what was counted, and its media type."""
    dialect = Dialect.from_options(CsvOptions(**options))
    writer = CsvWriter(Encoder(table.schema, specs, dialect.style(timezone)), dialect, THREADS)
    batches = table.to_batches(max_chunksize=batch_rows)

    async def collect() -> bytes:
        return b"".join([bytes(chunk) async for chunk in compress(writer.write(from_list(batches)), coding, THREADS)])

    return asyncio.run(collect()), writer.tally, writer.media_type


def texts_table(rows: list[tuple[str | None, ...]], width: int = 2) -> Any:
    """A table of text columns `a`, `b` and so on."""
    return pa.table({"abc"[i]: pa.array([row[i] for row in rows], pa.string()) for i in range(width)})


def read(data: bytes, encoding: str = "utf-8", **dialect: Any) -> list[list[str]]:
    """What Python's csv reads."""
    return list(csv.reader(io.StringIO(data.decode(encoding), newline=""), strict=True, **dialect))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"quote": "all"},
    {"quote": "nonnumeric"},
    {"delimiter": ";"},
    {"delimiter": "\t", "line_terminator": "\n"},
    {"delimiter": "|"},
    {"delimiter": "§"},
    {"bom": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@given(rows=ROWS)
def test_python_reads_it_back(rows: list[tuple[str | None, ...]], options: dict[str, Any]) -> None:
    """Python's csv reads every text back under every option."""
    data, _, _ = write(texts_table(rows), formulas="keep", **options)
    delimiter = options.get("delimiter", ",")
    expected = [["a", "b"], *([cell or "" for cell in row] for row in rows)]
    assert read(data, "utf-8-sig" if "bom" in options else "utf-8", delimiter=delimiter) == expected


@given(rows=ROWS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_duckdb_reads_it_back(tmp_path: Path, rows: list[tuple[str | None, ...]]) -> None:
    """DuckDB reads every text back, and tells missing from empty ones."""
    data, _, _ = write(texts_table(rows), formulas="keep")
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    query = (
        "SELECT * FROM read_csv($path, all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', "
        "new_line = '\\r\\n', nullstr = '', allow_quoted_nulls = false, auto_detect = false, parallel = false, "
        "columns = {'a': 'VARCHAR', 'b': 'VARCHAR'})"
    )
    assert duckdb.execute(query, {"path": str(path)}).fetchall() == rows


@given(rows=ROWS, size=st.integers(1, 20))
def test_batches_do_not_show(rows: list[tuple[str | None, ...]], size: int) -> None:
    """The bytes are the same whatever the batch size."""
    table = texts_table(rows)
    assert write(table, batch_rows=size)[0] == write(table)[0]


def test_exact_bytes() -> None:
    """Quotes stand where RFC 4180 needs them and nowhere else."""
    table = pa.table({"n": [1, -2], "plain text": ["a b", 'say "hi"'], "x": ["a,b", "c\nd"], "f": [0.5, None]})
    expected = b'n,plain text,x,f\r\n1,a b,"a,b",0.5\r\n-2,"say ""hi""","c\nd",\r\n'
    assert write(table)[0] == expected


def test_quote_styles() -> None:
    """`nonnumeric` leaves numbers bare and quotes the rest, `all` quotes numbers too."""
    table = pa.table({"n": [1], "t": ["x"], "b": [True]})
    assert write(table, quote="nonnumeric")[0] == b'"n","t","b"\r\n1,"x","true"\r\n'
    assert write(table, quote="all")[0] == b'"n","t","b"\r\n"1","x","true"\r\n'


@pytest.mark.parametrize("quote", ["minimal", "all", "nonnumeric"])
@pytest.mark.parametrize("null", ["", "NULL", "\\N", "a,b", '"'])
def test_missing_differs_from_the_same_text(null: str, quote: str) -> None:
    """The text that stands for a missing value is told from a cell that holds that very text."""
    data, _, _ = write(texts_table([(None, "x"), (null, "x")]), null=null, quote=quote, header=False)
    missing, present = data.decode().split("\r\n")[:2]
    if null in {"a,b", '"'}:  # cannot stand bare
        assert read(data) == [[null, "x"], [null, "x"]]
    else:
        assert missing.startswith(f"{null},")
        assert present.startswith(f'"{null}",')


def test_null_of_a_column() -> None:
    """A column's own null text goes before the file's."""
    specs = [ColumnSpec(name="a", null="-"), ColumnSpec(name="b"), ColumnSpec(name="a", null="")]
    assert write(texts_table([(None, None)]), specs, null="NULL", header=False)[0] == b"-,NULL,\r\n"


@given(rows=st.lists(st.tuples(st.none() | TEXTS), min_size=1, max_size=20))
def test_one_column_keeps_every_row(rows: list[tuple[str | None, ...]]) -> None:
    """A file of one column has no empty line, so that readers skip no row."""
    data, _, _ = write(texts_table(rows, 1), formulas="keep")
    assert read(data) == [["a"], *([cell or ""] for (cell,) in rows)]


@pytest.mark.parametrize("null", ["", "NA"])
def test_one_column_of_missing(null: str) -> None:
    """A file of one column with missing values has a line for each."""
    data, _, _ = write(pa.table({"n": pa.array([1, None, None], pa.int8())}), null=null)
    assert read(data) == [["n"], ["1"], [null], [null]]


def test_header_off() -> None:
    """Without a header the rows stand alone, and the media type says so."""
    data, _, media_type = write(pa.table({"n": [1]}), header=False)
    assert (data, media_type) == (b"1\r\n", "text/csv; charset=utf-8; header=absent")


def test_no_rows() -> None:
    """No rows make a header line, and nothing at all without one."""
    table = pa.table({"n": pa.array([], pa.int8())})
    assert write(table)[0] == b"n\r\n"
    assert write(table, header=False)[0] == b""
    assert write(table, header=False, bom=True)[0] == codecs.BOM_UTF8


def test_labels_are_quoted() -> None:
    """Labels are quoted and guarded as texts are."""
    specs = [ColumnSpec(name="n", label='a,"b'), ColumnSpec(name="n", label="=1"), ColumnSpec(name="n", label="")]
    data, tally, _ = write(pa.table({"n": [1]}), specs)
    assert read(data)[0] == ['a,"b', "'=1", ""]
    assert tally.escaped_cells == 1


def test_decimal_comma() -> None:
    """A decimal comma changes numbers, which are quoted where the comma is the delimiter too."""
    table = pa.table({"n": [1.5, -2.0], "t": ["1.5", "x"]})
    assert write(table, decimal=",", header=False)[0] == b'"1,5",1.5\r\n-2,x\r\n'
    assert write(table, decimal=",", delimiter=";", header=False)[0] == b"1,5;1.5\r\n-2;x\r\n"


def test_excel_profile() -> None:
    """The profile sets a mark, CR LF, and dates that spreadsheets recognise; a decimal comma asks for semicolons."""
    stamps = pa.array([1_720_000_000_123_456], pa.int64()).cast(pa.timestamp("us", "UTC"))
    table = pa.table({"n": [1.5], "t": stamps})
    expected = codecs.BOM_UTF8 + b"n,t\r\n1.5,2024-07-03 12:46:40.123\r\n"
    assert write(table, profile="excel", timezone="Europe/Istanbul")[0] == expected
    data, _, _ = write(table, profile="excel", decimal=",")
    assert read(data, "utf-8-sig", delimiter=";") == [["n", "t"], ["1,5", "2024-07-03 09:46:40.123"]]


def test_profile_gives_way() -> None:
    """What is said goes before the profile."""
    data, _, _ = write(pa.table({"n": [1.5]}), profile="excel", decimal=",", delimiter="\t", bom=False)
    assert data == b"n\r\n1,5\r\n"


TURKISH = "İstanbul ığüşöç ĞÜŞÖÇ"
ENCODINGS = ["windows-1254", "iso-8859-9", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-8", "cp857"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_encodings(encoding: str, batch_rows: int) -> None:
    """Python's codec of the same name reads the file back, its mark in front only."""
    table = texts_table([(TURKISH, "ş,ı")] * 5)
    data, tally, _ = write(table, encoding=encoding, batch_rows=batch_rows)
    text = data.decode(encoding)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], *[[TURKISH, "ş,ı"]] * 5]
    assert "\ufeff" not in text
    assert tally.replaced_characters == 0


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE), ("utf-8", codecs.BOM_UTF8),
     ("utf-16", codecs.BOM_UTF16_LE), ("utf-8-sig", codecs.BOM_UTF8), ("utf-32", codecs.BOM_UTF32_LE)],
)  # fmt: skip
def test_byte_order_mark(encoding: str, mark: bytes) -> None:
    """A mark that is asked for comes first, once, and is left out where it is not wanted."""
    table = texts_table([("x", "y")])
    with_mark, _, _ = write(table, encoding=encoding, bom=True)
    without, _, _ = write(table, encoding=encoding, bom=False)
    assert with_mark == mark + without
    assert without.count(mark) == 0


def test_byte_order_mark_that_is_none() -> None:
    """A mark for an encoding that has none is refused by its path."""
    with pytest.raises(InvalidField) as caught:
        Dialect.from_options(CsvOptions(encoding="windows-1254", bom=True))
    assert caught.value.field == "csv.bom"


@pytest.mark.parametrize("encoding", ["windows-1254", "iso-8859-9", "ascii"])
def test_unencodable(encoding: str) -> None:
    """A character that the encoding cannot hold fails the export, which names the option and the character."""
    with pytest.raises(Unencodable, match=r"'日' \(U\+65E5\)") as caught:
        write(texts_table([("ok", "日本")]), encoding=encoding)
    assert caught.value.field == "csv.encoding"


def test_unencodable_label() -> None:
    """A label that the encoding cannot hold fails as a cell does."""
    with pytest.raises(Unencodable, match="'日'"):
        write(pa.table({"日": [1]}), encoding="ascii")


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_replaced_characters_are_counted(batch_rows: int) -> None:
    """With `replace` a question mark stands for each such character, counted apart from real question marks."""
    table = texts_table([("日本?", "?"), ("ok", "ş語")])
    data, tally, _ = write(table, encoding="windows-1254", errors="replace", batch_rows=batch_rows, header=False)
    assert read(data, "windows-1254") == [["???", "?"], ["ok", "ş?"]]
    assert tally.replaced_characters == 3


def test_replaced_characters_in_wide_codes() -> None:
    """Replacing counts nothing where the encoding holds everything, whatever bytes its code units have."""
    table = texts_table([("\u3f3f\u3f00", "日?")])
    assert write(table, encoding="utf-16-le", errors="replace")[1].replaced_characters == 0


@given(st.lists(st.none() | st.floats(), min_size=1), st.sampled_from([None, 0, 3]))
def test_numbers_are_never_guarded(values: list[float | None], decimals: int | None) -> None:
    """No number gets an apostrophe, however it is formatted."""
    specs = [ColumnSpec(name="n", decimals=decimals)]
    data, tally, _ = write(pa.table({"n": pa.array(values, pa.float64())}), specs)
    assert (data.count(b"'"), tally.escaped_cells) == (0, 0)


def test_guard_in_a_file() -> None:
    """Dangerous texts are escaped and counted over all batches; -1e-7 is a number and stays."""
    table = pa.table({"t": ["=1+1", "-x", "ok", "@a", "\ta", "+1"], "n": [-1e-7, -1.0, 0.0, 1.0, 2.0, 3.0]})
    data, tally, _ = write(table, batch_rows=2)
    assert [row[0] for row in read(data)] == ["t", "'=1+1", "'-x", "ok", "'@a", "'\ta", "'+1"]
    assert read(data)[1][1] == "-1e-7"
    assert tally.escaped_cells == 5


def test_formulas_kept() -> None:
    """`formulas: keep` leaves texts as they are."""
    data, tally, _ = write(texts_table([("=1", "-x")]), formulas="keep", header=False)
    assert (data, tally.escaped_cells) == (b"=1,-x\r\n", 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("delimiter", "a"), ("delimiter", '"'), ("delimiter", "\n"), ("delimiter", ""), ("delimiter", ",,"),
     ("delimiter", "7"), ("encoding", "zlib"), ("encoding", "rot13"), ("encoding", "utf-88"), ("encoding", "a\0b"),
     ("quote", "some"), ("line_terminator", "\r"), ("errors", "ignore"), ("decimal", "·"), ("formulas", "run"),
     ("profile", "lotus"), ("colour", "red")],
)  # fmt: skip
def test_options_refused(option: str, value: str) -> None:
    """An option that cannot be used is refused by its name."""
    with pytest.raises(ValidationError) as caught:
        CsvOptions.model_validate({option: value})
    assert [each["loc"] for each in caught.value.errors()] == [(option,)]


LONG = pa.table({"n": range(20_000), "t": ["İstanbul"] * 20_000})


def test_gzip_is_one_member() -> None:
    """The gzip coding is one member and nothing after it."""
    plain = write(LONG)[0]
    data = write(LONG, coding="gzip")[0]
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(data) == plain
    assert (decoder.eof, decoder.unused_data) == (True, b"")


def test_zstd_is_one_frame() -> None:
    """The zstd coding is one frame and nothing after it."""
    plain = write(LONG)[0]
    decoder = zstandard.ZstdDecompressor().decompressobj()
    assert decoder.decompress(write(LONG, coding="zstd")[0]) == plain
    assert (decoder.eof, decoder.unused_data) == (True, b"")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_codings_of_nothing(coding: str) -> None:
    """A file of no bytes is a whole stream too."""
    data = write(pa.table({"n": pa.array([], pa.int8())}), coding=coding, header=False)[0]
    whole = gzip.decompress(data) if coding == "gzip" else zstandard.ZstdDecompressor().stream_reader(data).read()
    assert whole == b""


@pytest.mark.parametrize("cut", [1, 4, 8, 100, 5000])
def test_truncated_gzip(cut: int) -> None:
    """A gzip stream that lost its end is not taken for whole."""
    data = write(LONG, coding="gzip")[0]
    with pytest.raises(EOFError):
        gzip.decompress(data[:-cut])


@pytest.mark.parametrize("cut", [1, 4, 100, 5000])
def test_truncated_zstd(cut: int) -> None:
    """A zstd stream that lost its end is not taken for whole."""
    data = write(LONG, coding="zstd")[0]
    decoder = zstandard.ZstdDecompressor().decompressobj()
    decoder.decompress(data[:-cut])
    assert not decoder.eof


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_codings_stream(coding: str) -> None:
    """Each chunk is readable as soon as it is sent."""

    async def readable() -> list[int]:
        decoder: Any = zlib.decompressobj(31) if coding == "gzip" else zstandard.ZstdDecompressor().decompressobj()
        chunks = compress(from_list([b"a" * 10, b"b" * 20, b"c" * 30]), coding, THREADS)
        return [len(decoder.decompress(chunk)) async for chunk in chunks]

    assert asyncio.run(readable())[:3] == [10, 20, 30]
