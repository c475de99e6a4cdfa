"""Exports a Parquet file whole as CSV and PDF over HTTP, and compares the CSV cell by cell with the table.

    .venv/bin/python scripts/check_table.py FILE.parquet

The CSV is read by Python's csv and by DuckDB; the PDF is checked by qpdf, and pdftotext must find every row's cells in
order. Exit status 0 when all is equal.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import duckdb
from service import running_service


def main(table: Path) -> None:
    """Export, read back, compare; print what was found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sql = "SELECT * FROM read_parquet('table.parquet')"
        (folder / "table.parquet").write_bytes(table.read_bytes())
        (folder / "datasets.toml").write_text(f'[datasets.table]\nsql = "{sql}"\n', encoding="utf-8")
        with running_service(folder) as service:
            for form in ("csv", "pdf"):
                began = time.perf_counter()
                body = service.get(f"/export?dataset=table&format={form}")
                (folder / f"table.{form}").write_bytes(body)
                print(f"{form}: {len(body):,} bytes in {time.perf_counter() - began:.2f} s")
        expected = expected_cells(folder / "table.parquet")
        check("Python's csv", expected, read_by_python(folder / "table.csv"))
        check("DuckDB", expected, read_by_duckdb(folder / "table.csv"))
        found = read_pdf(folder / "table.pdf", compact(expected[0]))
        print(f"pdftotext: {sum('…' in line for line in found)} rows with an ellipsis")
        whole = [compact(row) for row in expected[1:]]
        check("pdftotext", whole, [fill_ellipses(*pair) for pair in zip_longest(whole, found, fillvalue="")])


def expected_cells(parquet: Path) -> list[list[str]]:
    """The table's cells as DuckDB casts them, with ISO 8601 for timestamps; a missing value is an empty text."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql(f"SELECT * FROM read_parquet('{parquet}')")
        columns = ", ".join(
            f"strftime(\"{name}\", '%Y-%m-%dT%H:%M:%SZ')" if "TIME ZONE" in str(type_) else f'CAST("{name}" AS VARCHAR)'
            for name, type_ in zip(relation.columns, relation.types, strict=True)
        )
        rows = connection.execute(f"SELECT {columns} FROM read_parquet('{parquet}')").fetchall()
        names = list(relation.columns)
    return [names, *([cell or "" for cell in row] for row in rows)]


def read_by_python(path: Path) -> list[list[str]]:
    """The CSV's cells as Python reads them."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def read_by_duckdb(path: Path) -> list[list[str]]:
    """The CSV's cells as DuckDB reads them."""
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT * FROM read_csv('{path}', all_varchar = true, header = false)").fetchall()
    return [[cell or "" for cell in row] for row in rows]


def read_pdf(path: Path, header: str) -> list[str]:
    """The PDF's table rows without spaces; the title before the first header and the footers are left out."""
    subprocess.run(["qpdf", "--check", path], check=True, capture_output=True)
    text = subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True).stdout.decode()
    lines = [compact([line]) for line in text.replace("\f", "\n").splitlines()]
    shown = next(line for line in lines if fill_ellipses(header, line) == header)
    table = lines[lines.index(shown) :]
    return [line for line in table if line not in {"", shown} and not re.fullmatch(r"Page[0-9]+of[0-9]+(table)?", line)]


def fill_ellipses(whole: str, found: str) -> str:
    """The whole text where the found one is it with parts left out, else the found one."""
    pattern = ".*".join(re.escape(part) for part in found.split("…"))
    return whole if re.fullmatch(pattern, whole) else found


def compact(cells: list[str]) -> str:
    """The cells' characters without spaces; the PDF has a space where ISO 8601 has a T."""
    joined = "".join(cells)
    return "".join(joined.split()).replace("T0", "0").replace("T1", "1").replace("T2", "2")


def check(reader: str, expected: Sequence[object], found: Sequence[object]) -> None:
    """Compare; end the script at the first difference."""
    for place, (wanted, got) in enumerate(zip_longest(expected, found)):
        if wanted != got:
            sys.exit(f"{reader}: row {place} differs: wanted {wanted}, got {got}")
    print(f"{reader}: {len(found):,} rows equal")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
