"""The pure parts of the commands: arguments, the bar, the environment file."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spark_export.cli import WRONG_USAGE, main
from spark_export.client import ClientError, Refused
from spark_export.commands.arguments import Arguments, WrongUsage, condition, make_parser, parameter
from spark_export.commands.asking import Asked, format_of, read_asked
from spark_export.commands.config import config_lines
from spark_export.commands.connecting import client_message
from spark_export.commands.progress import Bar, line, loaded_line, queued_line
from spark_export.commands.telling import message
from spark_export.errors import BodyTooLarge, ExportError, InvalidField
from spark_export.export import Progress
from spark_export.model import ExportRequest, Format
from spark_export.settings import Settings, load_settings, variable_of


def parse(*arguments: str) -> Arguments:
    """What these arguments of `export` say."""
    return make_parser().parse_args(["export", *arguments], Arguments())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("price ge 10", {"column": "price", "op": "ge", "value": "10"}),
        ("note like %a b%", {"column": "note", "op": "like", "value": "%a b%"}),
        ("symbol in AAPL,MSFT", {"column": "symbol", "op": "in", "value": ["AAPL", "MSFT"]}),
        ("id between 1,2", {"column": "id", "op": "between", "value": ["1", "2"]}),
        ("note is_null", {"column": "note", "op": "is_null"}),
    ],
)
def test_condition(text: str, parts: dict[str, Any]) -> None:
    """A filter is a column, an operator and the rest, a list where the operator takes one."""
    assert condition(text) == parts


@pytest.mark.parametrize("text", ["", " ", "price"])
def test_no_condition(text: str) -> None:
    """Less than a column and an operator is none."""
    with pytest.raises(argparse.ArgumentTypeError, match="COLUMN OPERATOR VALUE"):
        condition(text)


def test_parameter() -> None:
    """A parameter is all before the first equals sign and all after it; without one, or a name, it is none."""
    assert parameter("a=b=c") == ("a", "b=c")
    for text in ("a", "=b", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="NAME=VALUE"):
            parameter(text)


@pytest.mark.parametrize(
    ("asked", "name", "file_format"),
    [
        (None, None, Format.CSV),
        (None, "a.csv", Format.CSV),
        (None, "a.b.PDF", Format.PDF),
        (None, "fifo", Format.CSV),
        (Format.CSV, "a.pdf", Format.CSV),
        (Format.PDF, "a.gz", Format.PDF),
    ],
)
def test_format(asked: Format | None, name: str | None, file_format: Format) -> None:
    """The request's format goes before the name's."""
    assert format_of(ExportRequest(format=asked), None if name is None else Path(name)) is file_format


def test_unknown_format() -> None:
    """A name that ends in something else is asked about."""
    with pytest.raises(WrongUsage, match="--format"):
        format_of(ExportRequest(), Path("a.csv.gz"))


URL = ("--url", "http://service")
BOOK = ("--dataset", "book")


@pytest.mark.parametrize(
    "arguments",
    [
        (), (*BOOK, "-o", "a.gz"), (*BOOK, "--format", "xml"), (*BOOK, "--param", "x"), (*BOOK, "--where", "x"),
        ("--request", "a", "--options", "b"), (*BOOK, "--port", "5"), ("--job", *BOOK), ("--key-file", "key", *BOOK),
        ("--url", "service", *BOOK), (*URL, *BOOK, "--max-rows", "5"), (*URL, *BOOK, "--idempotency-key", "k"),
        (*URL, "--job", *BOOK, "--idempotency-key", ""), (*URL, "--job", *BOOK, "-o", "a.gz"),
        (*URL, "--options", '{"dataset": "a", "callback_url": "http://a/"}'),
        (*URL, "--job", "--options", '{"dataset": "a", "deliver": {"url": "s3://b/a"}}', "-o", "a"),
    ],
)  # fmt: skip
def test_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """Flags that mean nothing, or not together, end with status 2 and why, before anything is made or anybody asked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    out, told = capfd.readouterr()
    assert (ended.value.code, out, list(tmp_path.iterdir())) == (WRONG_USAGE, "", []), told
    *usage, line = told.splitlines()
    assert line.startswith(("spark-export export: ", "spark-export: error: "))
    assert usage == [] or usage[0].startswith("usage: ")


