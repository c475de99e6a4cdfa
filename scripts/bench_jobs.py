"""Measures jobs: against streaming the same export, and how their files are fetched in parts.

    scripts/bench jobs [speed] [content]

`speed` makes a million trades by turns as a stream that is read to nowhere and as a job, from the request to the end
of each. `content` fetches a file of 1 GB by 20 ranges at once, and in one stream that is cut ten times and goes on by
Range. Each checks digests, and tells the service's peak memory (VmHWM).
"""

from __future__ import annotations

import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from service import Service, running_service

ROUNDS = 7
ROWS = 1_000_000
FEW_ROWS = 100_000
CONTENT_ROWS = 9_600_000
"""Some 1 GB of CSV."""
PARTS = 20
CUTS = 10
CASES = ("speed", "content")


def request_of(rows: int, file_format: str = "csv") -> dict[str, object]:
    """An export of so many trades."""
    return {"dataset": "trades", "params": {"rows": rows}, "format": file_format}


def stream(service: Service, request: dict[str, object]) -> float:
    """Seconds from the request to its last byte, which is read and dropped."""
    began = time.monotonic()
    with service.client.stream("POST", "/export", json=request, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        for _ in answer.iter_raw():
            pass
    return time.monotonic() - began


def make(service: Service, request: dict[str, object]) -> tuple[float, dict[str, object]]:
    """Seconds from the request to the job's end as its receipt has them, and the receipt."""
    answer = service.client.post("/export", json=request, headers={"Prefer": "respond-async"}).raise_for_status()
    path = answer.headers["Location"]
    service.get(f"{path}/events")  # to their end; who asks again and again slows the job
    receipt = service.client.get(path).json()
    if receipt["state"] != "completed":
        sys.exit(f"{receipt['state']}: {receipt['detail']}")
    return receipt["seconds"], receipt


def bench_speed() -> None:
    """Print the medians of both, by turns, and the peak of a service that makes only jobs."""
    for file_format in ("csv", "pdf"):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, running_service(SPOOL_DIR=folder) as service:
            request = request_of(ROWS, file_format)
            stream(service, request)
            pairs = [(stream(service, request), make(service, request)[0]) for _ in range(ROUNDS)]
        streams, jobs = ([pair[side] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(job / streamed for streamed, job in pairs)
        print(f"{ROWS:,} rows as {file_format}: stream {statistics.median(streams):.2f} s, "
              f"job {statistics.median(jobs):.2f} s, {ratio:.2f} times (median of {ROUNDS} pairs)")  # fmt: skip
    peaks = []
    for rows in (FEW_ROWS, 100 * FEW_ROWS):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, running_service(SPOOL_DIR=folder) as service:
            make(service, request_of(rows))
            peaks.append(service.resident_mib(peak=True))
    print(f"peak of a job of {FEW_ROWS:,} rows {peaks[0]:.0f} MiB, of {100 * FEW_ROWS:,} rows {peaks[1]:.0f} MiB")


def bench_content() -> None:
    """Print how long a file of 1 GB takes whole, in parts at once, and with cuts; and the service's memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, running_service(SPOOL_DIR=folder) as service:
        _, receipt = make(service, request_of(CONTENT_ROWS))
        url, size = f"{service.url}{receipt['content']}", int(str(receipt["bytes"]))
        made = service.resident_mib(peak=True)
        began = time.monotonic()
        whole = _digest_of_parts([_fetch(url, 0, size)])
        seconds = time.monotonic() - began
        _say("whole", size, seconds, is_equal=whole == receipt["sha256"])
        edges = [size * part // PARTS for part in range(PARTS + 1)]
        began = time.monotonic()
        with ThreadPoolExecutor(PARTS) as threads:
            parts = list(threads.map(lambda part: _fetch(url, edges[part], edges[part + 1]), range(PARTS)))
        seconds = time.monotonic() - began
        _say(f"{PARTS} ranges at once", size, seconds, is_equal=_digest_of_parts(parts) == receipt["sha256"])
        began = time.monotonic()
        digest = _fetch_with_cuts(url, size)
        seconds = time.monotonic() - began
        _say(f"resumed after {CUTS} cuts", size, seconds, is_equal=digest == receipt["sha256"])
        fetched = service.resident_mib(peak=True)
        print(f"peak of the service: {made:.0f} MiB when the file was made, {fetched:.0f} MiB at the end")


def _say(what: str, size: int, seconds: float, *, is_equal: bool) -> None:
    print(f"{what:24} {size / 1e6:8,.0f} MB {seconds:6.2f} s {size / 1e6 / seconds:7,.0f} MB/s  "
          f"{'equal by digest' if is_equal else 'NOT EQUAL'}")  # fmt: skip


def _fetch(url: str, first: int, stop: int) -> bytes:
    """A part of the file by Range."""
    answer = httpx.get(url, headers={"Range": f"bytes={first}-{stop - 1}"}, timeout=600)
    if answer.status_code != httpx.codes.PARTIAL_CONTENT:
        sys.exit(f"{answer.status_code} in the place of a part")
    return answer.content


def _digest_of_parts(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _fetch_with_cuts(url: str, size: int) -> str:
    """The digest of the file, fetched by a client that drops its connection at random places and goes on from there."""
    choice, digest, have, tag = random.Random(1), hashlib.sha256(), 0, ""  # noqa: S311 - no secret
    cuts = [*sorted(choice.sample(range(1, size), CUTS)), size]
    for cut in cuts:
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
        with httpx.stream("GET", url, headers=headers, timeout=600) as answer:
            tag = answer.headers["ETag"]
            for piece in answer.iter_raw():
                taken = piece[: cut - have]
                digest.update(taken)
                have += len(taken)
                if have == cut:
                    break
    return digest.hexdigest()


def main(arguments: Sequence[str]) -> None:
    """Measure the cases that are named, or all."""
    cases = {"speed": bench_speed, "content": bench_content}
    for name in arguments or CASES:
        cases[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
