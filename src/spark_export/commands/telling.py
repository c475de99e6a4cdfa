"""What a command that exports says on standard error: what was made, or what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spark_export.errors import ExportError, InvalidField
from spark_export.logs import CONTROL_CHARACTERS


def is_bar_wanted(output: Path | None, *, quiet: bool) -> bool:
    """Whether somebody looks at standard error, and the rows do not go to the same terminal."""
    return not quiet and sys.stderr.isatty() and not (output is None and sys.stdout.isatty())


def message(error: ExportError) -> str:
    """All that is wrong, on one line, each with the field or setting to change."""
    more = error.more if isinstance(error, InvalidField) else ()
    return joined(more or ((error.field, error.detail),))


def joined(found: Iterable[tuple[str | None, str]]) -> str:
    """Fields and what is wrong with them, on one line, whatever they hold."""
    said = [text if field is None or text.startswith(field) else f"{field}: {text}" for field, text in found]
    return "; ".join(said).translate(CONTROL_CHARACTERS)


def summary(receipt: Mapping[str, Any]) -> str:
    """What was made, on one line.

    Args:
        receipt: fields of an outcome.
    """
    parts = [
        f"{receipt['rows']:,} rows",
        f"{receipt['bytes']:,} bytes",
        f"{receipt['seconds']:.2f} s",
        f"sha256 {receipt['sha256']}",
    ]
    if receipt["truncated"]:
        parts.append("cut at MAX_ROWS")
    if receipt["escaped_cells"]:
        parts.append(f"{receipt['escaped_cells']:,} formulas escaped")
    if receipt["replaced_characters"]:
        parts.append(f"{receipt['replaced_characters']:,} characters replaced")
    return ", ".join(parts)


def tell(text: str) -> None:
    """Say a line on standard error."""
    print(text, file=sys.stderr)  # noqa: T201 - its purpose