def test_flags_go_before_the_request(tmp_path: Path) -> None:
    """A flag replaces the request's field, a parameter joins its parameters; the rest and the rows stay."""
    file = tmp_path / "asked.json"
    file.write_text('{"dataset": "a", "limit": 5, "params": {"p": 1, "q": 2}, "csv": {"header": false}}')
    asked = read_asked(parse("--request", str(file), "--limit", "7", "--param", "q=x", "--order-by=-ts,id"), None)
    assert (asked.request.dataset, asked.request.limit, asked.request.params) == ("a", 7, {"p": 1, "q": "x"})
    assert (asked.request.order_by, asked.request.csv.header, asked.rows) == (("-ts", "id"), False, None)
    file.write_text('{"rows": [{"a": 1}]}')
    assert bytes(read_asked(parse("--request", str(file)), None).rows or b"") == b'[{"a": 1}]'


def test_a_long_request(tmp_path: Path) -> None:
    """A request of as many bytes as allowed is read, one of more is refused by the setting's name."""
    file = tmp_path / "asked.json"
    file.write_text('{"rows":[]}')
    assert read_asked(parse("--request", str(file)), 11).rows is not None
    with pytest.raises(BodyTooLarge) as caught:
        read_asked(parse("--request", str(file)), 10)
    assert caught.value.field == "MAX_BODY_BYTES"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ExportError("all is lost"), "all is lost"),
        (InvalidField("no column 'x'", field="columns[0]"), "columns[0]: no column 'x'"),
        (InvalidField("limit: too small", field="limit"), "limit: too small"),
        (InvalidField("a: 1", field="a", more=(("a", "1"), ("b", "2\nforged"))), "a: 1; b: 2\\x0aforged"),
    ],
)
def test_message(error: ExportError, text: str) -> None:
    """One line that names every field once, whatever a name holds."""
    assert message(error) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ClientError("no answer\nforged"), "no answer\\x0aforged"),
        (Refused(502, {}), "the service answers with status 502"),
        (Refused(422, {"detail": "no column 'x'", "field": "columns[0]"}), "columns[0]: no column 'x'"),
        (
            Refused(
                422,
                {"detail": "1", "field": "a", "errors": [{"field": "a", "detail": "1"}, {"field": "b", "detail": "2"}]},
            ),
            "a: 1; b: 2",
        ),
    ],
)
def test_client_message(error: ClientError, text: str) -> None:
    """What a service refuses reads as what is refused here."""
    assert client_message(error) == text


@pytest.mark.parametrize("rows", [None, b'[{"id":18446744073709551616,"x":1.10}]'])
def test_a_request_as_a_body(rows: bytes | None) -> None:
    """What goes to a service says what was asked for and no more; rows go as they came, the format is decided."""
    text = (
        '{"dataset": "a", "columns": ["x"], "where": [{"column": "y", "op": "in", "value": [1]}], "csv": {"bom": true}}'
    )
    request = ExportRequest.model_validate_json(text)
    body = Asked(request, None if rows is None else memoryview(rows), Format.PDF, None).body
    asked = json.loads(text) | {"columns": [{"name": "x"}], "format": "pdf"}
    assert json.loads(body) == asked | ({} if rows is None else {"rows": json.loads(rows)})
    assert rows is None or rows in body


@pytest.mark.parametrize(("place", "text"), [(3, "queued at place 3, 2 s"), (None, "queued, 2 s")])
def test_bar_of_a_job_that_waits(place: int | None, text: str) -> None:
    """The place in the queue, where the service knows."""
    assert queued_line(place, 2) == text


