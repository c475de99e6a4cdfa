"""The datasets file: what it says, and the key that each mistake is named by."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spark_export.errors import InvalidField, SettingsError
from spark_export.sources.catalog import ArrowConfig, DatasetsFile, DuckdbConfig, read_datasets_file
from spark_export.sources.parameters import Parameter, bind


def read(folder: Path, text: str) -> DatasetsFile:
    """The file of that text."""
    path = folder / "sets.toml"
    path.write_text(text, encoding="utf-8")
    return read_datasets_file(path)


def test_whole_file(tmp_path: Path) -> None:
    """Databases, datasets and parameters come as they stand, databases beside the file."""
    file = read(tmp_path, """
        databases.book = "book.duckdb"
        [datasets.flights]
        description = "Flüge"
        sql = "SELECT $carrier"
        database = "book"
        params.carrier = { type = "text", default = "UA", description = "code" }
        params.most = { type = "integer", required = true, minimum = 1, maximum = 9 }
    """)  # fmt: skip
    assert file.databases == {"book": tmp_path / "book.duckdb"}
    flights = file.datasets["flights"]
    assert isinstance(flights, DuckdbConfig)
    assert (flights.description, flights.database) == ("Flüge", "book")
    assert flights.parameters() == (
        Parameter("carrier", "text", "UA", description="code"),
        Parameter("most", "integer", required=True, minimum=1, maximum=9),
    )


@pytest.mark.parametrize(
    ("path", "url"),
    [("fills", "file://{folder}/fills"), ("a/../b c/", "file://{folder}/a/../b c"), ("file:///data", "file:///data"),
     ("s3://bucket/x/", "s3://bucket/x/")],
)  # fmt: skip
def test_places_of_files(tmp_path: Path, path: str, url: str) -> None:
    """A path of files is relative to the datasets file's folder; a URL stays one."""
    config = read(tmp_path, f"datasets.a = {{ engine = 'arrow', path = '{path}' }}").datasets["a"]
    assert isinstance(config, ArrowConfig)
    assert config.path == url.format(folder=tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    """A file that says nothing has no datasets."""
    assert read(tmp_path, "").datasets == {}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("datasets.a = 5", "datasets.a"),
        ("datasets.a.sql = 5", "datasets.a.sql"),
        ("datasets.a.sql = ''", "datasets.a.sql"),
        ("datasets.a.description = 'no sql'", "datasets.a.sql"),
        ("datasets.a = { sql = 'SELECT 1', sqll = 'x' }", "datasets.a.sqll"),
        ("dataset.a.sql = 'SELECT 1'", "dataset"),
        ("datasets.a = { sql = 'SELECT 1', database = 'zz' }", "datasets.a.database"),
        ("datasets.'a b'.sql = 'SELECT 1'", "datasets.a b"),
        ("datasets.'../a'.sql = 'SELECT 1'", "datasets.../a"),
        ("datasets.1a.sql = 'SELECT 1'", "datasets.1a"),
        ("databases.'a-b' = 'x.duckdb'", "databases.a-b"),
        ("databases.a = 5", "databases.a"),
        ("datasets.a = { sql = 'SELECT 1', params.p.type = 'int' }", "datasets.a.params.p.type"),
        ("datasets.a = { sql = 'SELECT 1', engine = 'oracle' }", "datasets.a.engine"),
        ("datasets.a = { sql = 'SELECT 1', engine = 5 }", "datasets.a.engine"),
        ("datasets.a = { sql = 'SELECT 1', engine = 'postgres' }", "datasets.a.dsn_env"),
        ("datasets.a = { engine = 'postgres', dsn_env = 'X' }", "datasets.a.sql"),
        ("datasets.a = { sql = 'SELECT 1', engine = 'postgres', dsn_env = 'X=1' }", "datasets.a.dsn_env"),
        ("datasets.a = { sql = 'SELECT 1', engine = 'postgres', dsn_env = 'X', database = 'b' }",
         "datasets.a.database"),
        ("datasets.a = { sql = 'SELECT 1', engine = 'postgres', dsn_env = 'X', timeout_seconds = 0 }",
         "datasets.a.timeout_seconds"),
        ("datasets.a = { sql = 'SELECT 1', params.p = { type = 'integer', default = 'x' } }",
         "datasets.a.params.p.default"),
        ("datasets.a = { sql = 'SELECT 1', params.p = { type = 'integer', default = 3, maximum = 2 } }",
         "datasets.a.params.p.default"),
        ("datasets.a = { sql = 'SELECT 1', params.__p.type = 'text' }", "datasets.a.params.__p"),
        ("datasets.a = { sql = 'SELECT 1', params.'p-q'.type = 'text' }", "datasets.a.params.p-q"),
        ("datasets.a = { sql = 'SELECT 1', params.p = { type = 'text', minimum = 1 } }",
         "datasets.a.params.p.minimum"),
        ("datasets.a = { engine = 'sqlite', sql = 'SELECT 1' }", "datasets.a.engine"),
        ("datasets.a = { engine = 5 }", "datasets.a.engine"),
        ("datasets.a = { engine = 'arrow' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 'x', sql = 'SELECT 1' }", "datasets.a.sql"),
        ("datasets.a = { engine = 'arrow', path = 'x', format = 'orc' }", "datasets.a.format"),
        ("datasets.a = { engine = 'arrow', path = '../x' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 'x/../../y' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = '/etc' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 'file://x' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 'http://host/x' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 's3:///x' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 's3://key:secret@bucket/x' }", "datasets.a.path"),
        ("datasets.a = { engine = 'arrow', path = 's3://bucket/x', endpoint = 'host' }", "datasets.a.endpoint"),
        ("datasets.a = { engine = 'arrow', path = 'x', endpoint = 'http://host' }", "datasets.a.endpoint"),
        ("datasets.a = { engine = 'arrow', path = 'gs://bucket/x', region = 'eu' }", "datasets.a.region"),
        ("datasets.a = { engine = 'arrow', path = 'x', delimiter = ';' }", "datasets.a.delimiter"),
        ("datasets.a = { engine = 'arrow', path = 'x', types.n = 'int' }", "datasets.a.types.n"),
        ("datasets.a = { engine = 'arrow', path = 'x', params.p.type = 'text' }", "datasets.a.params"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, key: str) -> None:
    """Each mistake is named by file and key."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"sets.toml: {key}: ")


def test_all_mistakes_are_named(tmp_path: Path) -> None:
    """Several mistakes are named at once."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "databases.'a-b' = 'x.duckdb'\ndatasets.1a.sql = 'SELECT 1'")
    assert [problem.split(":")[1] for problem in caught.value.problems] == [" databases.a-b", " datasets.1a"]


@pytest.mark.parametrize("content", [b"[datasets", b"\xff\xfe", b"a = 1\na = 2"])
def test_no_toml(tmp_path: Path, content: bytes) -> None:
    """A file that is no TOML is named."""
    path = tmp_path / "sets.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^sets\.toml: "):
        read_datasets_file(path)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(SettingsError, match=r"^no\.toml: "):
        read_datasets_file(tmp_path / "no.toml")


