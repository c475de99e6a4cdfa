"""What the smoke scripts share: exports held against their receipts, and how such a script ends."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import httpx
from progress import Progress
from scenarios import BATCH, Scenario

URL = "http://127.0.0.1:4001"
TIMEOUT = httpx.Timeout(60, connect=5)
"""A place in the queue is waited for 30 s."""
HEADERS = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
"""Without content coding the bytes received are those that the receipt and the metrics count."""
REFUSALS_MOST = 5
RETRY_SECONDS_MOST = 60
RECEIPT_SECONDS = 2
SHOWN_FAULTS = 3
INTERRUPTED = 130


class Unusable(Exception):
    """Nothing can be measured: the script ends with this one line."""


class Broken(Exception):
    """An export did not come whole."""


@dataclass
class Export:
    """What came of an export.

    Attributes:
        name: of its scenario.
        format: csv or pdf.
        export_id: of its receipt.
        rows: by the receipt.
        bytes: received.
        sha256: of them, hexadecimal.
        first_byte_seconds: from the request to the first byte of the body.
        seconds: from the request to its last.
        fault: what was wrong with it; None where it came whole and equals its receipt.
    """

    name: str
    format: str
    export_id: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    first_byte_seconds: float = 0.0
    seconds: float = 0.0
    fault: str | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows of the file in the time that it took."""
        return self.rows / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Its attributes."""
        return asdict(self) | {"rows_per_second": round(self.rows_per_second)}


class Session:
    """Exports from one service.

    Args:
        client: asks it.
        progress: told of the bytes.
        clock: seconds that never go back.

    Attributes:
        refusals: answers so far that said to come again later.
    """

    def __init__(self, client: httpx.AsyncClient, progress: Progress, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self.progress = progress
        self.refusals = 0

    async def export(self, scenario: Scenario, body: bytes | None = None, file: BinaryIO | None = None) -> Export:
        """One export, read to its end and held against its receipt.

        Args:
            scenario: what it is.
            body: the request, where it was made before.
            file: takes the bytes.

        Raises:
            Unusable: nobody listens.
        """
        export = Export(scenario.name, scenario.format)
        try:
            lines = await self._receive(export, body or scenario.to_body(), file)
            receipt = await self._receipt(export.export_id)
            export.rows = receipt["rows"]
            export.fault = fault_of(export, receipt, scenario, max(lines - 1, 0))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unusable(f"cannot reach {self._client.base_url}: {reason_of(error)}") from error
        except httpx.RequestError as error:
            export.fault = f"broke off after {export.bytes:,} bytes: {reason_of(error)}"
        except KeyError as error:
            export.fault = f"the receipt has no {error}"
        except (Broken, ValueError) as error:
            export.fault = reason_of(error)
        return export

    async def batch(self) -> tuple[list[Export], float]:
        """The five scenarios in parallel, and the seconds until the last is whole."""
        bodies = [(each, each.to_body()) for each in BATCH]
        began = self._clock()
        exports = await asyncio.gather(*(self.export(scenario, body) for scenario, body in bodies))
        return exports, self._clock() - began

    async def _receive(self, export: Export, body: bytes, file: BinaryIO | None) -> int:
        """The lines of the file, by their ends; a service that is full is asked again when it says."""
        retries = REFUSALS_MOST
        while True:
            began = self._clock()
            async with self._client.stream("POST", "/export", content=body) as response:
                wait_seconds = retry_seconds(response) if retries else None
                if wait_seconds is None:
                    await check_status(response)
                    return await self._read(response, export, began, file)
            retries -= 1
            self.refusals += 1
            self.progress.note(f"{export.name}: {response.status_code}, again in {wait_seconds} s")
            await asyncio.sleep(wait_seconds)

    async def _read(self, response: httpx.Response, export: Export, began: float, file: BinaryIO | None) -> int:
        export.export_id = response.headers.get("X-Export-Id", "")
        digest, lines = hashlib.sha256(), LineCount()
        async for chunk in response.aiter_bytes():
            export.first_byte_seconds = export.first_byte_seconds or self._clock() - began
            export.bytes += len(chunk)
            digest.update(chunk)
            lines.add(chunk)
            self.progress.add(len(chunk))
            if file is not None:
                file.write(chunk)
        export.seconds = self._clock() - began
        export.sha256 = digest.hexdigest()
        return lines.count

    async def _receipt(self, export_id: str) -> dict[str, Any]:
        """The receipt, which may come a moment after the last byte."""
        if not export_id:
            raise Broken("the answer has no X-Export-Id")
        deadline = time.monotonic() + RECEIPT_SECONDS
        while True:
            response = await self._client.get(f"/exports/{export_id}")
            if response.status_code != httpx.codes.NOT_FOUND or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        if response.status_code != httpx.codes.OK:
            raise Broken(f"no receipt: {response.status_code} for /exports/{export_id}")
        receipt: dict[str, Any] = response.json()
        return receipt


class LineCount:
    """Counts line ends outside of quotes, in pieces of a CSV (RFC 4180 2.6)."""

    def __init__(self) -> None:
        self.count = 0
        self._quoted = False

    def add(self, piece: bytes) -> None:
        """Count those of the next piece."""
        for place, part in enumerate(piece.split(b'"')):
            self._quoted ^= place > 0
            self.count += 0 if self._quoted else part.count(b"\n")


def fault_of(export: Export, receipt: dict[str, Any], scenario: Scenario, csv_rows: int) -> str | None:
    """How the file differs from its receipt, and the receipt from what was asked for; None where it does not."""
    for name, stated, found in (
        ("state", receipt["state"], "completed"),
        ("bytes", receipt["bytes"], export.bytes),
        ("SHA-256", receipt["sha256"], export.sha256),
        ("rows", receipt["rows"], csv_rows if export.format == "csv" else receipt["rows"]),
    ):
        if stated != found:
            return f"{name}: the receipt says {stated}, found {found}"
    if scenario.is_exact and receipt["rows"] != scenario.rows:
        return f"rows: {scenario.rows} asked for, the receipt says {receipt['rows']}"
    return None


def retry_seconds(response: httpx.Response) -> int | None:
    """When a service that is full asks to come again; None where it is not, or the wait is too long."""
    after = response.headers.get("Retry-After", "")
    if response.status_code not in {429, 503} or not after.isdecimal():
        return None
    return int(after) if int(after) <= RETRY_SECONDS_MOST else None


async def check_status(response: httpx.Response) -> None:
    """Raise what the problem says, unless the status is 200.

    Raises:
        Broken: it is another.
    """
    if response.status_code == httpx.codes.OK:
        return
    await response.aread()
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    raise Broken(f"{response.status_code}: {detail}")


def reason_of(error: Exception) -> str:
    """What an exception says, in one line; its kind where it says nothing."""
    said = " ".join(str(error).split())
    return said or type(error).__name__


def shown(faults: Sequence[object]) -> str:
    """The first ones, and how many more."""
    more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return "; ".join(map(str, faults[:SHOWN_FAULTS])) + more


@asynccontextmanager
async def open_session(url: str, api_key: str | None, clock: Callable[[], float]) -> AsyncIterator[Session]:
    """A session with the service at the URL.

    Raises:
        Unusable: it is no URL of a service.
    """
    key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        client = httpx.AsyncClient(base_url=url, headers=HEADERS | key, timeout=TIMEOUT)
    except (httpx.InvalidURL, ValueError) as error:
        raise Unusable(f"{url}: {reason_of(error)}") from error
    if client.base_url.scheme not in {"http", "https"} or not client.base_url.host:
        raise Unusable(f"{url} is no URL such as {URL}")
    progress = Progress()
    try:
        async with client:
            yield Session(client, progress, clock)
    finally:
        progress.clear()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that the scripts share."""
    parser.add_argument("--url", default=URL, help=f"of the service; {URL} unless given")
    parser.add_argument(
        "--api-key", default=os.environ.get("SPARK_EXPORT_API_KEY"), help="[SPARK_EXPORT_API_KEY]", metavar="KEY"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def count(text: str) -> int:
    """An argument that is a number of things, at least one."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


def run(name: str, script: Coroutine[Any, Any, bool], *, as_json: bool) -> int:
    """The exit status: 0 where the script is content, 1 where it is not, and one line for what kept it from running."""
    try:
        return 0 if asyncio.run(script) else 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (Unusable, OSError) as error:
        if as_json:
            print(json.dumps({"ok": False, "error": reason_of(error)}))
        print(f"{name}: {reason_of(error)}", file=sys.stderr)
        return 1