def test_bar_of_a_pause() -> None:
    """What failed, and when it is tried again, second by second."""
    bar = Bar(io.StringIO())
    bar.pausing("no room", 60)
    assert [bar.draw(seconds) for seconds in (0.0, 20.0, 100.0)] == [
        "again in 60 s: no room",
        "again in 40 s: no room",
        "again in 0 s: no room",
    ]


def test_bar_of_a_file_that_goes_on() -> None:
    """What had come before says nothing of how fast the rest comes."""
    text = "[############------------]  50%  2.0 of 4.0 MB  0.5 MB/s  4 s left"
    assert loaded_line(2_000_000, 4_000_000, 2, 1_000_000) == text


@pytest.mark.parametrize(
    ("loaded", "total", "seconds", "text"),
    [
        (1_500_000, None, 2, "1.5 MB  0.8 MB/s  2 s"),
        (1_000_000, 4_000_000, 2, "[######------------------]  25%  1.0 of 4.0 MB  0.5 MB/s  6 s left"),
        (0, 10, 0, f"[{'-' * 24}]   0%  0.0 of 0.0 MB  0.0 MB/s  "),
    ],
)
def test_bar_of_a_file_that_comes(loaded: int, total: int | None, seconds: float, text: str) -> None:
    """Bytes, of how many where that is known, and rate."""
    assert loaded_line(loaded, total, seconds) == text


@pytest.mark.parametrize(
    ("progress", "seconds", "text"),
    [
        (None, 3.4, "waiting for the first rows, 3 s"),
        (Progress(0, 0, rows=1500, bytes=2_500_000), 3, "1,500 rows  2.5 MB  500 rows/s  3 s"),
        (Progress(0, 0, rows=5000, total_rows=20_000, bytes=1_000_000), 2,
         "[######------------------]  25%  5,000 of 20,000 rows  1.0 MB  2,500 rows/s  6 s left"),
        (Progress(0, 0, rows=0, total_rows=10), 0, f"[{'-' * 24}]   0%  0 of 10 rows  0.0 MB  0 rows/s  "),
        (Progress(0, 0, rows=0, total_rows=0), 1, "0 rows  0.0 MB  0 rows/s  1 s"),
    ],
)  # fmt: skip
def test_bar(progress: Progress | None, seconds: float, text: str) -> None:
    """Rows, of how many where that is known, bytes and rate."""
    assert line(progress, seconds) == text


def test_environment_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every setting once, under where it comes from; read back, the lines are the same settings, without the keys."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)
    for name, value in {"API_KEYS": "desk=s3cret", "MAX_ROWS": "9", "FONTS": "a.ttf,b.ttf", "PORT": "1"}.items():
        monkeypatch.setenv(f"SPARK_EXPORT_{name}", value)
    settings = load_settings(port="5000", logo=str(tmp_path / "logo.png"))
    lines = list(config_lines(settings, {"port", "logo"}))
    assert lines[:3] == ["# by flags", "SPARK_EXPORT_PORT=5000", f"SPARK_EXPORT_LOGO={tmp_path}/logo.png"]
    assert lines[3:5] == ["# by the environment", "# SPARK_EXPORT_API_KEYS=desk=***"]
    shown = [each.removeprefix("# ").partition("=")[0] for each in lines if "=" in each]
    assert sorted(shown) == sorted(map(variable_of, Settings.model_fields))
    monkeypatch.delenv("SPARK_EXPORT_API_KEYS")
    for each in lines:
        if not each.startswith("#"):
            monkeypatch.setenv(*each.split("=", 1))
    assert load_settings().model_dump(exclude={"api_keys"}) == settings.model_dump(exclude={"api_keys"})


def test_a_start_spares_what_goes_out() -> None:
    """What only callbacks, deliveries and the client take is not loaded by a service that begins."""
    program = "import sys, spark_export.commands.serve; print({'httpx', 'httpcore', 'obstore'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
