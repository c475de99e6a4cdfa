"""Every type of PostgreSQL's in a file, cell by cell against what the server's own COPY writes."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator

import pytest
from postgres import Postgres

from tests.integration.conftest import Server, Start

VALUES = {
    "smallint": ("-32768", "32767"),
    "integer": ("-2147483648", "0"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "oid": ("0", "4294967295"),
    "numeric": (
        "1234567890123456789012345678901234567890.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "0.000000000000000000001",
        "-0.10",
        "1e40",
        "0",
        "0.0000",
    ),
    "numeric(10,2)": ("-1.5", "99999999.99", "0.05"),
    "numeric(50,40)": ("1e-40", "-1234567890.0000000000000000000000000000000000000009"),
    "text": ("", "x", '"q", and\nnew', "NULL", "\\N", "\\.", "İstanbul €😀", " padded "),
    "varchar(5)": ("abcde", ""),
    "char(5)": ("ab", "     "),
    "name": ("public",),
    '"char"': ("x",),
    "bytea": (r"\x00ff10", r"\x"),
    "time": ("00:00", "24:00:00", "13:45:06.5", "01:02:03.000004"),
    "timetz": ("01:00+03", "23:59:59.999999-11:30"),
    "interval": ("-1 day 2 hours", "1 year 2 mons -3 days -04:05:06.789", "0", "178000000 years", "1 us"),
    "uuid": ("550e8400-e29b-41d4-a716-446655440000",),
    "json": ('{"a":  [1, "x"]}', "-5", '"=1+1"', "null"),
    "jsonb": ('{"b": 1, "a": null}', "-5", "1e3"),
    "integer[]": ("{1,2,NULL}", "{}", "{{1,2},{3,4}}", "[0:1]={5,6}"),
    "text[]": ('{a,"b c","NULL",NULL,"q\\"uote",""}',),
    "numeric[]": ("{1.10,NaN}",),
    "inet": ("192.168.0.1", "10.0.0.0/8", "::1"),
    "cidr": ("10.0.0.0/8",),
    "macaddr": ("08:00:2b:01:02:03",),
    "int4range": ("[1,5)", "empty", "(,3)"),
    "tstzrange": ("[2024-01-01 00:00+03,2024-02-01 00:00+03)",),
    "int4multirange": ("{[1,3),[5,7)}",),
    "money": ("-12.5", "1234567.89"),
    "bit(3)": ("101",),
    "varbit": ("", "1"),
    "xml": ("<a>&amp;</a>",),
    "point": ("(1.5,2)",),
    "box": ("(2,2),(0,0)",),
    "tsvector": ("a:1 'b c':2",),
    "regclass": ("pg_class",),
    "pg_lsn": ("16/B374D848",),
    "mood": ("sad", "so so"),
    "pair": ('(1,"a, b")', "(,)", '(2,"")'),
    "positive": ("5",),
    "word": ("x",),
    "spans": ("{1 day,-2 hours}",),
}
"""Values of types that read as COPY writes them."""

CHOSEN = {
    "boolean": {"true": "true", "false": "false"},
    "real": {"0.1": "0.1", "1e20": "1e+20", "NaN": "NaN", "-Infinity": "-Infinity", "3e-45": "3e-45"},
    "double precision": {"0.1": "0.1", "1e300": "1e+300", "Infinity": "Infinity", "-0": "-0"},
    "date": {
        "2024-02-29": "2024-02-29", "infinity": "infinity", "-infinity": "-infinity", "0044-03-15 BC": "-0043-03-15",
        "5874897-12-31": "5874897-12-31",
    },
    "timestamp": {
        "2024-01-01 12:00:00.5": "2024-01-01T12:00:00.500", "infinity": "infinity", "-infinity": "-infinity",
        "0044-03-15 00:00 BC": "-0043-03-15T00:00:00", "1969-12-31 23:59:59.999999": "1969-12-31T23:59:59.999999",
    },
    "timestamptz": {
        "2024-01-01 00:00+05:45": "2023-12-31T18:15:00Z", "1900-01-01 00:00:00-00:25:21": "1900-01-01T00:25:21Z",
        "infinity": "infinity", "-infinity": "-infinity",
        "2024-06-30 12:00:00.123456-11": "2024-06-30T23:00:00.123456Z",
    },
}  # fmt: skip
"""Values that read as every source's do, whatever COPY writes."""

TYPES = """
    CREATE TYPE mood AS ENUM ('sad', 'so so');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN word AS text;
    CREATE DOMAIN spans AS interval[];
"""


