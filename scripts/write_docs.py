"""Writes docs/configuration.md, of the settings as they are.

    .venv/bin/python scripts/write_docs.py [--check]

With `--check` nothing is written, and the exit status is 1 where the file is not what would be.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from spark_export.settings import Settings, variable_of

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"

TEXT = """# Configuration

Made by `scripts/write_docs.py` of the settings themselves: change those, not this file.

Environment variables. `spark-export serve` takes each as a flag too, which goes first: `--max-queue 8` for
`SPARK_EXPORT_MAX_QUEUE=8`. An empty variable means none: unlimited, where it is a limit; 0 never does. A value that
cannot be used, or a variable with the prefix that is no setting, stops the start with a message that names it.

| variable | value | default | meaning |
|---|---|---|---|
{rows}
"""

MADE_AT_THE_START = {
    "max_memory_bytes": "85 % of the container's limit",
    "duckdb_threads": "cores, at most 4",
    "kernel_threads": "cores, at most 4",
    "spool_dir": "the system's temporary folder",
    "source_date_epoch": "the clock",
}
"""Defaults that differ from machine to machine."""

KINDS: dict[Any, str] = {int: "whole number", float: "number", bool: "`true`, `false`", Path: "path"}
UNITS = {"_bytes": "bytes", "_bytes_per_second": "bytes/s", "_seconds": "seconds", "_per_second": "1/s"}
BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"))
"""In what words a bound is said, by the attribute of the field's metadata that holds it."""


def main(arguments: Sequence[str]) -> int:
    """Write the file, or check it; the exit status."""
    if "--check" not in arguments:
        FILE.write_text(configuration(), encoding="utf-8")
        return 0
    if FILE.read_text(encoding="utf-8") == configuration():
        return 0
    print(f"{FILE.name} is not what the settings say: run scripts/write_docs.py", file=sys.stderr)
    return 1


def configuration() -> str:
    """All of docs/configuration.md."""
    return TEXT.format(rows="\n".join(row_of(name, field) for name, field in Settings.model_fields.items()))


def row_of(name: str, field: FieldInfo) -> str:
    """A setting as a row of the table."""
    return f"| `{variable_of(name)}` | {value_of(name, field)} | {default_of(name, field)} | {field.description} |"


def value_of(name: str, field: FieldInfo) -> str:
    """What it takes: unit or kind, and bounds."""
    kind = next(each for each in get_args(field.annotation) or (field.annotation,) if each is not NoneType)
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(field.annotation))
    longest = max((unit for unit in UNITS if name.endswith(unit)), key=len, default="")
    said = UNITS.get(longest) or KINDS.get(kind, "text")
    return " ".join([said, *bounds_of(field)])


def bounds_of(field: FieldInfo) -> list[str]:
    """Its least and its largest value, in words."""
    return [
        words.format(getattr(each, bound))
        for bound, words in BOUNDS
        for each in field.metadata
        if getattr(each, bound, None) is not None
    ]


def default_of(name: str, field: FieldInfo) -> str:
    """What it is unless given."""
    if name in MADE_AT_THE_START:
        return MADE_AT_THE_START[name]
    if field.default in (None, ()):
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
