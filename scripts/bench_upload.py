"""Measures exports whose body is the rows: time, and the service's peak memory at few and at many rows.

    scripts/bench upload [ndjson] [csv]

`ndjson` sends 50,000 and 5,000,000 rows of NDJSON and reads CSV; `csv` sends 10 MB and 1 GB of CSV and reads PDF. Each
is asked of a service of its own, whose peak (VmHWM) is read at the end. Prints a table, and the ratio of the peaks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx
from service import running_service

PIECE_ROWS = 10_000
TIMEOUT_SECONDS = 900.0
HEADER = b"id,ts,symbol,side,qty,price,note\r\n"


@dataclass(frozen=True)
class Case:
    """A body of rows and the file that is asked for.

    Attributes:
        media_type: of the body.
        format: of the file.
        head: what the body begins with.
        row: makes the row of a number.
        few, many: rows.
    """

    media_type: str
    format: str
    head: bytes
    row: Callable[[int], bytes]
    few: int
    many: int

    def iter_body(self, rows: int) -> Iterator[bytes]:
        """The body, a piece at a time."""
        yield self.head
        for start in range(0, rows, PIECE_ROWS):
            yield b"".join(self.row(number) for number in range(start, min(start + PIECE_ROWS, rows)))


def ndjson_row(number: int) -> bytes:
    """A row of seven values, one of them missing in every other row."""
    note = b',"note":"fill %d"' % number if number % 2 else b""
    return b'{"id":%d,"ts":"2024-05-01T12:00:%02dZ","symbol":"BTCUSDT","side":"buy","qty":%d,"price":%d.25%s}\n' % (
        9_007_199_254_740_993 + number, number % 60, number % 97, number % 1009, note,
    )  # fmt: skip


def csv_row(number: int) -> bytes:
    """A row of seven values, 73 bytes or so; one holds a line break now and then."""
    note = b'"two\nlines"' if number % 100 == 0 else b"fill of an order"
    return b"%012d,2024-05-01T12:00:%02dZ,BTCUSDT,buy,%d,%d.10,%s\r\n" % (
        number, number % 60, number % 97, number % 1009, note,
    )  # fmt: skip


CASES = {
    "ndjson": Case("application/x-ndjson", "csv", b"", ndjson_row, 50_000, 5_000_000),
    "csv": Case("text/csv", "pdf", HEADER, csv_row, 140_000, 14_500_000),
}


def measure(case: Case, rows: int) -> float:
    """Send so many rows and read the file; prints a line, and gives the service's peak in MiB."""
    sent = received = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in case.iter_body(rows):
            sent += len(piece)
            yield piece

    with running_service() as service:
        began = time.monotonic()
        address = f"{service.url}/export?format={case.format}"
        head = {"Content-Type": case.media_type, "Accept-Encoding": "identity"}
        with httpx.stream("POST", address, content=counted(), headers=head, timeout=TIMEOUT_SECONDS) as answer:
            answer.raise_for_status()
            first = time.monotonic() - began
            for piece in answer.iter_raw():
                received += len(piece)
        seconds, peak = time.monotonic() - began, service.resident_mib(peak=True)
    print(f"{rows:>10} rows {sent / 1e6:8.1f} MB in {received / 1e6:8.1f} MB out "
          f"first byte {first:6.1f} s, all {seconds:6.1f} s, peak {peak:6.1f} MiB")  # fmt: skip
    return peak


def main(arguments: Sequence[str]) -> None:
    """Measure the cases that are named, or all."""
    for name in arguments or CASES:
        case = CASES[name]
        print(f"{case.media_type} -> {case.format}")
        few, many = measure(case, case.few), measure(case, case.many)
        print(f"peak at many rows is {many / few:.2f} times that at few")


if __name__ == "__main__":
    main(sys.argv[1:])
