"""The arguments of each command: flags that mirror the settings, and what an export takes beside them."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from spark_export import __version__
from spark_export.model import Format
from spark_export.settings import Settings, variable_of

EXPORT_SETTINGS = (
    "datasets",
    "max_rows",
    "max_body_bytes",
    "export_timeout_seconds",
    "fonts",
    "logo",
    "source_date_epoch",
    "duckdb_memory_bytes",
    "duckdb_threads",
    "kernel_threads",
    "spool_dir",
)
"""Those that an export without HTTP has a use for; the others are about clients."""

KEY_VARIABLE = "EXPORT_API_KEY"
"""Of the commands that ask a service; without the prefix of the settings, as it is none."""
STANDARD_STREAM = "-"
HELP_COLUMN = 36
LISTS = ("in", "between")
"""Operators of filters that take several values."""

EXPORT_EXAMPLES = """\
examples:
  spark-export export --dataset trades --output trades.csv
  spark-export export --dataset trades --param rows=500 --order-by=-ts --title Trades -o trades.pdf
  spark-export export --dataset trades --columns ts,symbol,price --where 'symbol in AAPL,MSFT' | head
  spark-export export --request orders.json -o orders.pdf     # the body of a POST /export
  spark-export export --url http://127.0.0.1:4001 --job --dataset trades -o trades.csv
"""
VERIFY_EXAMPLES = """\
examples:
  spark-export verify trades.csv --receipt xMlYYZXpFcAYFEDI5NJGyw --url http://127.0.0.1:4001