@pytest.fixture(scope="module")
def typed(postgres: Postgres, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with a dataset of every type's values: a column a type."""
    postgres.sql(TYPES)
    folder = tmp_path_factory.mktemp("types")
    lines = []
    for place, values in enumerate(VALUES.values()):
        type_ = list(VALUES)[place]
        literals = ", ".join("('" + value.replace("'", "''") + f"'::{type_})" for value in values)
        postgres.sql(f"CREATE TABLE typed_{place} AS SELECT v FROM (VALUES {literals}, (NULL)) AS t (v)")  # noqa: S608
    for place, type_ in enumerate((*VALUES, *CHOSEN)):
        sql = f"SELECT v FROM typed_{place}"  # noqa: S608 - a test's own
        if place >= len(VALUES):
            literals = ", ".join(f"('{value}'::{type_})" for value in CHOSEN[type_])
            sql = f"SELECT v FROM (VALUES {literals}) AS t (v)"  # noqa: S608
        lines.append(f"[datasets.t{place}]\nengine = 'postgres'\ndsn_env = 'TYPES_DSN'\nsql = '''{sql}'''")
    lines.append("[datasets.numerics]\nengine = 'postgres'\ndsn_env = 'TYPES_DSN'\nsql = 'SELECT * FROM numerics'")
    late = "SELECT timestamp '294276-12-31' AS v"
    lines.append(f"[datasets.late]\nengine = 'postgres'\ndsn_env = 'TYPES_DSN'\nsql = \"{late}\"")
    (folder / "datasets.toml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TYPES_DSN", postgres.dsn)
        yield start(DATASETS=str(folder / "datasets.toml"))


def copied(postgres: Postgres, sql: str) -> list[list[str | None]]:
    """What COPY writes, with missing values apart from empty ones."""
    text = postgres.sql(f"SET TimeZone = 'UTC'; COPY ({sql}) TO STDOUT (FORMAT csv, NULL '<missing>', FORCE_QUOTE *)")
    return [
        [None if cell == "<missing>" else cell for cell in row] for row in csv.reader(io.StringIO(text, newline=""))
    ]


def exported(server: Server, dataset: str, **options: object) -> list[list[str | None]]:
    """The cells of an export."""
    request = {"dataset": dataset, "csv": {"null": "<missing>", "quote": "all", "header": False} | options}
    answer = server.export(request)
    assert answer.status_code == 200, answer.text
    rows = csv.reader(io.StringIO(answer.text, newline=""))
    return [[None if cell == "<missing>" else cell for cell in row] for row in rows]


@pytest.mark.parametrize("type_", VALUES)
def test_as_copy(typed: Server, postgres: Postgres, type_: str) -> None:
    """Each value is the text that COPY writes, the missing ones included, and no formula is seen in what is none."""
    place = list(VALUES).index(type_)
    expected = copied(postgres, f"SELECT v FROM typed_{place}")  # noqa: S608 - a test's own
    assert len(expected) == len(VALUES[type_]) + 1
    assert exported(typed, f"t{place}") == expected


@pytest.mark.parametrize("type_", CHOSEN)
def test_as_every_source(typed: Server, type_: str) -> None:
    """Booleans, floats, dates and timestamps read as those of every source."""
    place = len(VALUES) + list(CHOSEN).index(type_)
    assert exported(typed, f"t{place}") == [[text] for text in CHOSEN[type_].values()]


def test_numerics(typed: Server, postgres: Postgres) -> None:
    """Numbers of any number of digits and places are COPY's to the digit."""
    draw = random.Random(1)  # noqa: S311 - no secret
    digits = ["".join(draw.choices("0123456789", k=draw.randint(1, 60))) for _ in range(4000)]
    texts = [f"{draw.choice(['', '-'])}{each[: (cut := draw.randint(0, len(each)))] or '0'}.{each[cut:] or '0'}"
             for each in digits]  # fmt: skip
    postgres.sql("CREATE TABLE numerics (v numeric)")
    postgres.load("numerics", [{"v": text} for text in texts])
    assert exported(typed, "numerics") == copied(postgres, "SELECT v FROM numerics")


def test_numerics_are_numbers(typed: Server) -> None:
    """A numeric takes decimals and thousands, is right-aligned and summed in a PDF, whatever it holds."""
    dataset = f"t{list(VALUES).index('numeric')}"
    column = {"name": "v", "decimals": 1, "thousands": ","}
    options = {"quote": "minimal", "header": False, "delimiter": ";"}
    answer = typed.export({"dataset": dataset, "columns": [column], "csv": options})
    assert answer.text.split("\r\n")[:5] == [
        "1,234,567,890,123,456,789,012,345,678,901,234,567,890.5", "NaN", "Infinity", "-Infinity", "0.0",
    ]  # fmt: skip
    assert typed.export({"dataset": dataset, "csv": {"decimal": ","}}).text.startswith('v\r\n"123456789')
    money = f"t{list(VALUES).index('numeric(10,2)')}"
    made = typed.export({"dataset": money, "format": "pdf", "pdf": {"totals": ["v"]}})
    assert (made.status_code, made.content[:5]) == (200, b"%PDF-")


def test_too_late_a_timestamp(typed: Server) -> None:
    """A timestamp that Arrow does not have fails the export: no other time stands for it."""
    answer = typed.export({"dataset": "late"})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:spark-export:problem:source-failed")
    assert "294246" in answer.json()["detail"]
