"""Exports from a running service, and holds every file against its receipt.

    .venv/bin/python scripts/seed_export.py --rows 10000 --format csv --output trades.csv
    .venv/bin/python scripts/seed_export.py --rows 10000 --format pdf --dataset trades --output trades.pdf
    .venv/bin/python scripts/seed_export.py --batch

Without --dataset the rows are trades made here and sent in the body. --batch runs five scenarios in parallel and keeps
no file; a file has its name only once it is whole. Exit status 0 when every export was whole: its body ended properly,
and bytes, SHA-256 and rows equal its receipt; 1 when one was not, or the service is out of reach; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scenarios import Scenario
from smoke import Export, Session, add_arguments, count, open_session, run

ROWS = 10_000


def main(arguments: Sequence[str]) -> int:
    """Export what is asked for; the exit status."""
    given = parse(arguments)
    return run("seed_export", seed(given), as_json=given.json)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments, or the end with status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--batch", action="store_true", help="five scenarios in parallel")
    parser.add_argument("--rows", type=count, help=f"how many; {ROWS} unless given")
    parser.add_argument("--format", choices=("csv", "pdf"), help="csv unless given")
    parser.add_argument("--dataset", metavar="NAME", help="rows of a dataset, in place of trades made here")
    parser.add_argument("--output", type=Path, metavar="FILE", help="keep the file")
    given = parser.parse_args(arguments)
    if given.batch and (given.rows, given.format, given.dataset, given.output) != (None,) * 4:
        parser.error("--batch says itself what to export")
    if given.output is not None:
        given.output = given.output.resolve()
        if not given.output.parent.is_dir() or (given.output.exists() and not given.output.is_file()):
            parser.error(f"{given.output} cannot be a file")
    return given


async def seed(given: argparse.Namespace) -> bool:
    """Print what was exported; whether all of it was whole."""
    async with open_session(given.url, given.api_key, time.monotonic) as session:
        if given.batch:
            session.progress.step("exporting five files in parallel")
            exports, seconds = await session.batch()
        else:
            scenario = Scenario(given.rows or ROWS, given.format or "csv", given.dataset)
            exports = [await export_to(session, scenario, given.output)]
            seconds = exports[0].seconds
    whole = all(each.fault is None for each in exports)
    if given.json:
        print(
            json.dumps(
                {"ok": whole, "url": given.url, "seconds": seconds, "exports": [each.to_json() for each in exports]}
            )
        )
    elif given.batch:
        print_table(exports, seconds)
    else:
        print(line_of(exports[0], given.output))
    return whole


async def export_to(session: Session, scenario: Scenario, path: Path | None) -> Export:
    """One export to a file, which has its name only once it is whole."""
    session.progress.step(f"exporting {scenario.name}")
    if path is None:
        return await session.export(scenario)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            export = await session.export(scenario, file=file)
        if export.fault is None:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return export


def line_of(export: Export, path: Path | None) -> str:
    """An export in a line."""
    if export.fault is not None:
        return f"{export.name}: NOT WHOLE: {export.fault}"
    kept = "" if path is None else f" in {path.name}"
    return (
        f"{export.name}: {export.rows:,} rows, {export.bytes:,} bytes{kept} after {export.seconds:.3f} s "
        f"(first byte {export.first_byte_seconds:.3f} s), {export.rows_per_second:,.0f} rows/s, equal to its receipt"
    )


def print_table(exports: Sequence[Export], seconds: float) -> None:
    """A line an export."""
    print(f"{'scenario':18} {'rows':>8} {'bytes':>11} {'first byte s':>13} {'seconds':>8} {'rows/s':>10}")
    for each in exports:
        print(
            f"{each.name:18} {each.rows:8,} {each.bytes:11,} {each.first_byte_seconds:13.3f} {each.seconds:8.3f} "
            f"{each.rows_per_second:10,.0f}  {'whole' if each.fault is None else f'NOT WHOLE: {each.fault}'}"
        )
    whole = sum(each.fault is None for each in exports)
    print(f"{whole} of {len(exports)} whole after {seconds:.2f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