def test_defaults_have_their_type(tmp_path: Path) -> None:
    """A default has the parameter's type as a given value has, so that the query sees the same type either way."""
    file = read(tmp_path, "datasets.a = { sql = 'SELECT $p', params.p = { type = 'date', default = '2024-01-31' } }")
    parameters = file.datasets["a"].parameters()
    assert bind(parameters, {}) == bind(parameters, {"p": "2024-01-31"}) == {"p": dt.date(2024, 1, 31)}


@pytest.mark.parametrize(
    ("type_", "value", "bound"),
    [("text", "5", "5"), ("integer", "5", 5), ("integer", 5, 5), ("integer", 2**63, 2**63), ("number", "1.5", 1.5),
     ("number", 2, 2.0), ("decimal", "0.1", Decimal("0.1")), ("boolean", True, True), ("boolean", "true", True),
     ("date", "2024-01-31", dt.date(2024, 1, 31)), ("text", None, None),
     ("timestamp", "2024-01-31T10:00:00Z", dt.datetime(2024, 1, 31, 10, tzinfo=dt.UTC))],
)  # fmt: skip
def test_values(type_: Any, value: Any, bound: Any) -> None:
    """A value is converted where it reads as one of the type."""
    made = bind([Parameter("p", type_)], {"p": value})["p"]
    assert (made, type(made)) == (bound, type(bound))


@pytest.mark.parametrize(
    ("type_", "value"),
    [("integer", "x"), ("integer", 1.5), ("integer", True), ("integer", ""), ("number", "x"), ("number", False),
     ("text", 5), ("text", True), ("boolean", "maybe"), ("boolean", 7), ("date", "31.01.2024"), ("timestamp", "noon"),
     ("decimal", "1,5")],
)  # fmt: skip
def test_values_of_another_type(type_: Any, value: Any) -> None:
    """A value of another type is refused with its path."""
    with pytest.raises(InvalidField, match=f"takes a value of type {type_}") as caught:
        bind([Parameter("p", type_)], {"p": value})
    assert caught.value.field == "params.p"


@pytest.mark.parametrize(("value", "text"), [(0, "is at least 1"), (10, "is at most 9")])
def test_bounds(value: int, text: str) -> None:
    """A value out of bounds is refused, and the bound named; the bounds themselves are taken."""
    parameter = Parameter("p", "integer", minimum=1, maximum=9)
    with pytest.raises(InvalidField, match=text) as caught:
        bind([parameter], {"p": value})
    assert caught.value.field == "params.p"
    assert [bind([parameter], {"p": each})["p"] for each in (1, 9)] == [1, 9]


def test_unknown_and_missing() -> None:
    """An unknown parameter and one without a value are refused by name."""
    with pytest.raises(InvalidField, match="there are 'p'") as unknown:
        bind([Parameter("p", "text")], {"q": 1})
    with pytest.raises(InvalidField, match="no default") as missing:
        bind([Parameter("p", "text", required=True)], {})
    assert (unknown.value.field, missing.value.field) == ("params.q", "params.p")