"""


class WrongUsage(Exception):
    """The arguments do not go together."""


class Arguments(argparse.Namespace):
    """What the command line says; of a command, its own alone.

    Attributes:
        command: which one.
        dataset, format, columns, order_by, limit, on_limit, timezone, title: as in a request.
        param, where: one name and value, one condition, each time.
        options, request: a request as JSON, and the file that holds one with its rows.
        output: of the file; None for standard output.
        receipt, quiet: what is told at the end.
        url: of the service to ask; None for an export in this process.
        key_file: that holds the key for it.
        job, idempotency_key: whether it is to be a job, and the key by which that is found again.
        file, export_id: what `verify` compares.
    """

    command: str
    dataset: str | None
    format: str | None
    columns: list[str] | None
    order_by: list[str] | None
    limit: int | None
    on_limit: str | None
    timezone: str | None
    title: str | None
    param: list[tuple[str, str]] | None
    where: list[dict[str, Any]] | None
    options: str | None
    request: str | None
    output: Path | None
    receipt: bool
    quiet: bool
    url: str | None
    key_file: Path | None
    job: bool
    idempotency_key: str | None
    file: Path
    export_id: str

    @property
    def of_service(self) -> list[str]:
        """The flags given that only go with a service's URL."""
        given = {"--job": self.job, "--idempotency-key": self.idempotency_key, "--key-file": self.key_file}
        return [flag for flag, value in given.items() if value]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given by flags."""
        return {name: value for name in Settings.model_fields if (value := getattr(self, name, None)) is not None}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="spark-export",
        description="Turns rows into CSV and PDF files.",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=HELP_COLUMN),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    everything = tuple(Settings.model_fields)
    _add_command(commands, "serve", "serve exports over HTTP", everything)
    export = _add_command(
        commands,
        "export",
        "make one export, to a file or standard output",
        usage="--dataset NAME [-o FILE] [options]",
        examples=EXPORT_EXAMPLES,
    )
    _add_rows(export)
    _add_file(export)
    _add_service(export)
    _add_settings(export, EXPORT_SETTINGS)
    _add_verify(commands)
    _add_command(commands, "check", "check the settings, what they name, and every dataset's columns", everything)
    _add_command(commands, "print-config", "print every setting as an environment file, secrets hidden", everything)
    return parser


def parameter(text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`.

    Raises:
        ArgumentTypeError: it is none.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} must read NAME=VALUE")
    return name, value


def condition(text: str) -> dict[str, Any]:
    """The filter `COLUMN OPERATOR VALUE`; values are texts, which stand for numbers and dates too.

    Raises:
        ArgumentTypeError: it is none.
    """
    column, *rest = text.split(maxsplit=2)[:3] or [""]
    if not rest:
        raise argparse.ArgumentTypeError(f"{text!r} must read 'COLUMN OPERATOR VALUE', such as 'price ge 10'")
    operator, *value = rest
    if not value:
        return {"column": column, "op": operator}
    return {"column": column, "op": operator, "value": value[0].split(",") if operator in LISTS else value[0]}


def _names(text: str) -> list[str]:
    return text.split(",")


def _path(text: str) -> Path | None:
    return None if text == STANDARD_STREAM else Path(text)


def _add_command(
    commands: Any,
    name: str,
    does: str,
    settings: tuple[str, ...] = (),
    *,
    usage: str = "[options]",
    examples: str | None = None,
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=does,
        usage=f"%(prog)s {usage}",
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=examples,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=HELP_COLUMN),
        allow_abbrev=False,
    )
    _add_settings(made, settings)
    return made


def _add_settings(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    group = parser.add_argument_group("settings", "Each goes before its environment variable.") if names else parser
    for name in names:
        description = f"{Settings.model_fields[name].description} [{variable_of(name)}]"
        group.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=description.replace("%", "%%"))


def _add_rows(parser: argparse.ArgumentParser) -> None:
    rows = parser.add_argument_group("rows")
    rows.add_argument("--dataset", metavar="NAME", help="export this dataset")
    rows.add_argument("--param", metavar="NAME=VALUE", type=parameter, action="append", help="a parameter of it")
    rows.add_argument("--columns", metavar="NAME,NAME", type=_names, help="columns of the file in their order")
    rows.add_argument(
        "--where", metavar="'COLUMN OP VALUE'", type=condition, action="append", help="a filter; all of them must hold"
    )
    rows.add_argument(
        "--order-by", metavar="NAME,-NAME", type=_names, help="columns to sort by; after - from the largest"
    )
    rows.add_argument("--limit", metavar="ROWS", type=int, help="at most so many rows")
    rows.add_argument("--on-limit", choices=["fail", "truncate"], help="what becomes of more rows than MAX_ROWS")
    rows.add_argument("--options", metavar="JSON", help="a whole export request; the flags go before its fields")
    rows.add_argument(
        "--request", metavar="FILE", help="file of an export request, with its rows or a dataset; - reads it"
    )


def _add_file(parser: argparse.ArgumentParser) -> None:
    file = parser.add_argument_group("file")
    file.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=_path,
        help="replaced once the export is whole; standard output if - or none",
    )
    file.add_argument(
        "--format", choices=[each.value for each in Format], help="of the file; that of its name unless given, else csv"
    )
    file.add_argument("--timezone", metavar="ZONE", help="IANA time zone of timestamps")
    file.add_argument("--title", metavar="TEXT", help="title of the PDF")
    file.add_argument("--receipt", action="store_true", help="end with the receipt as JSON on standard error")
    file.add_argument("-q", "--quiet", action="store_true", help="no progress, no last line")


def _add_service(parser: argparse.ArgumentParser) -> None:
    service = parser.add_argument_group("service", "Has a service make the export, with its settings and its datasets.")
    service.add_argument("--url", help="of the service, such as http://127.0.0.1:4001")
    service.add_argument("--job", action="store_true", help="make it a job, which outlives a broken connection")
    service.add_argument(
        "--idempotency-key", metavar="TEXT", help="the same request under the same key is the same job, made once"
    )
    _add_key_file(service)


def _add_verify(commands: Any) -> None:
    verify = _add_command(
        commands,
        "verify",
        "tell whether a file is the one that a service's receipt states",
        usage="FILE --receipt ID --url URL [options]",
        examples=VERIFY_EXAMPLES,
    )
    verify.add_argument("file", metavar="FILE", type=Path, help="what to look at")
    verify.add_argument("--receipt", metavar="ID", dest="export_id", required=True, help="id of the export")
    verify.add_argument("--url", required=True, help="of the service, such as http://127.0.0.1:4001")
    _add_key_file(verify)


def _add_key_file(parser: Any) -> None:
    parser.add_argument(
        "--key-file", metavar="FILE", type=Path, help=f"file that holds the API key; goes before [{KEY_VARIABLE}]"
    )
